"""The selector: drop what the request cannot use, score the rest, pick the best."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bestroute._aside import aside
from bestroute.errors import BestRouteError
from bestroute.policy.evidence import Evidence
from bestroute.policy.likeness import likeness
from bestroute.rewards.answers import extract_answer
from bestroute.rewards.base import RewardModel, Scored, Scores, checked
from bestroute.rewards.consistency import SelfConsistency
from bestroute.rewards.validity import why_invalid
from bestroute.samples import Call, Sample

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """What was picked, and why.

    Attributes:
        winner: Index of the best sample; `None` when none is valid.
        scores: What the winner was picked by [n]; NaN for samples that were not scored.
        samples: The samples, `score` set where the reward model has spoken.
        invalid: Index of each sample that cannot be used, and the reason in words.
        calls: What the reward model paid for.
        degraded: Why self-consistency stood in for the reward model; then `scores` are shares
            of agreement, and no sample's `score` is set by them.
    """

    winner: int | None
    scores: Scores
    samples: tuple[Sample, ...]
    invalid: dict[int, str]
    calls: tuple[Call, ...] = ()
    degraded: str | None = None


class Selector:
    """Picks the best of n samples.

    Args:
        reward: Scores them; `None` for self-consistency.
    """

    def __init__(self, reward: RewardModel | None = None) -> None:
        self._reward = reward or SelfConsistency()

    @property
    def set_dependent(self) -> bool:
        """Whether a sample's score depends on the other samples."""
        return self._reward.set_dependent

    async def select(
        self,
        query: str,
        samples: Sequence[Sample],
        params: Mapping[str, Any],
        *,
        always_score: bool = False,
        until: float = math.inf,
    ) -> Selection:
        """Pick the best valid sample; ties go to the first drawn.

        A score that a sample already has is kept, unless scores depend on the whole set. A
        reward model that fails, or is late, loses no sample: self-consistency stands in for it.

        Args:
            query: The text of the query.
            samples: n samples in the order in which they were drawn.
            params: The request's parameters; they say what is valid.
            always_score: Score a lone valid sample too.
            until: When the reward model is not waited for any more (monotonic seconds).
        """
        reasons = await aside(lambda: _reasons(samples, params), size=_size(samples))
        invalid = {index: reason for index, reason in reasons.items() if reason}
        valid = [index for index in reasons if index not in invalid]
        scores = np.full(len(samples), np.nan)
        if len(valid) < 2 and not (valid and always_score):
            winner = valid[0] if valid else None
            return Selection(winner, scores, tuple(samples), invalid)
        scored = await self._score(query, [samples[index] for index in valid], until)
        if scored.failure is None:
            update = dict(zip(valid, scored.scores.tolist(), strict=True))
            samples = [
                each.model_copy(update={"score": update[i]}) if i in update else each
                for i, each in enumerate(samples)
            ]
        else:
            texts = await _texts([samples[index] for index in valid])
            stand_in = await SelfConsistency().ascore(query, texts)
            scored = Scored(stand_in, scored.calls, scored.failure)
        scores[valid] = scored.scores
        winner = valid[int(np.argmax(scored.scores))]
        return Selection(
            winner, scores, tuple(samples), invalid, scored.calls, degraded=scored.failure
        )

    async def evidence(
        self, samples: Sequence[Sample], params: Mapping[str, Any], *, alike: bool = False
    ) -> Evidence:
        """`evidence_of`, long samples off the event loop."""
        size = math.inf if alike else _size(samples)
        return await aside(lambda: evidence_of(samples, params, alike=alike), size=size)

    async def warmup(self) -> None:
        """Do once what would make the first request wait; nothing is paid for it."""
        await self._reward.warmup()
        await asyncio.to_thread(_reasons, [_PROBE], _PROBED)

    async def _score(self, query: str, samples: Sequence[Sample], until: float) -> Scored:
        """The reward model's scores; a failure is told, not raised."""
        known = [None if self._reward.set_dependent else sample.score for sample in samples]
        unscored = [each for each, old in zip(samples, known, strict=True) if old is None]
        texts = await _texts(unscored)
        name = type(self._reward).__name__
        scored = Scored(np.zeros(0))
        try:
            if texts:
                seconds = until - time.monotonic()
                scored = await self._reward.judge(query, texts, timeout=seconds)
            if scored.failure is None:
                fresh = iter(checked(scored.scores, len(texts), name).tolist())
                whole = np.array([next(fresh) if old is None else old for old in known])
                return Scored(whole, scored.calls)
            failure = scored.failure
        except Exception as error:  # whatever a reward model may raise
            tells = isinstance(error, BestRouteError | TimeoutError)
            says = str(error) if tells else type(error).__name__
            failure = f"{name} failed: {says}"
        _log.warning("%s; self-consistency picks the sample", failure)
        return Scored(scored.scores, scored.calls, failure)


def evidence_of(
    samples: Sequence[Sample], params: Mapping[str, Any], *, alike: bool = False
) -> Evidence:
    """What samples of one model show; those that cannot be used are no evidence.

    Args:
        samples: At least one.
        params: The request's parameters; they say what is valid.
        alike: Whether to look how alike open answers are, which embeds them.
    """
    valid = [each for each in samples if why_invalid(each.message, params) is None] or samples
    texts = [sample_text(sample) for sample in valid]
    answers = [extract_answer(text) for text in texts]
    return Evidence.of(
        answers,
        [sample.completion_tokens for sample in valid],
        [sample.score for sample in valid],
        logprobs=[sample.logprob for sample in valid],
        similarity=likeness(texts, answers) if alike else math.nan,
    )


async def _texts(samples: Sequence[Sample]) -> list[str]:
    return await aside(lambda: [sample_text(each) for each in samples], size=_size(samples))


def _reasons(samples: Sequence[Sample], params: Mapping[str, Any]) -> dict[int, str | None]:
    return {i: why_invalid(each.message, params) for i, each in enumerate(samples)}


def _size(samples: Sequence[Sample]) -> int:
    """Characters, about."""
    calls = [call.get("function") or {} for sample in samples for call in sample.tool_calls]
    arguments = [each.get("arguments") for each in calls]
    read = sum(len(each) if isinstance(each, str) else _UNKNOWN for each in arguments)
    return read + sum(len(sample.text) for sample in samples)


_UNKNOWN = 10_000  # arguments that came as data are walked through, too
_PROBE = Sample(model="warm-up", message={"role": "assistant", "content": "{}"})
_PROBED = {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}


def sample_text(sample: Sample) -> str:
    """What a reward model reads of a sample: its text, or its tool calls in a canonical form."""
    if not sample.tool_calls:
        return sample.text
    functions = [call.get("function") or {} for call in sample.tool_calls]
    calls = [
        json.dumps(
            {"name": each.get("name"), "arguments": _arguments(each.get("arguments"))},
            sort_keys=True,
            ensure_ascii=False,
        )
        for each in functions
    ]
    return f"[{', '.join(sorted(calls))}]"


def _arguments(arguments: Any) -> Any:
    """Arguments as data, so that spacing and order of keys do not matter."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
