"""One routed request: ask the policy, draw, look, ask again, until it accepts."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from bestroute import catalog
from bestroute._routed import cached_from, drawn_so_far
from bestroute._walks import END
from bestroute.account import Account
from bestroute.breaker import Breaker
from bestroute.deadline import Deadline
from bestroute.errors import SamplingError
from bestroute.events import Delta, Drawing, Drew, Event, Selected
from bestroute.failures import is_mistake
from bestroute.fallback import Fallback
from bestroute.flights import Flights
from bestroute.live import LATE, Live, whole
from bestroute.plan import Plan
from bestroute.policy.base import Accept, Draw, next_move
from bestroute.pool import ModelPool
from bestroute.purse import Purse, spending
from bestroute.query import Request
from bestroute.response import RoutedResponse
from bestroute.samples import Sample
from bestroute.sampling import Drawn, Sampler
from bestroute.selection import Selector


class Loop:
    """The loop of one request; what the engine and a replay of recorded samples have in common.

    Args:
        request: The request.
        plan: The policy, and its first move: asked again, one that tosses a coin would say
            something else than the decision.
        pool, sampler, selector: The parts that do the work.
        purse: What all of it is paid from.
        deadline: When it must be over.
        breaker: Knows which models rest.
    """

    def __init__(
        self,
        request: Request,
        plan: Plan,
        *,
        pool: ModelPool,
        sampler: Sampler,
        selector: Selector,
        purse: Purse | None = None,
        deadline: Deadline | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.request = request
        self.state = plan.state
        self._first = plan.first
        self.account = Account(pool, plan.decision)
        self._pool = pool
        self._policy = plan.policy
        self._sampler = sampler
        self._selector = selector
        self._purse = purse or Purse()
        self._deadline = deadline or Deadline()
        self._fallback = Fallback(
            plan.state,
            self.account,
            pool=pool,
            deadline=self._deadline,
            breaker=breaker or Breaker(),
            resting=plan.resting,
        )
        self._recorded: dict[str, int] = {}
        self._winner: Sample | None = None
        self._flights = Flights(self._deadline, plan.state.reference.model)

    async def run(self, *, streaming: bool) -> AsyncGenerator[Event | RoutedResponse, None]:
        """What happens, pieces of the answer too (only if `streaming`), at last the response.

        The text of a single sample that is sure to be accepted streams as it comes; otherwise all
        samples are drawn, one is selected, and it comes in one piece: losers never show.

        Raises:
            SamplingError: No model gave a response; it carries all causes and calls.
        """
        move: Sequence[Draw] | Accept = self._first
        try:
            while self._winner is None:
                async with aclosing(self._step(move, streaming=streaming)) as events:
                    async for event in events:
                        yield event
                if self._winner is None:
                    move = self._next()
            for flight in await self._flights.recall():
                self.account.degraded.append(f"{flight.draw.model} was asked ahead in vain")
                if not flight.is_vain:
                    self._fallback.learn(flight.draw.model, flight.drawn)
                yield self.account.take(flight.drawing, flight.drawn)
            yield self.account.response(self._winner)
        except SamplingError as error:
            for flight in await self._flights.recall():
                self.account.take(flight.drawing, flight.drawn)
            error.calls = tuple(self.account.calls)
            raise
        finally:
            await self._flights.recall("cancelled: the caller left")

    def _next(self) -> Sequence[Draw] | Accept:
        self.state.elapsed = self.account.elapsed
        move = self._fallback.move(self._flights)
        return self._asked() if move is None else move

    def _asked(self) -> Sequence[Draw] | Accept:
        """What the policy says; where it raises, what was paid for is still an answer."""
        try:
            move = next_move(self._policy, self.state)
            if isinstance(move, Accept):
                self._note_what_was_too_dear()
            return move
        except Exception as error:
            if not self.account.samples:
                raise
            return self.account.undecided(self._policy.name, error)

    def _note_what_was_too_dear(self) -> None:
        """The policy stops: would it, with more money?"""
        state = self.state
        if state.unaffordable:
            arms = {*state.arms, *state.unaffordable}
            rich = replace(state, arms=tuple(arm for arm in self._pool.arms if arm in arms))
            wanted = next_move(self._policy, rich)
            if not isinstance(wanted, Accept):
                self.account.too_dear(wanted[0], state)

    def _step(
        self, move: Sequence[Draw] | Accept, *, streaming: bool
    ) -> AsyncGenerator[Event, None]:
        if isinstance(move, Accept):
            return self._accept(move, streaming=streaming)
        if streaming and len(move) == 1 and self._may_stream(move[0]):
            return self._stream(move[0])
        return self._draw(move)

    def _may_stream(self, draw: Draw) -> bool:
        return draw.n == 1 and draw.final and draw.model not in self._flights

    async def _accept(self, move: Accept, *, streaming: bool) -> AsyncGenerator[Event, None]:
        """Select the winner of the accepted samples; if none is valid, their models failed."""
        candidates = [
            sample
            for model, drawn in self.state.samples.items()
            for sample in drawn
            if move.model in (None, model)
        ]
        if candidates:
            self.account.accept(move, candidates)
            selected = await self._look_at(candidates)
            yield selected
            if selected.winner is None:
                self._reject(candidates)
                return
            self._winner = selected.samples[selected.winner]
        elif self._fallback.readmit():
            return
        else:
            self._winner = self.account.last_resort(late=self._deadline.is_over)
        if streaming:
            yield whole(self._winner)

    async def _look_at(self, candidates: Sequence[Sample]) -> Selected:
        with spending(self._purse):
            selection = await self._selector.select(
                self.request.query, candidates, self.request.demands, until=self._deadline.end
            )
        self.account.keep(candidates, selection)
        for index, why in selection.invalid.items():
            model = candidates[index].model
            self.account.degraded.append(f"sample {index} of {model} is invalid: {why}")
        return Selected(selection.samples, selection.winner, selection.invalid, selection.calls)

    def _reject(self, candidates: Sequence[Sample]) -> None:
        """No sample is valid: to the policy, these models brought nothing."""
        for model in {sample.model for sample in candidates}:
            self.state.samples.pop(model, None)
            self.state.evidence.pop(model, None)
            self.state.failed.add(model)

    async def _draw(self, draws: Sequence[Draw]) -> AsyncGenerator[Event, None]:
        """Draw side by side, and show the policy what came; what is drawn ahead goes on."""
        fresh = [draw for draw in draws if draw.model not in self._flights]
        begun = [self.account.begin(draw) for draw in fresh]
        for event in begun:
            yield event
        self.state.waves += 1
        for draw, event in zip(fresh, begun, strict=True):
            drawn = Drawn()
            self._flights.start(draw, event, drawn, self._one(draw, drawn))
        if self._fallback.begun:
            landed = await self._flights.land_any()
        else:
            waited = [draw for draw in draws if not draw.ahead]
            landed = await self._flights.land(waited, in_hand=self.state.has_samples)
        for flight in landed:
            yield self._take(flight.draw, flight.drawn, flight.drawing, vain=flight.is_vain)
        if getattr(self._policy, "looks", True):
            for flight in landed:
                await self._look_at_wave(flight.draw.model)

    async def _look_at_wave(self, model: str) -> None:
        """Gather the evidence of a model's samples, scores too where the policy reads them."""
        state, request = self.state, self.request
        seen = state.samples.get(model)
        if not seen:
            return
        if getattr(self._policy, "reads_scores", False) and not self._selector.set_dependent:
            with spending(self._purse):
                selection = await self._selector.select(
                    request.query,
                    seen,
                    request.demands,
                    always_score=True,
                    until=self._deadline.next,
                )
            self.account.keep(seen, selection)
            seen = state.samples[model] = list(selection.samples)
            state.pay(self.account.spent, self._purse.left)
        alike = getattr(self._policy, "reads_similarity", False)
        state.evidence[model] = await self._selector.evidence(seen, request.demands, alike=alike)
        self.account.look(model, state)

    async def _one(self, draw: Draw, drawn: Drawn) -> None:
        """Draw, in a task of its own; what comes is put into `drawn`."""
        if not self._fallback.admits(draw.model, drawn):
            return
        self._enter(draw)
        start = sum(call.requested for call in self.account.calls if call.model == draw.model)
        with spending(self._purse):
            await self._sampler.draw(
                self.request,
                self._pool[draw.model],
                draw.n,
                start=start,
                drawn=drawn,
                until=self._deadline.end,
                retries=self._fallback.retries(draw.model),
            )

    def _enter(self, draw: Draw) -> None:
        """Tell the context of a task which routed request it serves."""
        drawn_so_far.set(self._recorded)
        member = self._pool[draw.model]
        again = draw.model in self.state.samples
        cached_from.set(catalog.cached_from(member) if again else math.inf)

    async def _stream(self, draw: Draw) -> AsyncGenerator[Event, None]:
        """Stream the text of one sample; what goes wrong before it begins is a failed draw.

        Tool calls come whole, once they are known to be valid; until then thoughts are kept
        back as well, where tools are offered.
        """
        drawing = self.account.begin(draw)
        yield drawing
        brought, begun = Drawn(), False
        live = Live(self._pieces(draw, brought))
        async with aclosing(self._shown(live, draw, brought)) as pieces:
            async for piece in pieces:
                begun = True
                yield piece
        if live.goes_on:
            self._flights.start(draw, drawing, brought, live.rest(), late=True)
            return
        yield self._take(draw, brought, drawing)
        if begun and brought.failures:
            over = self._deadline.is_over
            how = "was streaming when the time was over" if over else "broke off while streaming"
            raise self.account.error(f"{draw.model} {how}", late=over) from brought.failures[-1]
        if brought.samples:
            for event in await self._after_stream(brought.samples, begun=begun):
                yield event

    async def _shown(self, live: Live, draw: Draw, brought: Drawn) -> AsyncGenerator[Delta, None]:
        """Pieces for as long as they are waited for."""
        begun = False
        try:
            while (piece := await live.next(self._patience(draw, begun=begun))) is not END:
                if piece is LATE:
                    live.goes_on = not self._deadline.is_over
                    if not live.goes_on:
                        late = TimeoutError(f"{draw.model} did not answer in time")
                        brought.failures.append(late)
                    return
                begun = True
                yield piece
        finally:
            if not live.goes_on:
                await live.close()

    def _patience(self, draw: Draw, *, begun: bool) -> float:
        """Until when the next piece is waited for (monotonic seconds), before others are asked."""
        stays = begun or self.state.has_samples or not self._fallback.has_others(draw.model)
        return self._deadline.end if stays else self._deadline.next

    async def _after_stream(self, samples: Sequence[Sample], *, begun: bool) -> list[Event]:
        """Take what was streamed, for better or worse if the caller has seen some of it."""
        selected = await self._look_at(samples)
        if selected.winner is None and not begun:
            self._reject(samples)
            return [selected]
        self._winner = selected.samples[-1]
        rest = replace(whole(self._winner), text="")
        if begun:
            rest = replace(rest, reasoning="")
        return [selected, rest] if rest != Delta() else [selected]

    async def _pieces(self, draw: Draw, brought: Drawn) -> AsyncGenerator[Delta, None]:
        """Text and thoughts that are streamed, in a task of its own; a failure ends them."""
        if not self._fallback.admits(draw.model, brought):
            return
        self._enter(draw)
        thoughts = ""
        stream = self._sampler.stream(
            self.request,
            self._pool[draw.model],
            brought,
            until=self._deadline.end,
            retries=self._fallback.retries(draw.model),
        )
        try:
            with spending(self._purse):
                async with aclosing(stream) as pieces:
                    async for piece in pieces:
                        thoughts += piece.reasoning
                        if thoughts and (piece.text or not self.request.params.get("tools")):
                            yield Delta(reasoning=thoughts)
                            thoughts = ""
                        if piece.text:
                            yield Delta(text=piece.text)
        except Exception as error:
            if is_mistake(error):
                raise
            brought.failures.append(error)

    def _take(self, draw: Draw, brought: Drawn, drawing: Drawing, *, vain: bool = False) -> Drew:
        """Show the policy what a draw brought; one in vain was ended before it could."""
        drew = self.account.take(drawing, brought)
        self.state.pay(self.account.spent, self._purse.left)
        if brought.samples:
            self.state.samples.setdefault(draw.model, []).extend(brought.samples)
        elif not vain:
            self.state.failed.add(draw.model)
        if not vain:
            if len(brought.samples) < draw.n:
                self.account.miss(drawing, brought)
            self._fallback.learn(draw.model, brought)
        return drew
