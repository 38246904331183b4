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
        logprob: Mean over the samples of their mean token log-probability, in nats; NaN where the
            provider gave none.
        similarity: How alike the open answers are: mean cosine between any two, in [-1, 1]; NaN
            where there are no two.
    """

    n: int
    top: int = 0
    second: int = 0
    distinct: int = 0
    best: float = math.nan
    mean: float = math.nan
    spread: float = math.nan
    tokens: float = math.nan
    logprob: float = math.nan
    similarity: float = math.nan

    @classmethod
    def of(
        cls,
        answers: Sequence[Hashable | None],
        tokens: Sequence[float],
        scores: Sequence[float | None] = (),
        *,
        logprobs: Sequence[float | None] = (),
        similarity: float = math.nan,
    ) -> Evidence:
        """What n samples show.

        Args:
            answers: The answer that each gives [n]; `None` or an empty text for none.
            tokens: Completion tokens [n].
            scores: Reward scores, where there are any [n].
            logprobs: Mean token log-probabilities in nats, where there are any [n].
            similarity: Mean cosine between any two open answers.
        """
        counts = sorted(Counter(each for each in answers if each).values(), reverse=True)
        known = _known(scores)
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
            logprob=_mean(_known(logprobs)),
            similarity=similarity,
        )

    @property
    def agreement(self) -> float:
        """Share of the samples that give the most frequent answer, in [0, 1]."""
        return self.top / self.n

    @property
    def lead(self) -> int:
        """So many further samples cannot change which answer is the most frequent."""
        return max(self.top - self.second - 1, 0)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(values: Sequence[float]) -> float:
    """Without numpy: the policies' types are imported wherever a chat model is."""
    return math.fsum(values) / len(values) if values else math.nan
