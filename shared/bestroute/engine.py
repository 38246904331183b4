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
from bestroute.constraints import excluded_arms, settings
from bestroute.cost import CostModel
from bestroute.errors import (
    ConfigError,
    MissingPriceError,
    NoEligibleArmError,
    PoolMismatchError,
    RouterNotTrained,
)
from bestroute.loop import Loop
from bestroute.policy import Accept, Cascade, Decision, Draw, OneShot, Policy, State
from bestroute.pool import Arm, ModelPool
from bestroute.query import Request
from bestroute.response import RoutedResponse
from bestroute.rewards.base import RewardModel
from bestroute.rewards.consistency import SelfConsistency
from bestroute.routers.base import Floats, Router
from bestroute.sampling import Delta, Sampler
from bestroute.selection import Selector

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
        ConfigError: Contradicting options.

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
        self.policy = self._resolve(policy, threshold)

    def policy_at(self, threshold: float | None) -> Policy:
        """The policy of a call: the engine's own, or one-shot at another threshold.

        Raises:
            RouterNotTrained: There is no router for a threshold.
            ConfigError: The threshold is negative or not a number.
        """
        return self.policy if threshold is None else self._resolve(None, threshold)

    def _resolve(self, policy: Policy | None, threshold: float | None) -> Policy:
        """The policy asked for, once it is sure that it can work."""
        if policy is not None and threshold is not None:
            raise ConfigError("give a policy or a threshold, not both")
        if policy is None and threshold is not None:
            policy = OneShot(threshold)
        if policy is None:
            if self.router is not None:
                raise ConfigError("a router needs a threshold: give threshold= or policy=")
            policy = Cascade()
        if policy.needs_router:
            self._check_router()
        return policy

    def _check_router(self) -> None:
        if self.router is None:
            raise RouterNotTrained(
                "one-shot routing needs a trained router: train one with "
                "`bestroute fit SAMPLES.parquet --pool pool.yaml --output router/`, then use "
                "BestRoute.from_pretrained('router/'); without one, leave threshold and policy "
                "out to get the training-free cascade"
            )
        unknown = [str(arm) for arm in self.pool.arms if arm not in self.router.arms]
        if unknown:
            raise PoolMismatchError(
                f"the router has no head for {', '.join(unknown)}; "
                f"it was made for {', '.join(map(str, self.router.arms))}"
            )
        reference = getattr(self.router, "reference", self.pool.reference.name)
        if reference != self.pool.reference.name:
            raise PoolMismatchError(
                f"the router was made against the reference {reference!r}, "
                f"the pool's is {self.pool.reference.name!r}"
            )
        for member in self.pool.models:
            self.cost_model.price(member.name)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: ModelPool | None = None,
        revision: str | None = None,
        threshold: float | None = None,
        **options: Any,
    ) -> BestRoute:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: The pool to use. An artifact names models and prices, never where to send a
                key: give a pool of the same names for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            threshold: Instead of the artifact's calibrated one.
            **options: Further arguments of `BestRoute`.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        parts = artifact.load(name_or_path, pool=pool, revision=revision)
        if threshold is not None:
            del parts["policy"]
            parts["threshold"] = threshold
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
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> Decision:
        """Decide only; no model is called.

        Args:
            messages: OpenAI-format messages, or the text of one user message.
            threshold: For this call, instead of the engine's.
            max_n: Largest n for this call.
            query_text: What the router reads, instead of the last user message.
            **params: OpenAI parameters of the request (tools, response_format ...).

        Raises:
            RequestError: The request is malformed.
            NoEligibleArmError: No arm can serve it.
        """
        request = Request.build(messages, params, query_text=query_text)
        return self._plan(request, self.policy_at(threshold), max_n)[2]

    async def acomplete(
        self,
        messages: Messages,
        *,
        threshold: float | None = None,
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> RoutedResponse:
        """Route, sample, select; the arguments are those of `route`.

        Raises:
            RequestError: The request is malformed, or no arm can serve it.
            SamplingError: No model gave a response; it carries all causes and calls.
        """
        loop = await self._loop(messages, threshold, max_n, query_text, params)
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
        max_n: int | None = None,
        query_text: str | None = None,
        **params: Any,
    ) -> AsyncGenerator[Delta | RoutedResponse, None]:
        """Stream: pieces as `Delta`, at last the `RoutedResponse`.

        One sample streams as it comes; of several, the selected one comes in one piece.
        Arguments and errors are those of `acomplete`.
        """
        loop = await self._loop(messages, threshold, max_n, query_text, params)
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
        threshold: float | None,
        max_n: int | None,
        query_text: str | None,
        params: Mapping[str, Any],
    ) -> Loop:
        request = Request.build(messages, params, query_text=query_text)
        policy = self.policy_at(threshold)
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

    def _plan(
        self, request: Request, policy: Policy, max_n: int | None
    ) -> tuple[State, tuple[Draw, ...], Decision]:
        """The policy's view of the request, its first move, and that move as a decision."""
        excluded = excluded_arms(request, self.cost_model, max_n=max_n)
        arms = tuple(arm for arm in self.pool.arms if arm not in excluded)
        if not arms:
            reasons = "; ".join(sorted(set(excluded.values())))
            raise NoEligibleArmError(f"no arm of the pool can serve this request: {reasons}")
        self._warn_of_other_sampling(request)
        match, lengths, quality = self._predict(request, policy, arms)
        costs = {arm: self._cost(arm, request, lengths.get(arm)) for arm in self.pool.arms}
        state = State(
            arms=arms,
            reference=self.pool.reference_arm,
            costs=costs,
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
            excluded={str(each): why for each, why in excluded.items()},
            reason=first[0].reason,
        )
        return state, first, decision

    def _predict(
        self, request: Request, policy: Policy, arms: Sequence[Arm]
    ) -> tuple[dict[Arm, float], dict[Arm, float], dict[Arm, float]]:
        """Match probability of every eligible arm; output length and quality where predicted."""
        if self.router is None or not policy.needs_router:
            return {}, {}, {}
        prediction = self.router.predict([request.query])
        columns = {arm: prediction.arms.index(arm) for arm in arms}

        def first(values: Floats | None) -> dict[Arm, float]:
            if values is None:
                return {}
            return {arm: float(values[0, column]) for arm, column in columns.items()}

        return first(prediction.match), first(prediction.output_tokens), first(prediction.quality)

    def _cost(self, arm: Arm, request: Request, output_tokens: float | None) -> float:
        try:
            return self.cost_model.estimate(arm, request.prompt, output_tokens=output_tokens)
        except MissingPriceError:
            return float("nan")  # only a policy that needs no prices gets this far

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
