"""What a family of prompts yields, and what the families share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NamedTuple

from bestroute.learning.scoring.verifiers import Check, ChoiceCheck, NumberCheck, TextCheck

Difficulty = Literal[1, 2, 3]
LEVELS: tuple[Difficulty, ...] = (1, 2, 3)

NUMBER_ONLY = (
    "Answer with the number only.",
    "Reply with just the number.",
    "Number only, please.",
    "Give only the number.",
    "Just the number, no explanation.",
)
ONE_WORD = (
    "Reply with one word.",
    "One word only.",
    "Answer in one word.",
    "Just the word, please.",
    "One-word answer.",
)
SHORT = (
    "Reply with the answer only.",
    "Just the answer, please.",
    "Answer only, no explanation.",
    "Give only the answer.",
)


class Draft(NamedTuple):
    """A prompt that has neither number nor split yet.

    Attributes:
        question: What is asked; no two drafts of a family ask the same.
        ending: How the answer is to be given.
        check: What makes a response right.
        difficulty: 1 for the smallest models, 2 for middling ones, 3 for the largest.
    """

    question: str
    ending: str
    check: Check
    difficulty: Difficulty = 1

    @property
    def text(self) -> str:
        """The user's message."""
        gap = " " if self.question.endswith((".", "?", "!")) else "\n"
        return f"{self.question}{gap}{self.ending}"


Template = Callable[[Random], Draft]


def number(rng: Random, question: str, value: float) -> Draft:
    """Draft a question whose answer is a number."""
    return Draft(question, rng.choice(NUMBER_ONLY), NumberCheck(value=value))


def word(rng: Random, question: str, *accept: str) -> Draft:
    """Draft a question whose answer is one word."""
    return Draft(question, rng.choice(ONE_WORD), TextCheck(accept=accept))


def choice(rng: Random, question: str, label: str, options: tuple[str, ...]) -> Draft:
    """Draft a question whose answer is one of the options."""
    endings = SHORT if any(" " in option for option in options) else ONE_WORD
    return Draft(question, rng.choice(endings), ChoiceCheck(label=label, options=options))


def phrase(forms: Sequence[str], *content: object) -> str:
    """Fill one of several forms, always the same one for the same content."""
    return Random(repr(content)).choice(forms).format(*content)


def fill(rng: Random, levels: Sequence[Sequence[Template]], count: int) -> list[Draft]:
    """Draw from each level's templates in turn until it has enough different questions.

    Args:
        rng: Source of the draws.
        levels: Templates of each difficulty, easiest first.
        count: Questions wanted of each difficulty.

    Returns:
        The drafts, easiest first.
    """
    drafts: list[Draft] = []
    for difficulty, templates in zip(LEVELS, levels, strict=True):
        asked: dict[str, Draft] = {}
        turn = 0
        while len(asked) < count:
            draft = templates[turn % len(templates)](rng)
            asked.setdefault(draft.question, draft._replace(difficulty=difficulty))
            turn += 1
        drafts += asked.values()
    return drafts
