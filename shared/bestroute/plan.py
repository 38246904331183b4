"""From a request to the policy's first move: what can serve it, at which chances and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bestroute.constraints import TOO_LONG, excluded_arms
from bestroute.cost import CostModel
from bestroute.errors import ContextWindowError, MissingPriceError, NoEligibleArmError
from bestroute.options import Limits
from bestroute.policy import Accept, Decision, Draw, Policy, State
from bestroute.pool import Arm, ModelPool
from bestroute.query import Request
from bestroute.routers.base import Floats, Prediction

_NO_LIMITS = Limits()


class Plan(NamedTuple):
    """The policy's view of a request, its first move, and that move as a decision."""

    state: State
    first: tuple[Draw, ...]
    decision: Decision


def plan(
    request: Request,
    policy: Policy,
    *,
    pool: ModelPool,
    cost_model: CostModel,
    prediction: Prediction | None = None,
    limits: Limits = _NO_LIMITS,
) -> Plan:
    """Ask the policy; no model is called.

    Args:
        request: The request.
        policy: Decides.
        pool: What there is to choose from.
        cost_model: Estimates costs.
        prediction: What the router says of the query [1, arms], where the policy needs it.
        limits: What this call rules out; its model is a pool name.

    Raises:
        NoEligibleArmError: No arm of the pool can serve the request; a `ContextWindowError`
            where a shorter prompt might be served.
        UnknownModelError: The limits speak of a model that is not in the pool.
    """
    for name in (*limits.cached_tokens, *(limits.models or ())):
        pool[name]  # a typo would go unnoticed
    excluded = excluded_arms(
        request, cost_model, model=limits.model, models=limits.models, max_n=limits.max_n
    )
    arms = _left(pool, excluded)
    match, lengths, quality = _of_arms(prediction, arms)
    costs, again = (
        {
            arm: _cost(arm, request, cost_model, lengths.get(arm), limits.cached_tokens, again)
            for arm in pool.arms
        }
        for again in (False, True)
    )
    if limits.max_cost is not None:
        excluded |= _too_dear(arms, costs, limits.max_cost)
        arms = _left(pool, excluded)
    state = State(
        max_cost=limits.max_cost,
        arms=arms,
        reference=pool.reference_arm,
        costs=costs,
        costs_again=again,
        match=match,
        quality=quality,
        query=request.query,
    )
    first = policy.next(state)
    if isinstance(first, Accept):
        raise NoEligibleArmError(f"{policy.name} has nothing to draw: {first.reason}")
    arm = Arm(first[0].model, first[0].n)
    decision = Decision(
        arm=arm,
        match_probability=match.get(arm),
        match_probabilities={str(each): match[each] for each in arms if each in match},
        estimated_costs={str(each): costs[each] for each in arms if costs[each] == costs[each]},
        threshold=getattr(policy, "threshold", None),
        policy=policy.name,
        calibrated=policy.calibrated,
        max_drop=getattr(policy, "max_drop", None),
        confidence=getattr(policy, "confidence", None),
        target_cost=getattr(policy, "target_cost", None),
        excluded={str(each): why for each, why in excluded.items()},
        reason=first[0].reason,
    )
    return Plan(state, first, decision)


def _of_arms(
    prediction: Prediction | None, arms: Sequence[Arm]
) -> tuple[dict[Arm, float], dict[Arm, float], dict[Arm, float]]:
    """Match probability of every eligible arm; output length and quality where predicted."""
    if prediction is None:
        return {}, {}, {}
    columns = {arm: prediction.arms.index(arm) for arm in arms}

    def first(values: Floats | None) -> dict[Arm, float]:
        if values is None:
            return {}
        return {arm: float(values[0, column]) for arm, column in columns.items()}

    return first(prediction.match), first(prediction.output_tokens), first(prediction.quality)


def _left(pool: ModelPool, excluded: Mapping[Arm, str]) -> tuple[Arm, ...]:
    """The arms that can serve the request."""
    if arms := tuple(arm for arm in pool.arms if arm not in excluded):
        return arms
    reasons = "; ".join(sorted(set(excluded.values())))
    kind = ContextWindowError if TOO_LONG in reasons else NoEligibleArmError
    raise kind(f"no arm of the pool can serve this request: {reasons}")


def _too_dear(arms: Sequence[Arm], costs: Mapping[Arm, float], max_cost: float) -> dict[Arm, str]:
    """The arms that are not sure to cost at most so much, and why."""
    return {
        arm: f"{arm.model} has no price, and max_cost is given"
        if costs[arm] != costs[arm]
        else f"{arm} costs about ${costs[arm]:.3g}, more than max_cost (${max_cost:.3g})"
        for arm in arms
        if not costs[arm] <= max_cost
    }


def _cost(
    arm: Arm,
    request: Request,
    cost_model: CostModel,
    output_tokens: float | None,
    cached_tokens: Mapping[str, int],
    again: bool,
) -> float:
    cached = cached_tokens.get(arm.model, 0)
    try:
        return cost_model.estimate(
            arm, request.prompt, output_tokens=output_tokens, cached_tokens=cached, again=again
        )
    except MissingPriceError:
        return float("nan")  # only a policy that needs no prices gets this far
