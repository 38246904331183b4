"""From a call to its plan: the router is asked, then the policy."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace

from bestroute._aside import aside
from bestroute.breaker import Breaker
from bestroute.checks import check_prediction
from bestroute.cost import CostModel
from bestroute.deadline import Deadline, seconds_until
from bestroute.errors import PredictionError
from bestroute.failures import describe
from bestroute.options import Asked
from bestroute.plan import Plan, plan
from bestroute.policy import Policy
from bestroute.policy.named import Named
from bestroute.policy.share import Capped
from bestroute.policy.stand_in import StandIn
from bestroute.pool import ModelPool
from bestroute.purse import Purse
from bestroute.routers.base import Prediction, Router
from bestroute.routers.batching import batched

_log = logging.getLogger(__name__)


class Planner:
    """Plans calls; where the router fails, the reference stands in.

    Args:
        pool: The model pool.
        router: Predicts match probabilities.
        cost_model: Estimates costs.
        breaker: Knows which models rest.
    """

    def __init__(
        self, pool: ModelPool, router: Router | None, cost_model: CostModel, breaker: Breaker
    ) -> None:
        self._pool = pool
        self._router = router
        self._batches = None if router is None else batched(router)
        self._cost_model = cost_model
        self._breaker = breaker

    async def aplan(self, asked: Asked, policy: Policy, purse: Purse, deadline: Deadline) -> Plan:
        """`plan` without blocking the event loop, and in time; concurrent calls share batches."""
        if not policy.needs_router or self._batches is None:
            return await aside(lambda: self._plan(asked, policy, purse), size=math.inf)
        limit, query = asyncio.timeout(seconds_until(deadline.cut)), asked.request.query
        try:
            async with limit:
                prediction = await self._batches.ask(query)
        except Exception as error:  # whatever a router may raise
            late = limit.expired()
            stand_in = self._late(policy) if late else self._failed(error, policy)
            # Here and now: all threads may be taken by routers that hang.
            return self._plan(asked, stand_in, purse)
        return await aside(lambda: self._planned(asked, policy, purse, prediction), size=math.inf)

    def plan(self, asked: Asked, policy: Policy, purse: Purse) -> Plan:
        """Ask the router, then the policy; no model is called.

        Args:
            asked: The call.
            policy: Decides.
            purse: What the call may spend.

        Raises:
            NoEligibleArmError: No arm can serve it.
            UnknownModelError: It speaks of a model that is not in the pool.
        """
        if not policy.needs_router or self._router is None:
            return self._plan(asked, policy, purse)
        try:
            prediction = self._router.predict([asked.request.query])
        except Exception as error:  # whatever a router may raise
            return self._plan(asked, self._failed(error, policy), purse)
        return self._planned(asked, policy, purse, prediction)

    def _planned(self, asked: Asked, policy: Policy, purse: Purse, prediction: Prediction) -> Plan:
        """By a prediction, if it can be relied on."""
        try:
            check_prediction(prediction)
        except PredictionError as error:
            return self._plan(asked, self._failed(error, policy), purse)
        return self._plan(asked, policy, purse, prediction)

    def _plan(
        self, asked: Asked, policy: Policy, purse: Purse, prediction: Prediction | None = None
    ) -> Plan:
        limits = asked.limits
        if isinstance(policy, Named):
            limits = replace(limits, model=policy.arm.model)
        return plan(
            asked.request,
            policy,
            pool=self._pool,
            cost_model=self._cost_model,
            prediction=prediction,
            limits=limits,
            purse=purse,
            resting=self._breaker.resting(),
        )

    def _failed(self, error: Exception, policy: Policy) -> Policy:
        what = f"failed ({describe(error)})"
        _log.warning("the router %s: the reference is asked", what, exc_info=error)
        return self._stand_in(what, policy)

    def _late(self, policy: Policy) -> Policy:
        what = "did not answer in time"
        _log.warning("the router %s: the reference is asked", what)
        return self._stand_in(what, policy)

    def _stand_in(self, what: str, policy: Policy) -> Policy:
        """The reference in a policy's place, under the same cap."""
        stand_in = StandIn(self._pool.reference_arm, f"the router {what}")
        return policy.over(stand_in) if isinstance(policy, Capped) else stand_in
