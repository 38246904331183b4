"""Whether router, policy and pool fit together: before the first request, not during it."""

from __future__ import annotations

import numpy as np

from bestroute.cost import CostModel
from bestroute.errors import PoolMismatchError, PredictionError, RouterNotTrained
from bestroute.policy import Adaptive, Policy
from bestroute.pool import ModelPool
from bestroute.routers.base import Prediction, Router


def check_router(router: Router | None, pool: ModelPool, cost_model: CostModel) -> None:
    """Make sure that the router can choose from this pool.

    Raises:
        RouterNotTrained: There is none.
        PoolMismatchError: It knows other arms, or another reference, than the pool.
        MissingPriceError: It needs a price that nobody knows.
    """
    if router is None:
        raise RouterNotTrained(
            "one-shot routing needs a trained router: train one with "
            "`bestroute fit pool.yaml prompts.jsonl -o router/`, then use "
            "BestRoute.from_pretrained('router/'); without one, leave threshold and policy "
            "out to get the training-free cascade"
        )
    unknown = [str(arm) for arm in pool.arms if arm not in router.arms]
    if unknown:
        raise PoolMismatchError(
            f"the router has no head for {', '.join(unknown)}; "
            f"it was made for {', '.join(map(str, router.arms))}"
        )
    reference = getattr(router, "reference", pool.reference.name)
    if reference != pool.reference.name:
        raise PoolMismatchError(
            f"the router was made against the reference {reference!r}, "
            f"the pool's is {pool.reference.name!r}"
        )
    for member in pool.models:
        cost_model.price(member.name)


def check_policy(
    policy: Policy, router: Router | None, pool: ModelPool, cost_model: CostModel
) -> None:
    """Make sure that a policy can decide for this pool.

    Raises:
        RouterNotTrained: It needs a router.
        PoolMismatchError: The router, or what the policy has learnt, is of another pool.
        MissingPriceError: It needs a price that nobody knows.
    """
    if policy.needs_router:
        check_router(router, pool, cost_model)
    if not isinstance(policy, Adaptive):
        return
    for member in pool.models:
        if not member.reference and member.name not in policy.belief.models:
            raise PoolMismatchError(
                f"the adaptive policy has learnt nothing of {member.name!r}; it was made for "
                f"{', '.join(policy.belief.models)}"
            )


def check_prediction(prediction: Prediction) -> None:
    """Whether a router's word can be relied on.

    Raises:
        PredictionError: There is no probability for every arm, or a number is impossible.
    """
    wanted, match = (1, len(prediction.arms)), prediction.match
    if match.shape != wanted:
        raise PredictionError(f"match probabilities of shape {match.shape}, expected {wanted}")
    if not ((match >= 0) & (match <= 1)).all():
        raise PredictionError(f"match probabilities outside [0, 1]: {match[0].tolist()}")
    for name in ("output_tokens", "quality"):
        values = getattr(prediction, name)
        if values is not None and not (values.shape == wanted and np.isfinite(values).all()):
            raise PredictionError(f"{name} that are no numbers, or not one an arm")
