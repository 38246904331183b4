"""What the samples of one model show, in a few numbers: what a policy decides again on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """The samples seen of one model on one query.

    Attributes:
        n: How many.
        top: How many give the most frequent answer; 0 where none gives one.
        second: How many give the next one.
        distinct: Different answers.
        best, mean, spread: Highest, mean and standard deviation of the reward scores; NaN where
            there are none.
        tokens: Mean completion tokens.
    """

    n: int
    top: int = 0
    second: int = 0
    distinct: int = 0
    best: float = math.nan
    mean: float = math.nan
    spread: float = math.nan
    tokens: float = math.nan

    @classmethod
    def of(
        cls,
        answers: Sequence[Hashable | None],
        tokens: Sequence[float],
        scores: Sequence[float | None] = (),
    ) -> Evidence:
        """What n samples show.

        Args:
            answers: The answer that each gives [n]; `None` or an empty text for none.
            tokens: Completion tokens [n].
            scores: Reward scores, where there are any [n].
        """
        counts = sorted(Counter(each for each in answers if each).values(), reverse=True)
        known = [score for score in scores if score is not None and math.isfinite(score)]
        mean = _mean(known)
        return cls(
            n=len(answers),
            top=counts[0] if counts else 0,
            second=counts[1] if len(counts) > 1 else 0,
            distinct=len(counts),
            best=max(known, default=math.nan),
            mean=mean,
            spread=math.sqrt(_mean([(score - mean) ** 2 for score in known])),
            tokens=_mean(tokens),
        )

    @property
    def agreement(self) -> float:
        """Share of the samples that give the most frequent answer, in [0, 1]."""
        return self.top / self.n

    @property
    def lead(self) -> int:
        """So many further samples cannot change which answer is the most frequent."""
        return max(self.top - self.second - 1, 0)


def _mean(values: Sequence[float]) -> float:
    """Without numpy: the policies' types are imported wherever a chat model is."""
    return math.fsum(values) / len(values) if values else math.nan
