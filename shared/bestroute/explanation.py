"""One decision, arm by arm: what each was expected to give and to cost, and what became of it."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bestroute.policy import Decision, EarlyStop, OneShot
from bestroute.pool import Arm

Verdict = Literal["chosen", "qualifies", "below threshold", "eligible", "excluded"]

_BY_THRESHOLD = (OneShot.name, EarlyStop.name)


class ArmVerdict(BaseModel):
    """What a decision made of one arm.

    Attributes:
        arm: The arm.
        match_probability: That it matches the reference; `None` where no router was asked.
        estimated_cost: In $; `None` where no price is known, or it is excluded.
        verdict: Whether it was chosen; else whether it qualifies, under a policy with a
            threshold for every arm, or is eligible, under any other; or why it is neither.
        why: In words.
    """

    model_config = ConfigDict(frozen=True)

    arm: Arm
    match_probability: float | None = None
    estimated_cost: float | None = None
    verdict: Verdict
    why: str = ""


def explain(decision: Decision, reference: Arm) -> tuple[ArmVerdict, ...]:
    """Every arm of a decision: the eligible ones by estimated cost, then the excluded ones.

    Args:
        decision: What the engine's `route` gave.
        reference: The reference with n = 1, `pool.reference_arm`.
    """
    named = dict.fromkeys((*decision.estimated_costs, *decision.match_probabilities))
    named.setdefault(str(decision.arm))
    eligible = [_eligible(Arm.parse(name), decision, reference) for name in named]
    excluded = [
        ArmVerdict(arm=Arm.parse(name), verdict="excluded", why=why)
        for name, why in decision.excluded.items()
        if name not in named
    ]
    return (*sorted(eligible, key=_cost), *excluded)


def _cost(row: ArmVerdict) -> float:
    return math.inf if row.estimated_cost is None else row.estimated_cost


def _eligible(arm: Arm, decision: Decision, reference: Arm) -> ArmVerdict:
    match = decision.match_probabilities.get(str(arm))
    verdict, why = _judged(arm, match, decision, reference)
    return ArmVerdict(
        arm=arm,
        match_probability=match,
        estimated_cost=decision.estimated_costs.get(str(arm)),
        verdict=verdict,
        why=why,
    )


def _judged(
    arm: Arm, match: float | None, decision: Decision, reference: Arm
) -> tuple[Verdict, str]:
    threshold = decision.threshold
    if arm == decision.arm:
        return "chosen", decision.reason
    if threshold is None or match is None or decision.policy not in _BY_THRESHOLD:
        return "eligible", ""
    if arm == reference:
        return "qualifies", "the reference always does"
    if match >= threshold:
        return "qualifies", "dearer than the chosen arm, or as dear and less sure"
    return "below threshold", f"{match:.3f} is below {threshold:g}"
