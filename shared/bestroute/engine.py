"""BestRoute: the engine, and the only file that knows all the parts."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bestroute import artifact
from bestroute._aside import in_thread
from bestroute._litellm import load_litellm
from bestroute._sync import iterate_sync, run_sync
from bestroute.breaker import Breaker
from bestroute.budget import Budget
from bestroute.calibration import CalibrationTable
from bestroute.checks import check_policy, check_router
from bestroute.cost import CostModel
from bestroute.deadline import Deadline
from bestroute.errors import ConfigError
from bestroute.events import Decided, Delta, Drawing, Event
from bestroute.label_sampling import LabelSampling
from bestroute.loop import Loop
from bestroute.options import Asked, Messages, Options, read
from bestroute.planner import Planner
from bestroute.policy import Cascade, Decision, Policy
from bestroute.policy.named import Named, named_arm
from bestroute.policy.share import ReferenceShare, capped, count, uncounted
from bestroute.pool import ModelPool, PoolLike
from bestroute.purse import Purse
from bestroute.response import RoutedResponse
from bestroute.rewards.base import RewardModel
from bestroute.rewards.consistency import SelfConsistency
from bestroute.routers.base import Router
from bestroute.sampling import Sampler
from bestroute.selection import Selector
from bestroute.target import KNOBS, OnUncertified, Target, thresholded

if TYPE_CHECKING:
    from bestroute.ledger import Ledger

_log = logging.getLogger(__name__)


class BestRoute:
    """Routes each request to a model and a number of samples, and returns the best sample.

    messages -> router -> policy -> sampler -> reward model -> response (arXiv 2506.22716).
    With a trained router the policy is the paper's one-shot rule, or `Adaptive`, which decides
    again after each wave of samples; from a pool alone it is the training-free `Cascade`, which
    is uncalibrated.

    Args:
        pool: The model pool, plain data of one, or a YAML file.
        router: Predicts match probabilities; see `from_pretrained`.
        policy: Decides; by default `OneShot(threshold)` with a router, else `Cascade()`.
        threshold: Smallest match probability that qualifies an arm, in [0, 1]. Lower is cheaper.
            It and the two below set the threshold of the policy, whichever that had.
        max_drop: Instead, the largest relative quality drop against always-reference, kept with
            `confidence` on queries like the calibration's.
        target_cost: Instead, $ for 1,000 queries, as measured on the calibration queries.
        confidence: Of `max_drop`.
        on_uncertified: Whether a `max_drop` that is not certified raises, or always asks the
            reference.
        reward: Picks the best of n; by default self-consistency, which needs no model.
        cost_model: Estimates costs; by default from prices and rough token counts.
        sampler: Talks to the providers.
        fallback_share: Share of a call's `timeout` that is kept for other models than those asked
            first, between 0 and 1: one that answers within it is waited for.
        breaker: Leaves out models that fail again and again.
        window_budget: $ over a window of time that no call may exceed; may be shared.
        max_reference_share: Of the last routed calls, in [0, 1]; see `policy.ReferenceShare`.
        ledger: Where each call's decision, tokens and cost are kept, or its file.
        label_sampling: Sampling parameters that the router's labels were made with, by model;
            a call that differs is warned of once.
        calibration: Thresholds by promised drop and by cost.

    Raises:
        RouterNotTrained: One-shot routing without a router.
        PoolMismatchError: The router knows other arms than the pool.
        MissingPriceError: Routing needs a price that nobody knows.
        ConfigError: Contradicting options, such as a threshold for a policy that has none; or a
            cost that no threshold is as low as.
        NotCertifiedError: The calibration queries do not certify `max_drop`.

    Examples:
        >>> from bestroute import BestRoute, ModelPool
        >>> engine = BestRoute(ModelPool.from_dict({"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 5},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]}))
        >>> response = engine.complete("What is 17 * 3?")  # doctest: +SKIP
    """

    def __init__(
        self,
        pool: PoolLike,
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
        fallback_share: float = 0.5,
        breaker: Breaker | None = None,
        window_budget: Budget | None = None,
        max_reference_share: ReferenceShare | float | None = None,
        ledger: Ledger | str | Path | None = None,
        label_sampling: Mapping[str, Mapping[str, Any]] | None = None,
        calibration: CalibrationTable | None = None,
    ) -> None:
        self.pool = ModelPool.read(pool)
        self.router = router
        self.reward = reward or SelfConsistency()
        self.cost_model = cost_model or CostModel(self.pool)
        self.sampler = sampler or Sampler()
        if not 0 < fallback_share < 1:
            raise ConfigError(f"fallback_share is {fallback_share}; expected between 0 and 1")
        self.fallback_share = fallback_share
        self.breaker = breaker or Breaker()
        self.window_budget = window_budget
        self.reference_share = ReferenceShare.of(max_reference_share)
        self.ledger = None if ledger is None else _opened(ledger)
        self.label_sampling = dict(label_sampling or {})
        self.calibration = calibration
        self._labels = LabelSampling(self.label_sampling)
        self._planner = Planner(self.pool, router, self.cost_model, self.breaker)
        self._selector = Selector(self.reward)
        target = Target(threshold, max_drop, target_cost, confidence, on_uncertified)
        self.policy = self._resolve(policy, target)

    def policy_at(self, target: Target) -> Policy:
        """The policy of a call: the engine's own, or that at another threshold.

        One that has no threshold gives way to one-shot.

        Raises:
            RouterNotTrained: There is no router for a threshold.
            ConfigError: The threshold is no threshold, or there is no calibration table for
                what is asked.
            NotCertifiedError: The calibration queries do not certify the drop.
        """
        return self._resolve(thresholded(self.policy), target) if target.given else self.policy

    def _resolve(self, policy: Policy | None, target: Target) -> Policy:
        """The policy asked for, once it is sure that it can work."""
        if target.given:
            check_router(self.router, self.pool, self.cost_model)
            policy = target.policy(self.calibration, policy)
        if policy is None:
            if self.router is not None:
                raise ConfigError("a router needs a threshold: give threshold= or policy=")
            policy = Cascade()
        check_policy(policy, self.router, self.pool, self.cost_model)
        return policy

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: PoolLike | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> BestRoute:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: The pool to use. An artifact names models and prices, never where to send a
                key: give a pool of the same names for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            **options: Further arguments of `BestRoute`: a `policy` instead of the artifact's;
                `threshold`, `max_drop` or `target_cost` instead of its threshold.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        parts = artifact.load(
            name_or_path, pool=None if pool is None else ModelPool.read(pool), revision=revision
        )
        if any(options.get(name) is not None for name in KNOBS):
            parts["policy"] = thresholded(parts["policy"])
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
        """Import LiteLLM, run router and reward model once: the first request does not wait."""
        await load_litellm()
        if self.router is not None:
            await in_thread(self.router.predict, ["warm-up"])
        await self._selector.warmup()

    def route(self, messages: Messages, **options: Unpack[Options]) -> Decision:
        """Decide only; no model is called.

        Args:
            messages: OpenAI-format messages, or the text of one user message.
            **options: See `Options`.

        Raises:
            ConfigError: Options contradict each other, or cannot be had.
            RequestError: The request is malformed.
            NoEligibleArmError: No arm can serve it.
        """
        asked = read(messages, options)
        policy = uncounted(self._policy_of(asked))
        return self._planner.plan(asked, policy, self._purse(asked)).decision

    async def aevents(
        self, messages: Messages, *, streaming: bool = False, **options: Unpack[Options]
    ) -> AsyncGenerator[Event | RoutedResponse, None]:
        """All that happens to a request, as it happens; at last the `RoutedResponse`.

        `acomplete` and `astream` are this, less what only an observer wants. The next step is
        taken when the next event is asked for: a caller may wait before a draw.

        Args:
            messages: OpenAI-format messages, or the text of one user message.
            streaming: Whether pieces of the answer come as `Delta`.
            **options: See `Options`.

        Raises:
            ConfigError: Options contradict each other, or cannot be had.
            RequestError: The request is malformed, or no arm can serve it.
            SamplingError: No model gave a response; it carries all causes and calls.
        """
        asked = read(messages, options, streaming=streaming)
        purse = self._purse(asked)
        run = self._run(asked, purse, streaming=streaming)
        if self.ledger is not None:
            run = self.ledger.keep(run, asked.request, purse)
        async with aclosing(run) as events:
            async for event in events:
                yield event

    async def _run(
        self, asked: Asked, purse: Purse, *, streaming: bool
    ) -> AsyncGenerator[Event | RoutedResponse, None]:
        policy = self._policy_of(asked)
        deadline = Deadline(asked.limits.timeout, self.fallback_share)
        planned = await self._planner.aplan(asked, policy, purse, deadline)
        yield Decided(planned.decision)
        loop = Loop(
            asked.request,
            planned,
            pool=self.pool,
            sampler=self.sampler,
            selector=self._selector,
            purse=purse,
            deadline=deadline,
            breaker=self.breaker,
        )
        async with aclosing(loop.run(streaming=streaming)) as events:
            async for event in events:
                count(planned.policy, event)
                if isinstance(event, Drawing):
                    self._labels.check(asked.request, self.pool[event.model])
                yield event

    async def acomplete(self, messages: Messages, **options: Unpack[Options]) -> RoutedResponse:
        """Route, sample, select; arguments and errors are those of `aevents`."""
        async with aclosing(self.aevents(messages, **options)) as events:
            async for event in events:
                if isinstance(event, RoutedResponse):
                    return event
        raise AssertionError("the loop ends with a response or an error")

    async def astream(
        self, messages: Messages, **options: Unpack[Options]
    ) -> AsyncGenerator[Delta | RoutedResponse, None]:
        """Stream: pieces as `Delta`, at last the `RoutedResponse`.

        One sample streams as it comes; of several, the selected one comes in one piece.
        Arguments and errors are those of `aevents`.
        """
        async with aclosing(self.aevents(messages, streaming=True, **options)) as events:
            async for event in events:
                if isinstance(event, Delta | RoutedResponse):
                    yield event

    def complete(self, messages: Messages, **options: Unpack[Options]) -> RoutedResponse:
        """`acomplete` for sync callers; also works inside a running event loop."""
        return run_sync(self.acomplete(messages, **options))

    def stream(
        self, messages: Messages, **options: Unpack[Options]
    ) -> Generator[Delta | RoutedResponse, None, None]:
        """`astream` for sync callers; also works inside a running event loop."""
        return iterate_sync(self.astream(messages, **options))

    def events(
        self, messages: Messages, *, streaming: bool = False, **options: Unpack[Options]
    ) -> Generator[Event | RoutedResponse, None, None]:
        """`aevents` for sync callers; also works inside a running event loop."""
        return iterate_sync(self.aevents(messages, streaming=streaming, **options))

    def _policy_of(self, asked: Asked) -> Policy:
        if asked.limits.model is None:
            return capped(self.policy_at(asked.target), self.reference_share)
        if asked.target.given:
            raise ConfigError(
                f"a call that names a model is not routed: leave out model=, or {', '.join(KNOBS)}"
            )
        return Named(named_arm(self.pool, asked.limits.model))

    def _purse(self, asked: Asked) -> Purse:
        return Purse(max_cost=asked.limits.max_cost, window_budget=self.window_budget)


def _opened(ledger: Ledger | str | Path) -> Ledger:
    from bestroute.ledger import Ledger  # late: it brings SQLite

    return Ledger.of(ledger)
