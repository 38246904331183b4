"""n samples of one model, by LiteLLM or its own client: native n, retries, partial results."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bestroute import catalog
from bestroute._litellm import load_litellm
from bestroute._secrets import silence
from bestroute._tasks import together
from bestroute.asking import Asker, Order
from bestroute.billing import Billing, TokenCounter, list_cost
from bestroute.calls import call_params, split_up
from bestroute.deadline import GRACE, paced
from bestroute.errors import SampleLimitError, SamplingError
from bestroute.events import Delta
from bestroute.failures import describe, is_mistake, may_refuse_n, raise_own
from bestroute.pool import PooledModel
from bestroute.query import Request
from bestroute.reading import read, streamed_logprobs
from bestroute.samples import Call, Sample

_WHOLE_STREAM = 10  # times as long as one call
_ENDS = (Exception, asyncio.CancelledError, GeneratorExit)


@dataclass
class Drawn:
    """What one draw brought.

    Attributes:
        samples: Usable responses, at most a few more than asked for.
        calls: Every call made, failed ones too.
        failures: Exceptions of the calls that failed for good.
    """

    samples: list[Sample] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def hold(self, *parts: Drawn) -> None:
        """What these have brought so far, in their order."""
        self.samples = [sample for part in parts for sample in part.samples]
        self.calls = [call for part in parts for call in part.calls]
        self.failures = [failure for part in parts for failure in part.failures]

    def add(self, other: Drawn) -> None:
        """Take in what another draw of the same model brought."""
        self.samples += other.samples
        self.calls += other.calls
        self.failures += other.failures


class Sampler:
    """Draws samples; never changes the model.

    Args:
        timeout: Seconds for one call, unless the request or the pool says otherwise.
        retries: Further attempts after a rate limit, a timeout, or a server's failure.
        count_tokens: Counts tokens where a provider's own report is not credible.
    """

    def __init__(
        self,
        *,
        timeout: float = 120.0,
        retries: int = 2,
        count_tokens: TokenCounter | None = None,
    ) -> None:
        self.timeout = timeout
        self.retries = retries
        self._billing = Billing(count_tokens)
        self._asker = Asker(timeout, self._billing)
        self._without_native_n: set[str] = set()

    async def draw(
        self,
        request: Request,
        member: PooledModel,
        n: int,
        *,
        start: int = 0,
        top_up: bool = True,
        drawn: Drawn | None = None,
        until: float = math.inf,
        retries: int | None = None,
    ) -> Drawn:
        """Draw n samples of one model.

        Native n where it works, else parallel calls; whatever is missing is topped up once by
        parallel calls. Failures are returned, not raised: what was paid for is kept.

        Args:
            request: What to ask.
            member: Whom to ask.
            n: How many samples.
            start: How many this request drew of the model before; keeps seeds apart.
            top_up: Whether to ask again for what is missing; if not, a refused n is a failure.
            drawn: Empty; what comes is put in here, so that it is kept if this is cancelled.
            until: When no answer is of use any more (monotonic seconds).
            retries: Instead of the sampler's own.

        Raises:
            SampleLimitError: n is below 1, or above 1 at temperature 0.
        """
        params = call_params(request, member)
        params.pop("stream_options", None)
        if n < 1:
            raise SampleLimitError(f"{member.name}: cannot draw {n} samples")
        if n > 1 and params.get("temperature") == 0:
            raise SampleLimitError(f"{member.name}: at temperature 0 all {n} samples are the same")
        drawn = Drawn() if drawn is None else drawn
        tries = self.retries if retries is None else retries
        order = Order(request, member, params, until, tries)
        native = await self._native_n(member) if n > 1 else 1
        await self._wave(order, split_up(n, native), start, drawn)
        refusals = [each for each in drawn.failures if native > 1 and may_refuse_n(each)]
        missing, received = n - len(drawn.samples), len(drawn.samples)
        others = len(drawn.failures) > len(refusals)
        if not top_up or missing <= 0 or others or time.monotonic() >= until:
            return drawn
        drawn.failures.clear()
        await self._wave(order, [1] * missing, start + n, drawn)
        if refusals and len(drawn.samples) > received:  # else the request was refused, not n
            self._without_native_n.add(member.name)
        return drawn

    async def stream(
        self,
        request: Request,
        member: PooledModel,
        drawn: Drawn,
        *,
        until: float = math.inf,
        retries: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """Stream one sample; the finished sample and its calls are added to `drawn`.

        Opening the stream is tried again as in `draw`; a stream that breaks off is not. Each piece
        has the time of a call, and all of them ten times as much.

        Args:
            request: What to ask.
            member: Whom to ask.
            drawn: Takes the sample and the calls.
            until: When no answer is of use any more (monotonic seconds).
            retries: Instead of the sampler's own.

        Raises:
            Exception: LiteLLM's or the client's own; the call is recorded in `drawn` first.
        """
        params = call_params(request, member)
        options = {**params.pop("stream_options", {}), "include_usage": True}
        params |= {"stream": True, "stream_options": options}
        handled = sys.exception()
        tries = self.retries if retries is None else retries
        order = Order(request, member, params, until, tries)
        response, began, bill = await self._asker.ask(order, drawn.calls)
        chunks: list[Any] = []
        with bill:
            bill.cancelled = partial(self._broken_off, order, chunks, began, "cancelled")
            idle = self._asker.seconds(params)
            end = min(until, began + _WHOLE_STREAM * idle)
            async with aclosing(response), aclosing(paced(response, idle + GRACE, end)) as pieces:
                try:
                    async for chunk in pieces:
                        chunks.append(chunk)
                        if delta := _delta(chunk):
                            yield delta
                except _ENDS as error:
                    silence(error, params)
                    left = not isinstance(error, Exception)
                    why = "cancelled" if left else describe(error)
                    call = self._broken_off(order, chunks, began, why)
                    drawn.calls.append(call)
                    bill.close(call)
                    raise_own(error, handled)
                    raise
            call = Call(model=member.name, requested=1, latency=time.monotonic() - began)
            read = await self._read_stream(chunks, order, call)
            bill.close(read.calls[0])
            drawn.add(read)

    async def _read_stream(self, chunks: list[Any], order: Order, call: Call) -> Drawn:
        # A provider that LiteLLM knows, else it complains aloud; what it takes for the price of a
        # client's model must not be that of another.
        member = order.member
        model = member.model if member.client is None else f"openai/{member.model}"
        for chunk in chunks:
            chunk.model = model
        litellm = await load_litellm()
        messages = order.request.messages_for(member.name)
        whole = litellm.stream_chunk_builder(chunks, messages=messages)
        if whole and (logprobs := streamed_logprobs(chunks)):
            whole.choices[0].logprobs = logprobs
        return self._read(whole or litellm.ModelResponse(choices=[]), order, call)

    def _broken_off(self, order: Order, chunks: Sequence[Any], began: float, why: str) -> Call:
        """A stream that ended midway: what was written is billed, by report if there is one."""
        member, prompt = order.member, order.request.prompt
        deltas = [delta for chunk in chunks if (delta := _delta(chunk))]
        written = "".join(delta.reasoning + delta.text for delta in deltas)
        reported = next((each for each in chunks if getattr(each, "usage", None)), None)
        if reported is None:
            usage = self._billing.unreported(member, prompt if chunks else "", written)
        else:
            counts = [self._billing.count(member, written)]
            usage = self._billing.usage(reported, member, prompt, counts)
        return Call(
            model=member.name,
            requested=1,
            usage=usage,
            cost=list_cost(member, usage),
            latency=time.monotonic() - began,
            error=member.masked(why),
        )

    async def _native_n(self, member: PooledModel) -> int:
        """How many choices one call may ask for; 1 where native n does not work."""
        if member.name in self._without_native_n:
            return 1
        await load_litellm()
        return catalog.native_n(member)

    async def _wave(self, order: Order, sizes: Sequence[int], start: int, drawn: Drawn) -> None:
        """Calls of the given sizes, side by side; what came of them is kept in any case."""
        seeds = [start + sum(sizes[:index]) for index in range(len(sizes))]
        before, parts = replace(drawn), [Drawn() for _ in sizes]

        async def part_of(size: int, offset: int, part: Drawn) -> None:
            try:
                await self._call(order.at(offset, size), part)
            finally:
                drawn.hold(before, *parts)

        await together(map(part_of, sizes, seeds, parts))

    async def _call(self, order: Order, drawn: Drawn) -> None:
        """One call for so many samples."""
        try:
            response, began, bill = await self._asker.ask(order, drawn.calls)
        except Exception as error:
            if is_mistake(error):
                raise
            drawn.failures.append(error)
        else:
            with bill:
                latency = time.monotonic() - began
                call = Call(model=order.member.name, requested=order.n, latency=latency)
                read = self._read(response, order, call)
                bill.close(read.calls[0])
                drawn.add(read)

    def _read(self, response: Any, order: Order, call: Call) -> Drawn:
        """Samples, usage and cost out of a response, whatever is in it."""
        member, drawn = order.member, Drawn()
        try:
            samples, usage, cost = read(response, member, order.request.prompt, self._billing)
        except Exception as error:  # LiteLLM lets some nonsense through, and clients may
            drawn.failures.append(error)
            call = self._asker.cancelled(order, 0.0, member.masked(describe(error)))
        else:
            drawn.samples = samples
            update = {"received": len(samples), "usage": usage, "cost": cost}
            if not samples:
                ends = ", ".join(str(each.finish_reason) for each in response.choices)
                update["error"] = f"no usable response ({ends or 'no choices'})"
                drawn.failures.append(SamplingError(f"{member.name}: {update['error']}"))
            call = call.model_copy(update=update)
        drawn.calls.append(call)
        return drawn


def _delta(chunk: Any) -> Delta | None:
    if not chunk.choices:
        return None
    delta = chunk.choices[0].delta
    calls = tuple(call.model_dump(exclude_none=True) for call in delta.tool_calls or ())
    thoughts = getattr(delta, "reasoning_content", None) or ""
    found = Delta(text=delta.content or "", tool_calls=calls, reasoning=thoughts)
    return found if found != Delta() else None
