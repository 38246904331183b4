"""From a request to the policy's first move: what can serve it, at which chances and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bestroute.constraints import TOO_LONG, excluded_arms
from bestroute.cost import CostModel
from bestroute.errors import BudgetError, ContextWindowError, NoEligibleArmError
from bestroute.options import Limits
from bestroute.policy import Accept, Decision, Draw, Policy, State
from bestroute.policy.base import next_move
from bestroute.pool import Arm, ModelPool
from bestroute.purse import Purse
from bestroute.query import Request
from bestroute.reservation import most_of, reserve
from bestroute.routers.base import Floats, Prediction

_NO_LIMITS = Limits()
_NOTHING: Mapping[Arm, BudgetError] = MappingProxyType({})
_NOBODY: Mapping[str, str] = MappingProxyType({})


class Plan(NamedTuple):
    """The policy's view of a request, its first move, and that move as a decision.

    Attributes:
        resting: Arms that could serve the request, of models that rest.
    """

    state: State
    first: tuple[Draw, ...]
    decision: Decision
    policy: Policy
    resting: tuple[Arm, ...] = ()


def plan(
    request: Request,
    policy: Policy,
    *,
    pool: ModelPool,
    cost_model: CostModel,
    prediction: Prediction | None = None,
    limits: Limits = _NO_LIMITS,
    purse: Purse | None = None,
    resting: Mapping[str, str] = _NOBODY,
) -> Plan:
    """Ask the policy; no model is called.

    Args:
        request: The request.
        policy: Decides.
        pool: What there is to choose from.
        cost_model: Estimates costs.
        prediction: What the router says of the query [1, arms], where the policy needs it.
        limits: What this call rules out; its model is a pool name.
        purse: What it may spend.
        resting: Models that are left out while others can answer, and why; the first one stays
            if nobody else can.

    Raises:
        NoEligibleArmError: No arm of the pool can serve the request; a `ContextWindowError`
            where a shorter prompt might be served, a `BudgetError` where more money would do.
        UnknownModelError: The limits speak of a model that is not in the pool.
    """
    purse = purse or Purse()
    for name in (*limits.cached_tokens, *(limits.models or ())):
        pool[name]  # a typo would go unnoticed
    excluded = excluded_arms(
        request, cost_model, model=limits.model, models=limits.models, max_n=limits.max_n
    )
    arms = _left(pool, excluded)
    match, lengths, quality = _of_pool(prediction, pool.arms)
    costs, again = (
        dict(zip(pool.arms, dollars.tolist(), strict=True))
        for dollars in cost_model.of_prompt(len(request.prompt), lengths, limits.cached_tokens)
    )
    most: dict[Arm, float] = {}
    refused: dict[Arm, BudgetError] = {}
    if purse.caps:
        most, refused = _refused(arms, request, pool, purse)
        excluded |= {arm: str(why) for arm, why in refused.items()}
        arms = _left(pool, excluded, refused)
    left_out = _resting(arms, resting)
    excluded |= {arm: resting[arm.model] for arm in left_out}
    if left_out:
        arms = tuple(arm for arm in arms if arm not in left_out)
    state = State(
        left=purse.left,
        most=most,
        unaffordable=tuple(refused),
        arms=arms,
        reference=pool.reference_arm,
        costs=costs,
        costs_again=again,
        match=match,
        quality=quality,
        query=request.query,
    )
    first = next_move(policy, state)
    if isinstance(first, Accept):
        raise NoEligibleArmError(f"{policy.name} has nothing to draw: {first.reason}")
    excluded |= getattr(policy, "withheld", {})
    if excluded:
        arms = tuple(arm for arm in arms if arm not in excluded)
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
    return Plan(state, first, decision, policy, left_out)


def _resting(arms: Sequence[Arm], resting: Mapping[str, str]) -> tuple[Arm, ...]:
    """The arms that can be left out, for others can answer."""
    if not resting:
        return ()
    models = {arm.model for arm in arms}
    tried = "" if models - resting.keys() else next(name for name in resting if name in models)
    return tuple(arm for arm in arms if arm.model in resting and arm.model != tried)


def _of_pool(
    prediction: Prediction | None, arms: Sequence[Arm]
) -> tuple[dict[Arm, float], Floats | None, dict[Arm, float]]:
    """Match probability, output length [A] and quality of every arm, where predicted."""
    if prediction is None:
        return {}, None, {}
    columns: list[int] | slice = slice(None)
    if prediction.arms != arms:
        place = {arm: column for column, arm in enumerate(prediction.arms)}
        columns = [place[arm] for arm in arms]
    lengths, quality = (
        None if values is None else values[0, columns]
        for values in (prediction.output_tokens, prediction.quality)
    )
    match = dict(zip(arms, prediction.match[0, columns].tolist(), strict=True))
    known = {} if quality is None else dict(zip(arms, quality.tolist(), strict=True))
    return match, lengths, known


def _left(
    pool: ModelPool, excluded: Mapping[Arm, str], refused: Mapping[Arm, BudgetError] = _NOTHING
) -> tuple[Arm, ...]:
    """The arms that can serve the request."""
    if not excluded:
        return pool.arms
    if arms := tuple(arm for arm in pool.arms if arm not in excluded):
        return arms
    others = (why for arm, why in excluded.items() if arm not in refused)
    reasons = "; ".join(dict.fromkeys(others))
    told = f"no arm of the pool can serve this request: {reasons}"
    if refused:
        one = next(iter(refused.values()))  # the first arm: of its model, the cheapest
        more = f" (and so do {len(refused) - 1} other arms)" if len(refused) > 1 else ""
        told = f"the caps pay for no arm that could serve this request: {one}{more}"
        told += f"; {reasons}" if reasons else "; a smaller max_tokens lowers what calls may cost"
        waits = [each.frees_in for each in refused.values() if each.frees_in is not None]
        left = max(each.left for each in refused.values())
        raise BudgetError(told, left=left, frees_in=min(waits, default=None))
    raise (ContextWindowError if TOO_LONG in reasons else NoEligibleArmError)(told)


def _refused(
    arms: Sequence[Arm], request: Request, pool: ModelPool, purse: Purse
) -> tuple[dict[Arm, float], dict[Arm, BudgetError]]:
    """What each arm can cost at most in $; and those that the caps cannot pay, with the reason."""
    most: dict[Arm, float] = {}
    refused: dict[Arm, BudgetError] = {}
    reservations = {name: reserve(request, pool[name]) for name in {arm.model for arm in arms}}
    for arm in arms:
        reservation = reservations[arm.model]
        most[arm] = most_of(arm, pool[arm.model], reservation)
        if refusal := purse.refusal(most[arm], str(arm), reservation.unknown):
            refused[arm] = refusal
    return most, refused
