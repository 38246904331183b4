"""One row of the ledger: what a routed call decided, used, cost and brought."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

from bestroute.policy.base import Decision
from bestroute.response import RoutedResponse
from bestroute.samples import Call, Usage, total_cost, total_usage

_MOST_TOKENS = 10**12  # of a call: nonsense of a provider must not overflow sums

Outcome = Literal["ok", "error", "cancelled"]


class Entry(NamedTuple):
    """A row; its fields are the columns.

    Attributes:
        time: When the call ended, in seconds since 1970 (UTC).
        outcome: Whether it was answered.
        error: Class of the error that was raised.
        arm, policy, threshold, match_probability, estimated_cost: The decision, before the first
            draw; cost in $.
        model: Pool name of the model whose answer was given.
        samples: How many samples came.
        models: JSON: calls, tokens and $ of each model asked, a judge's too.
        prompt_tokens, completion_tokens, cached_tokens: Of all calls together.
        estimated: Whether some had to be counted here, for want of a report.
        cost: $ of all calls; `None` where a price is unknown.
        reference_cost: Estimated $ of asking the reference once instead.
        latency: Seconds from the decision on.
        degraded: How many things did not go as decided.
        query, answer: Texts, where they are asked for.
    """

    time: float
    outcome: Outcome
    error: str | None
    arm: str
    policy: str
    threshold: float | None
    match_probability: float | None
    estimated_cost: float | None
    model: str | None
    samples: int
    models: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    estimated: bool
    cost: float | None
    reference_cost: float | None
    latency: float
    degraded: int
    query: str | None = None
    answer: str | None = None

    @classmethod
    def of(
        cls,
        decision: Decision | None,
        calls: Sequence[Call],
        *,
        latency: float,
        response: RoutedResponse | None = None,
        error: BaseException | None = None,
    ) -> Self:
        """The row of a call; without response and error it was cancelled.

        Args:
            decision: What the policy decided; `None` where it came to no decision.
            calls: All calls to providers.
            latency: Seconds.
            response: What was given.
            error: What was raised.
        """
        usage = total_usage(calls)
        tokens = _tokens(usage)
        return cls(
            time=time.time(),
            outcome="ok" if response else "error" if error else "cancelled",
            error=type(error).__name__ if error else None,
            arm=str(decision.arm) if decision else "",
            policy=decision.policy if decision else "",
            threshold=decision.threshold if decision else None,
            match_probability=decision.match_probability if decision else None,
            estimated_cost=decision.estimated_cost if decision else None,
            model=response.model if response else None,
            samples=sum(call.received for call in calls),
            models=json.dumps(_by_model(calls)),
            prompt_tokens=tokens["prompt_tokens"],
            completion_tokens=tokens["completion_tokens"],
            cached_tokens=tokens["cached_tokens"],
            estimated=usage.estimated,
            cost=total_cost(calls),
            reference_cost=response.estimated_reference_cost if response else None,
            latency=latency,
            degraded=len(response.degraded) if response else 0,
        )


def _by_model(calls: Sequence[Call]) -> dict[str, dict[str, float | None]]:
    models: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(call.model for call in calls):
        own = [call for call in calls if call.model == name]
        usage = total_usage(own)
        models[name] = {
            "calls": len(own),
            **_tokens(usage),
            "cost": total_cost(own),
        }
    return models


def _tokens(usage: Usage) -> dict[str, int]:
    counts = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }
    return {name: min(count, _MOST_TOKENS) for name, count in counts.items()}
