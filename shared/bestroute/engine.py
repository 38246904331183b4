"""BestRoute: the engine, and the only file that knows all the parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from bestroute import artifact
from bestroute._litellm import load_litellm
from bestroute._sync import iterate_sync, run_sync
from bestroute.calibration import CalibrationTable
from bestroute.constraints import settings
from bestroute.cost import CostModel
from bestroute.errors import ConfigError
from bestroute.loop import Loop
from bestroute.plan import Plan, check_router, plan
from bestroute.policy import Cascade, Decision, Policy
from bestroute.pool import ModelPool
from bestroute.query import Request
from bestroute.response import RoutedResponse
from bestroute.rewards.base import RewardModel
from bestroute.rewards.consistency import SelfConsistency
from bestroute.routers.base import Router
from bestroute.sampling import Delta, Sampler
from bestroute.selection import Selector
from bestroute.target import KNOBS, OnUncertified, Target

Messages = str | Sequence[Mapping[str, Any]]

_log = logging.getLogger(__name__)


class BestRoute:
    """Routes each request to a model and a number of samples, and returns the best sample.

    messages -> router -> policy -> sampler -> reward model -> response (arXiv 2506.22716).
    With a trained router the policy is the paper's one-shot rule; from a pool alone it is the
    training-free `Cascade`, which is uncalibrated.

    Args:
        pool: The model pool.
        router: Predicts match probabilities; see `from_pretrained`.
        policy: Decides; by default `OneShot(threshold)` with a router, else `Cascade()`.
        threshold: Smallest match probability that qualifies an arm, in [0, 1]. Lower is cheaper.
        max_drop: Instead, the largest relative quality drop against always-reference, kept with
            `confidence` on queries like the calibration's.
        target_cost: Instead, $ for 1,000 queries, as measured on the calibration queries.
        confidence: Of `max_drop`.
        on_uncertified: Whether a `max_drop` that is not certified raises, or always asks the
            reference.
        reward: Picks the best of n; by default self-consistency, which needs no model.
        cost_model: Estimates costs; by default from prices and rough token counts.
        sampler: Talks to the providers.
        label_sampling: Sampling parameters that the router's labels were made with, by model;
            a call that differs is warned of once.
        calibration: Thresholds by promised drop and by cost.

    Raises:
        RouterNotTrained: One-shot routing without a router.
        PoolMismatchError: The router knows other arms than the pool.
        MissingPriceError: Routing needs a price that nobody knows.
        ConfigError: Contradicting options, or a cost that no threshold is as low as.
        NotCertifiedError: The calibration queries do not certify `max_drop`.

    Example:
        >>> from bestroute import BestRoute, ModelPool
        >>> engine = BestRoute(ModelPool.from_dict({"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 5},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]}))
        >>> response = engine.complete("What is 17 * 3?")  # doctest: +SKIP
    """

    def __init__(
        self,
        pool: ModelPool,
        *,
        router: Router | None = None,
        policy: Policy | None = None,
        threshold: float | None = None,
        max_drop: float | None = None,
        target_cost: float | None = None,
        confidence: float = 0.95,
        on_uncertified: OnUncertified = "raise",
        reward: RewardModel | None = None,
        cost_model: CostModel | None = None,
        sampler: Sampler | None = None,
        label_sampling: Mapping[str, Mapping[str, Any]] | None = None,
        calibration: CalibrationTable | None = None,
    ) -> None:
        self.pool = pool
        self.router = router
        self.reward = reward or SelfConsistency()
        self.cost_model = cost_model or CostModel(pool)
        self.sampler = sampler or Sampler()
        self.label_sampling = dict(label_sampling or {})
        self.calibration = calibration
        self._selector = Selector(self.reward)
        self._warned: set[str] = set()
        target = Target(threshold, max_drop, target_cost, confidence, on_uncertified)
        self.policy = self._resolve(policy, target)

    def policy_at(self, target: Target) -> Policy:
        """The policy of a call: the engine's own, or one-shot at another threshold.

        Raises:
            RouterNotTrained: There is no router for a threshold.
            ConfigError: The threshold is no threshold, or there is no calibration table for
                what is asked.
            NotCertifiedError: The calibration queries do not certify the drop.
        """
        return self._resolve(None, target) if target.given else self.policy

    def _resolve(self, policy: Policy | None, target: Target) -> Policy:
        """The policy asked for, once it is sure that it can work."""
        if policy is not None and target.given:
            raise ConfigError("give a policy or a threshold, max_drop or target_cost, not both")
        if target.given:
            check_router(self.router, self.pool, self.cost_model)
            return target.policy(self.calibration)
        if policy is None:
            if self.router is not None:
                raise ConfigError("a router needs a threshold: give threshold= or policy=")
            policy = Cascade()
        if policy.needs_router:
            check_router(self.router, self.pool, self.cost_model)
        return policy

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: ModelPool | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> BestRoute:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: The pool to use. An artifact names models and prices, never where to send a
                key: give a pool of the same names for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            **options: Further arguments of `BestRoute`; `policy`, `threshold`, `max_drop` or
                `target_cost` instead of the artifact's policy.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        parts = artifact.load(name_or_path, pool=pool, revision=revision)
        if any(options.get(name) is not None for name in KNOBS):
            del parts["policy"]
        if "reward" not in parts and options.get("reward") is None:
            _log.warning(
                "%s was saved with a reward model of the user's own: give it as reward=; "
                "until then self-consistency picks the sample",
                name_or_path,
            )
        return cls(**{**parts, **options})

    def save_pretrained(self, directory: str | Path, *, card: str | None = None) -> Path:
        """Save router, threshold, costs and reward model: safetensors and JSON, no secrets.

        Args:
            directory: Made if absent.
            card: Markdown for the model card, such as an evaluation table.

        Raises:
            RouterNotTrained: There is no router to save.
            ArtifactError: A part cannot be saved (a user's function, a router of another kind).
        """
        return artifact.save(
            directory,
            pool=self.pool,
            router=self.router,
            policy=self.policy,
            reward=self.reward,
            cost_model=self.cost_model,
            label_sampling=self.label_sampling,
            calibration=self.calibration,
            card=card,
        )

    async def warmup(self) -> None:
        """Import LiteLLM and run the router once, so that the first request does not wait."""
        await load_litellm()
        if self.router is not None:
            await asyncio.to_thread(self.router.predict, ["warm-up"])

    def route(
        self,
        messages: Messages,
        *,
        threshold: float | None = None,
        max_drop: float | None = None,
        target_cost: float | None = None,
        confidence: float = 0.95,
        on_uncertified: OnUncertified = "raise",
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> Decision:
        """Decide only; no model is called.

        Args:
            messages: OpenAI-format messages, or the text of one user message.
            threshold: For this call, instead of the engine's policy; or, one of them,
            max_drop: the largest relative quality drop that is promised, or
            target_cost: $ for 1,000 queries (see `BestRoute`).
            confidence: Of `max_drop`.
            on_uncertified: Whether a `max_drop` that is not certified raises, or asks the
                reference.
            max_n: Largest n for this call.
            query_text: What the router reads, instead of the last user message.
            **params: OpenAI parameters of the request (tools, response_format ...).

        Raises:
            ConfigError: The knobs contradict each other, or cannot be had.
            RequestError: The request is malformed.
            NoEligibleArmError: No arm can serve it.
        """
        request = Request.build(messages, params, query_text=query_text)
        target = Target(threshold, max_drop, target_cost, confidence, on_uncertified)
        return self._plan(request, self.policy_at(target), max_n).decision

    async def acomplete(
        self,
        messages: Messages,
        *,
        threshold: float | None = None,
        max_drop: float | None = None,
        target_cost: float | None = None,
        confidence: float = 0.95,
        on_uncertified: OnUncertified = "raise",
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> RoutedResponse:
        """Route, sample, select; the arguments are those of `route`.

        Raises:
            RequestError: The request is malformed, or no arm can serve it.
            SamplingError: No model gave a response; it carries all causes and calls.
        """
        target = Target(threshold, max_drop, target_cost, confidence, on_uncertified)
        loop = await self._loop(messages, target, max_n, query_text, params)
        async with aclosing(loop.run(streaming=False)) as items:
            async for item in items:
                if isinstance(item, RoutedResponse):
                    return item
        raise AssertionError("the loop ends with a response or an error")

    async def astream(
        self,
        messages: Messages,
        *,
        threshold: float | None = None,
        max_drop: float | None = None,
        target_cost: float | None = None,
        confidence: float = 0.95,
        on_uncertified: OnUncertified = "raise",
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> AsyncGenerator[Delta | RoutedResponse, None]:
        """Stream: pieces as `Delta`, at last the `RoutedResponse`.

        One sample streams as it comes; of several, the selected one comes in one piece.
        Arguments and errors are those of `acomplete`.
        """
        target = Target(threshold, max_drop, target_cost, confidence, on_uncertified)
        loop = await self._loop(messages, target, max_n, query_text, params)
        async with aclosing(loop.run(streaming=True)) as items:
            async for item in items:
                yield item

    def complete(self, messages: Messages, **options: Any) -> RoutedResponse:
        """`acomplete` for sync callers; also works inside a running event loop."""
        return run_sync(self.acomplete(messages, **options))

    def stream(
        self, messages: Messages, **options: Any
    ) -> Generator[Delta | RoutedResponse, None, None]:
        """`astream` for sync callers; also works inside a running event loop."""
        return iterate_sync(self.astream(messages, **options))

    async def _loop(
        self,
        messages: Messages,
        target: Target,
        max_n: int | None,
        query_text: str | None,
        params: Mapping[str, Any],
    ) -> Loop:
        request = Request.build(messages, params, query_text=query_text)
        policy = self.policy_at(target)
        state, first, decision = await asyncio.to_thread(self._plan, request, policy, max_n)
        return Loop(
            request,
            state,
            first,
            decision,
            pool=self.pool,
            policy=policy,
            sampler=self.sampler,
            selector=self._selector,
        )

    def _plan(self, request: Request, policy: Policy, max_n: int | None) -> Plan:
        self._warn_of_other_sampling(request)
        return plan(
            request,
            policy,
            pool=self.pool,
            router=self.router,
            cost_model=self.cost_model,
            max_n=max_n,
        )

    def _warn_of_other_sampling(self, request: Request) -> None:
        for member in self.pool.models:
            made_with = self.label_sampling.get(member.name)
            if not made_with or member.name in self._warned:
                continue
            called_with = settings(request, member)
            differs = {key: v for key, v in made_with.items() if called_with.get(key) != v}
            if differs:
                self._warned.add(member.name)
                _log.warning(
                    "%s is called with %s; the router's labels were made with %s",
                    member.name,
                    {key: called_with.get(key) for key in differs},
                    differs,
                )
