"""The demonstration's prompts: 540 short questions in nine families, each with its own check.

Everything is written or computed here, so that every response can be scored exactly.
"""

from __future__ import annotations

from itertools import cycle
from random import Random
from typing import Literal

from families import FAMILIES, Difficulty, Draft
from pydantic import BaseModel, ConfigDict

from bestroute.learning.scoring.verifiers import Check

Split = Literal["train", "calibration", "test"]

_SEED = 20240229
_MAX_TOKENS = {"code": 128}
# 50 / 10 / 40 in every run of ten, so that the splits agree in difficulty too.
_PATTERN: tuple[Split, ...] = (
    "train", "test", "train", "test", "train", "calibration", "train", "test", "train", "test",
)  # fmt: skip


class DemoPrompt(BaseModel):
    """One prompt of the demonstration.

    Attributes:
        id: Family and number, as in "facts-001".
        family: Kind of question.
        difficulty: From 1, easy for the smallest model, to 3.
        split: Part of the data that the prompt belongs to.
        text: The user's message.
        max_tokens: Longest response to ask for.
        check: What makes a response right.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    family: str
    difficulty: Difficulty
    split: Split
    text: str
    max_tokens: int
    check: Check


def build() -> list[DemoPrompt]:
    """Make all prompts, the same ones each time.

    Returns:
        The prompts, by family and number.
    """
    prompts: list[DemoPrompt] = []
    for family, make in FAMILIES.items():
        rng = Random(f"{_SEED}/{family}")  # a change in one family leaves the others alone
        drafts = make(rng)
        splits = _splits(drafts, rng)
        prompts += [
            DemoPrompt(
                id=f"{family}-{position + 1:03}",
                family=family,
                difficulty=draft.difficulty,
                split=splits[position],
                text=draft.text,
                max_tokens=_MAX_TOKENS.get(family, 64),
                check=draft.check,
            )
            for position, draft in enumerate(drafts)
        ]
    return prompts


def _splits(drafts: list[Draft], rng: Random) -> dict[int, Split]:
    """A split for each position, stratified by difficulty."""
    order = list(range(len(drafts)))
    rng.shuffle(order)
    order.sort(key=lambda position: drafts[position].difficulty)
    return dict(zip(order, cycle(_PATTERN), strict=False))
