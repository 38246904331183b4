"""Reference answers: is the answer that a response gives one of those accepted?"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bestroute.errors import DataError
from bestroute.rewards.answers import extract_answer


class References:
    """Tells whether a response gives one of the accepted answers.

    Both sides are read by `extract_answer`, so `#### 42`, `The answer is 42.` and `42` agree.

    Args:
        accepted: Accepted answers, one at least.

    Raises:
        DataError: One of them holds no answer.
    """

    def __init__(self, accepted: Sequence[str]) -> None:
        forms = [extract_answer(each) for each in accepted]
        if not forms or not all(forms):
            raise DataError(f"reference answer {list(accepted)} holds nothing to compare with")
        self._forms = frozenset(forms)

    @classmethod
    def parse(cls, text: str) -> References:
        """Read `reference_answer` of the samples table: a text, or a JSON list of texts.

        Raises:
            DataError: It holds no answer.
        """
        return cls(accepted_answers(text))

    def __call__(self, query: str, response: str) -> float:
        """1.0 if it does, else 0.0."""
        return float(extract_answer(response) in self._forms)


def accepted_answers(text: str) -> list[str]:
    """What a `reference_answer` stands for: the texts of a JSON list, else itself alone."""
    try:
        answers = json.loads(text) if text.startswith("[") else None
    except json.JSONDecodeError:
        answers = None
    if isinstance(answers, list) and all(isinstance(each, str) for each in answers):
        return answers
    return [text]
