"""Hard constraints: which arms of the pool can serve this very request at all."""

from __future__ import annotations

from collections.abc import Collection

from bestroute import catalog
from bestroute.calls import settings
from bestroute.cost import CostModel
from bestroute.pool import Arm, PooledModel
from bestroute.query import Request

TOO_LONG = "do not fit the context window"
"""What a reason says where a shorter prompt would help."""

_LONGEST_TOKEN = 12
"""Characters: no text has fewer tokens."""


def excluded_arms(
    request: Request,
    cost_model: CostModel,
    *,
    model: str | None = None,
    models: Collection[str] | None = None,
    max_n: int | None = None,
) -> dict[Arm, str]:
    """The arms that cannot serve the request, and why, in words.

    An arm is out when its model cannot hold the prompt and the answer asked for, cannot do what
    the request needs (images, audio, video, documents, tools, response_format), would be
    sampled more than once at temperature 0, or more often than `max_n`, or is none of those
    that the call names.

    Args:
        request: The request.
        cost_model: Knows the pool, and how many tokens a prompt is to each model.
        model: Pool name of the model that the call names.
        models: Pool names of the models among which it is routed.
        max_n: Largest n allowed for this call.
    """
    excluded: dict[Arm, str] = {}
    for member in cost_model.pool.models:
        if model not in (None, member.name):
            why: str | None = f"the call names {model}"
        elif models is not None and member.name not in models:
            why = f"the call is for {', '.join(models)} only"
        else:
            why = _model_cannot(request, member, cost_model)
        greedy = settings(request, member).get("temperature") == 0
        if why or greedy or max_n is not None:
            for n in range(1, member.max_samples + 1):
                if reason := why or _too_many(n, greedy, max_n):
                    excluded[Arm(member.name, n)] = reason
    return excluded


def _too_many(n: int, greedy: bool, max_n: int | None) -> str | None:
    if n > 1 and greedy:
        return "at temperature 0 all samples are the same"
    return f"n is limited to {max_n}" if max_n is not None and n > max_n else None


def _model_cannot(request: Request, member: PooledModel, cost_model: CostModel) -> str | None:
    for need in sorted(request.needs):
        if not catalog.can(member, need):
            return f"{member.name} does not support {need}"
    window = catalog.context_window(member)
    if window is None:
        return None
    params = settings(request, member)
    answer = params.get("max_completion_tokens") or params.get("max_tokens") or 1
    needed = cost_model.prompt_tokens(member.name, request.prompt) + answer
    if needed > window and _may_be_shorter(request, member, cost_model, window):
        needed = min(needed, catalog.count_tokens(request.prompt) + answer)
    if needed > window:
        return f"about {needed:.0f} tokens {TOO_LONG} of {window}"
    return None


def _may_be_shorter(
    request: Request, member: PooledModel, cost_model: CostModel, window: int
) -> bool:
    """Whether the estimate is a guess, and so near that counting may say otherwise."""
    return member.name not in cost_model.stats and len(request.prompt) < _LONGEST_TOKEN * window
