"""Whether router, policy and pool fit together: before the first request, not during it."""

from __future__ import annotations

from bestroute.cost import CostModel
from bestroute.errors import PoolMismatchError, RouterNotTrained
from bestroute.policy import Adaptive
from bestroute.pool import ModelPool
from bestroute.routers.base import Router


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


def check_belief(policy: Adaptive, pool: ModelPool) -> None:
    """Whether the policy has learnt what the samples of every model say."""
    for member in pool.models:
        if not member.reference and member.name not in policy.belief.models:
            raise PoolMismatchError(
                f"the adaptive policy has learnt nothing of {member.name!r}; it was made for "
                f"{', '.join(policy.belief.models)}"
            )
