"""One routed request: ask the policy, draw, look, ask again, until it accepts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from bestroute._routed import asked_before, drawn_so_far
from bestroute._tasks import together
from bestroute.account import Account
from bestroute.errors import BestRouteError, BudgetError
from bestroute.events import Drawing, Drew, Event, Selected
from bestroute.policy.base import Accept, Decision, Draw, Policy, State
from bestroute.pool import ModelPool
from bestroute.purse import Purse, spending
from bestroute.query import Request
from bestroute.response import RoutedResponse
from bestroute.samples import Sample
from bestroute.sampling import Delta, Drawn, Sampler
from bestroute.selection import Selector, evidence_of


class Loop:
    """The loop of one request; what the engine and a replay of recorded samples have in common.

    Args:
        request: The request.
        state: The policy's view of it before the first draw.
        first: The policy's first move: asked again, a policy that tosses a coin would say
            something else than the decision.
        decision: What the policy decided from the query alone.
        pool, policy, sampler, selector: The parts that do the work.
        purse: What all of it is paid from.
    """

    def __init__(
        self,
        request: Request,
        state: State,
        first: Sequence[Draw],
        decision: Decision,
        *,
        pool: ModelPool,
        policy: Policy,
        sampler: Sampler,
        selector: Selector,
        purse: Purse | None = None,
    ) -> None:
        self.request = request
        self.state = state
        self._first = first
        self.account = Account(pool, decision)
        self._pool = pool
        self._policy = policy
        self._sampler = sampler
        self._selector = selector
        self._purse = purse or Purse()
        self._recorded: dict[str, int] = {}
        self._winner: Sample | None = None
        self._ahead: dict[str, tuple[Drawing, asyncio.Task[Drawn]]] = {}

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
                    self.state.elapsed = self.account.elapsed
                    move = self._policy.next(self.state)
                    if isinstance(move, Accept):
                        self._note_what_was_too_dear()
            for abandoned in self._abandon():
                yield abandoned
            yield self.account.response(self._winner)
        finally:
            for _, task in self._ahead.values():
                task.cancel()

    def _note_what_was_too_dear(self) -> None:
        """The policy stops: would it, with more money?"""
        state = self.state
        if state.unaffordable:
            arms = {*state.arms, *state.unaffordable}
            rich = replace(state, arms=tuple(arm for arm in self._pool.arms if arm in arms))
            wanted = self._policy.next(rich)
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
        return draw.n == 1 and draw.final and draw.model not in self._ahead

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
        else:
            self._winner = self.account.last_resort()
        if streaming:
            yield _whole(self._winner)

    async def _look_at(self, candidates: Sequence[Sample]) -> Selected:
        query, params = self.request.query, self.request.demands
        with spending(self._purse):
            selection = await self._selector.select(query, candidates, params=params)
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
        fresh = [draw for draw in draws if draw.model not in self._ahead]
        begun = [self.account.begin(draw) for draw in fresh]
        for event in begun:
            yield event
        self.state.waves += 1
        waited = [
            (draw, *self._ahead.pop(draw.model))
            for draw in draws
            if draw.model in self._ahead and not draw.ahead
        ]
        for draw, event in zip(fresh, begun, strict=True):
            task = asyncio.ensure_future(self._one(draw))
            if draw.ahead:
                self._ahead[draw.model] = event, task
            else:
                waited.append((draw, event, task))
        drawn = await together(task for _, _, task in waited)
        for (draw, event, _), brought in zip(waited, drawn, strict=True):
            yield self._take(draw, brought, event)
        if getattr(self._policy, "looks", True):
            for draw, _, _ in waited:
                await self._look_at_wave(draw.model)

    def _abandon(self) -> Iterator[Drew]:
        """Cancel what was drawn ahead in vain; the prompt at least is paid for."""
        while self._ahead:
            model, (drawing, task) = self._ahead.popitem()
            if task.done() and not task.cancelled() and task.exception() is None:
                brought = task.result()
            else:
                task.cancel()
                brought = Drawn(calls=[self._sampler.cancelled(self.request, self._pool[model])])
            self.account.degraded.append(f"{model} was asked ahead in vain")
            yield self.account.take(drawing, brought)

    async def _look_at_wave(self, model: str) -> None:
        """Gather the evidence of a model's samples, scores too where the policy reads them."""
        state, request = self.state, self.request
        seen = state.samples.get(model)
        if not seen:
            return
        if getattr(self._policy, "reads_scores", False) and not self._selector.set_dependent:
            with spending(self._purse):
                selection = await self._selector.select(
                    request.query, seen, request.demands, always_score=True
                )
            self.account.keep(seen, selection)
            seen = state.samples[model] = list(selection.samples)
            state.pay(self.account.spent, self._purse.left)
        alike = getattr(self._policy, "reads_similarity", False)
        state.evidence[model] = evidence_of(seen, request.demands, alike=alike)
        self.account.look(model, state)

    async def _one(self, draw: Draw) -> Drawn:
        drawn_so_far.set(self._recorded)  # in this task's own context
        asked_before.set(draw.model in self.state.samples)
        start = sum(call.requested for call in self.account.calls if call.model == draw.model)
        member = self._pool[draw.model]
        with spending(self._purse):
            return await self._sampler.draw(self.request, member, draw.n, start=start)

    async def _stream(self, draw: Draw) -> AsyncGenerator[Event, None]:
        """Stream the text of one sample; what goes wrong before it begins is a failed draw.

        Tool calls come whole, once they are known to be valid; until then thoughts are kept
        back as well, where tools are offered.
        """
        drawing = self.account.begin(draw)
        yield drawing
        brought = Drawn()
        begun = False
        try:
            async with aclosing(self._pieces(draw, brought)) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
        except Exception as error:
            if isinstance(error, BestRouteError) and not isinstance(error, BudgetError):
                raise
            brought.failures.append(error)
            if begun:
                self._take(draw, brought, drawing)
                raise self.account.error(
                    f"{draw.model} broke off while it was streaming"
                ) from error
        yield self._take(draw, brought, drawing)
        if brought.samples:
            for event in await self._after_stream(brought.samples, begun=begun):
                yield event

    async def _after_stream(self, samples: Sequence[Sample], *, begun: bool) -> list[Event]:
        """Take what was streamed, for better or worse if the caller has seen some of it."""
        selected = await self._look_at(samples)
        if selected.winner is None and not begun:
            self._reject(samples)
            return [selected]
        self._winner = selected.samples[-1]
        rest = replace(_whole(self._winner), text="")
        if begun:
            rest = replace(rest, reasoning="")
        return [selected, rest] if rest != Delta() else [selected]

    async def _pieces(self, draw: Draw, brought: Drawn) -> AsyncGenerator[Delta, None]:
        """Text and thoughts that the sampler streams; each step knows its routed request."""
        member, thoughts = self._pool[draw.model], ""
        async with aclosing(self._sampler.stream(self.request, member, brought)) as pieces:
            while True:
                token = drawn_so_far.set(self._recorded)
                try:
                    with spending(self._purse):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                finally:
                    drawn_so_far.reset(token)
                thoughts += piece.reasoning
                if thoughts and (piece.text or not self.request.params.get("tools")):
                    yield Delta(reasoning=thoughts)
                    thoughts = ""
                if piece.text:
                    yield Delta(text=piece.text)

    def _take(self, draw: Draw, brought: Drawn, drawing: Drawing) -> Drew:
        """Show the policy what a draw brought."""
        drew = self.account.take(drawing, brought)
        self.state.pay(self.account.spent, self._purse.left)
        if len(brought.samples) < draw.n:
            self.account.miss(drawing, brought)
        if brought.samples:
            self.state.samples.setdefault(draw.model, []).extend(brought.samples)
        else:
            self.state.failed.add(draw.model)
        return drew


def _whole(winner: Sample) -> Delta:
    calls = [{"index": index, **call} for index, call in enumerate(winner.tool_calls)]
    thoughts = winner.message.get("reasoning_content") or ""
    return Delta(text=winner.text, tool_calls=tuple(calls), reasoning=thoughts)
