"""The account of one routed request: what was drawn, paid and met on the way."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

from bestroute import catalog
from bestroute.errors import (
    BudgetError,
    DeadlineError,
    PromptTooLongError,
    RefusedRequestError,
    SamplingError,
)
from bestroute.events import Drawing, Drew
from bestroute.failures import Failure
from bestroute.policy.base import Accept, Decision, Draw, State
from bestroute.policy.stand_in import StandIn
from bestroute.pool import Arm, ModelPool
from bestroute.response import RoutedResponse
from bestroute.samples import Call, Sample, causes, total_cost
from bestroute.sampling import Drawn
from bestroute.selection import Selection
from bestroute.trace import Step, plain_evidence

_log = logging.getLogger(__name__)

_CUT_SHORT = {
    "length": "ended at its limit of tokens",
    "content_filter": "was cut by a content filter",
}


class Account:
    """Keeps everything, whatever becomes of it.

    Args:
        pool: The model pool.
        decision: What the policy decided from the query alone.

    Attributes:
        samples: All samples in the order in which they came.
        calls: Every call made, failed ones and a judge's too.
        failures: Exceptions of the calls that failed for good.
        degraded: What did not go as decided, in words.
    """

    def __init__(self, pool: ModelPool, decision: Decision) -> None:
        self._pool = pool
        self._decision = decision
        self._trace: list[Step] = []
        self._places: list[int] = []
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.calls: list[Call] = []
        self.failures: list[Exception] = []
        stands_in = decision.policy == StandIn.name
        self.degraded: list[str] = [decision.reason] if stands_in else []

    @property
    def elapsed(self) -> float:
        """Seconds since the request was routed."""
        return time.monotonic() - self._began

    @property
    def spent(self) -> float:
        """$ paid so far, as far as prices are known."""
        return total_cost(self.calls) or 0.0

    def begin(self, draw: Draw) -> Drawing:
        """A draw is about to be asked for."""
        self._places.append(len(self._trace))
        self._trace.append(Step.of(draw, began=self.elapsed))
        return Drawing(len(self._places) - 1, draw.model, draw.n, draw.reason)

    def take(self, drawing: Drawing, brought: Drawn) -> Drew:
        """A draw has come to its end."""
        samples, calls = tuple(brought.samples), tuple(brought.calls)
        self.samples += samples
        self.calls += calls
        self.failures += brought.failures
        place = self._places[drawing.index]
        came = {"received": len(samples), "cost": total_cost(calls), "ended": self.elapsed}
        self._trace[place] = self._trace[place].model_copy(update=came)
        return Drew(drawing.index, drawing.model, drawing.n, samples, calls)

    def miss(self, drawing: Drawing, brought: Drawn) -> None:
        """Fewer samples came than were asked for."""
        came = f"{len(brought.samples)} of {drawing.n} samples of {drawing.model} came"
        why = causes(brought.calls) or "; ".join(map(str, brought.failures))
        self.degraded.append(f"{came} ({why})" if why else came)
        _log.warning("%s", self.degraded[-1])

    def too_dear(self, wanted: Draw, state: State) -> None:
        """The policy would have drawn this as well, had there been the money."""
        arm = Arm(wanted.model, wanted.n)
        most = state.most.get(arm, math.inf)
        cost = f", which may cost ${most:.3g}" if most < math.inf else ""
        self.degraded.append(f"the ${state.left:.3g} left do not pay for {arm}{cost}")
        _log.warning("%s", self.degraded[-1])

    def undecided(self, policy: str, error: Exception) -> Accept:
        """The policy failed: what came so far is accepted."""
        why = f"the policy {policy!r} failed ({type(error).__name__}: {error}): what came is taken"
        if why not in self.degraded:
            self.degraded.append(why)
            _log.warning("%s", why, exc_info=error)
        return Accept(reason=why)

    def look(self, model: str, state: State) -> None:
        """Note what the samples of a model show, with its latest draw."""
        for place in reversed(self._places):
            if self._trace[place].model == model:
                seen = {"seen": plain_evidence(state.evidence[model])}
                self._trace[place] = self._trace[place].model_copy(update=seen)
                return

    def accept(self, move: Accept, candidates: Sequence[Sample]) -> None:
        """The policy stops with these samples."""
        now = self.elapsed
        self._trace.append(
            Step(
                move="accept",
                model=move.model,
                n=len(candidates),
                reason=move.reason,
                match_probabilities=move.match_probabilities,
                began=now,
                ended=now,
            )
        )

    def keep(self, candidates: Sequence[Sample], selection: Selection) -> None:
        """Keep the scores, and what the reward model cost."""
        scored = {id(old): new for old, new in zip(candidates, selection.samples, strict=True)}
        self.samples = [scored.get(id(sample), sample) for sample in self.samples]
        self.calls += selection.calls
        if selection.degraded and selection.degraded not in self.degraded:
            self.degraded.append(selection.degraded)

    def last_resort(self, *, late: bool = False) -> Sample:
        """All valid ways are exhausted: an invalid sample that was paid for.

        Args:
            late: Whether it was the time that ended.

        Raises:
            SamplingError: There is none.
            BudgetError: There is none, because nothing could be paid for.
        """
        if not self.samples:
            refused = [each for each in self.failures if isinstance(each, BudgetError)]
            if refused and len(refused) == len(self.calls):
                raise refused[-1]
            in_time = " in time" if late else ""
            raise self.error(f"no model gave a response{in_time}", late=late)
        reference = self._pool.reference.name
        of_reference = [sample for sample in self.samples if sample.model == reference]
        self.degraded.append("no valid sample; the last one of the dearest model asked is given")
        return (of_reference or self.samples)[-1]

    def error(self, what: str, *, late: bool = False) -> SamplingError:
        """What went wrong, with all causes and calls.

        Args:
            what: In words.
            late: Whether it was the time that ended.
        """
        kinds = {Failure.of(each) for each in self.failures}
        kind = SamplingError
        if late:
            kind = DeadlineError
        elif Failure.REFUSED in kinds:
            kind = RefusedRequestError
        elif kinds == {Failure.TOO_LONG}:
            kind = PromptTooLongError
        why = causes(self.calls) or "; ".join(map(str, self.failures))
        return kind(f"{what} ({why})", causes=self.failures, calls=self.calls)

    def response(self, winner: Sample) -> RoutedResponse:
        """The end: the winner, and everything that led to it."""
        if how := _CUT_SHORT.get(winner.finish_reason):
            self.degraded.append(f"the answer of {winner.model} {how}")
        return RoutedResponse(
            winner=winner,
            samples=tuple(self.samples),
            decision=self._decision,
            trace=tuple(self._trace),
            calls=tuple(self.calls),
            estimated_reference_cost=self._reference_cost(winner),
            degraded=tuple(self.degraded),
        )

    def _reference_cost(self, winner: Sample) -> float | None:
        """$ of asking the reference once: what it cost, or would for an answer of this length."""
        reference = self._pool.reference
        for sample in self.samples:
            if sample.model == reference.name:
                return sample.cost
        price = catalog.price(reference)
        prompts = [call.usage.prompt_tokens for call in self.calls if call.received]
        if price is None or not prompts:
            return None
        return price.cost(prompts[0], winner.completion_tokens)
