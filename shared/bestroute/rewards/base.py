"""What every reward model offers: a query and its responses in, one score a response out."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bestroute._aside import in_thread
from bestroute.deadline import within
from bestroute.errors import ArtifactError, ScoreError
from bestroute.samples import Call

Scores = NDArray[np.float64]

_KINDS = {
    "consistency": ("bestroute.rewards.consistency", "SelfConsistency"),
    "classifier": ("bestroute.rewards.classifier", "ClassifierReward"),
    "onnx": ("bestroute.rewards.onnx", "OnnxReward"),
    "static": ("bestroute.rewards.static", "StaticReward"),
}


@dataclass(frozen=True)
class Scored:
    """Scores, and what was paid for them.

    Attributes:
        scores: One score a response [n]; NaN where none could be had.
        calls: The provider calls behind them, failed ones too; empty for local models.
        failure: Why scores are missing; `None` when all are there.
    """

    scores: Scores
    calls: tuple[Call, ...] = ()
    failure: str | None = None


class RewardModel(ABC):
    """Scores responses; the highest score wins, ties share.

    Attributes:
        set_dependent: Whether a response's score depends on the other responses (agreement,
            comparison). Exact best-of-n sums over ranks when False, over subsets when True.
    """

    set_dependent: bool = False

    @abstractmethod
    def score(self, query: str, responses: Sequence[str]) -> Scores:
        """Score the responses to one query.

        Args:
            query: The text of the query.
            responses: n responses.

        Returns:
            One finite score a response [n]; only their order within the query matters.
        """

    async def ascore(self, query: str, responses: Sequence[str]) -> Scores:
        """The same without blocking the event loop."""
        return await in_thread(self.score, query, responses)

    async def judge(
        self, query: str, responses: Sequence[str], *, timeout: float = math.inf
    ) -> Scored:
        """Score the responses and say what that cost.

        A reward model that pays for calls overrides this one, and reports a failure in
        `Scored.failure` instead of raising it: what was paid for is billed all the same.

        Args:
            query: The text of the query.
            responses: n responses.
            timeout: Seconds after which nobody waits for the scores any more. A thread that
                scores cannot be ended: it is left behind.

        Raises:
            TimeoutError: There are no scores by then.
        """
        return Scored(await within(timeout, self.ascore(query, responses)))

    async def warmup(self) -> None:
        """Do once, for free, what would make the first request wait."""
        return None

    def config(self) -> dict[str, Any] | None:
        """JSON-able: `kind` and what builds it again; `None` if only the user can bring it."""
        return None


def load_reward(config: Mapping[str, Any]) -> RewardModel:
    """Build the reward model that `RewardModel.config` described.

    Only the kinds known here are built: a saved router cannot name code to import, nor a
    provider to call.

    Raises:
        ArtifactError: The kind is unknown, or its description is damaged.
        ConfigError: The reward model itself refuses.
        MissingExtraError: Its packages are not installed.
    """
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArtifactError(
            f"unknown kind of reward model {kind!r} (known: {', '.join(_KINDS)}); "
            "pass a reward model of your own as reward="
        )
    module, name = _KINDS[kind]
    return cast(RewardModel, getattr(importlib.import_module(module), name).from_config(config))


def checked(scores: Scores, n: int, name: str) -> Scores:
    """Scores as a float array [n].

    Raises:
        ScoreError: NaN, infinite, or not n of them.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (n,):
        raise ScoreError(f"{name} gave scores of shape {array.shape} for {n} responses")
    if not np.isfinite(array).all():
        raise ScoreError(f"{name} gave NaN or infinite scores: {array.tolist()}")
    return array
