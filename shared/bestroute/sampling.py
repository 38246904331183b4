"""n samples of one model, by LiteLLM or its own client: native n, retries, partial results."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bestroute import catalog
from bestroute._litellm import load_litellm
from bestroute._secrets import silence
from bestroute._tasks import together
from bestroute.billing import Billing, TokenCounter, is_unbilled, list_cost
from bestroute.calls import asker, call_params, copied, failed, seeded, split_up
from bestroute.errors import BestRouteError, BudgetError, SampleLimitError, SamplingError
from bestroute.failures import describe, is_passing, may_refuse_n, raise_own, waiting_time
from bestroute.pool import PooledModel
from bestroute.purse import Bill, current_purse
from bestroute.query import Request
from bestroute.reading import read, streamed_logprobs
from bestroute.samples import Call, Sample

_FIRST_DELAY = 0.5


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

    def add(self, other: Drawn) -> None:
        """Take in what another draw of the same model brought."""
        self.samples += other.samples
        self.calls += other.calls
        self.failures += other.failures


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed response.

    Attributes:
        text: New text.
        tool_calls: New pieces of tool calls, in OpenAI's delta format.
        reasoning: New thoughts.
    """

    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    reasoning: str = ""


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
        self._without_native_n: set[str] = set()

    async def draw(
        self,
        request: Request,
        member: PooledModel,
        n: int,
        *,
        start: int = 0,
        top_up: bool = True,
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

        Raises:
            SampleLimitError: n is below 1, or above 1 at temperature 0.
        """
        params = call_params(request, member)
        params.pop("stream_options", None)
        if n < 1:
            raise SampleLimitError(f"{member.name}: cannot draw {n} samples")
        if n > 1 and params.get("temperature") == 0:
            raise SampleLimitError(f"{member.name}: at temperature 0 all {n} samples are the same")
        native = await self._native_n(member) if n > 1 else 1
        drawn = await self._wave(request, member, params, split_up(n, native), start)
        if not top_up:
            return drawn
        refusals = [each for each in drawn.failures if native > 1 and may_refuse_n(each)]
        drawn.failures = [each for each in drawn.failures if each not in refusals]
        missing = n - len(drawn.samples)
        if missing > 0 and not drawn.failures:
            rest = await self._wave(request, member, params, [1] * missing, start + n)
            if refusals and rest.samples:  # else it was the request that was refused, not n
                self._without_native_n.add(member.name)
            drawn.add(rest)
        return drawn

    async def stream(
        self, request: Request, member: PooledModel, drawn: Drawn
    ) -> AsyncGenerator[Delta, None]:
        """Stream one sample; the finished sample and its calls are added to `drawn`.

        Opening the stream is tried again as in `draw`; a stream that breaks off is not.

        Raises:
            Exception: LiteLLM's or the client's own; the call is recorded in `drawn` first.
        """
        params = call_params(request, member)
        options = {**params.pop("stream_options", {}), "include_usage": True}
        params |= {"stream": True, "stream_options": options}
        handled = sys.exception()
        response, began, bill = await self._ask(request, member, params, drawn)
        chunks: list[Any] = []
        with bill:
            bill.cancelled = partial(
                self._broken_off, request, member, chunks, began, asyncio.CancelledError("left")
            )
            async with aclosing(response):
                try:
                    async for chunk in response:
                        chunks.append(chunk)
                        if delta := _delta(chunk):
                            yield delta
                except Exception as error:
                    silence(error, params)
                    raise_own(error, handled)
                    call = self._broken_off(request, member, chunks, began, error)
                    drawn.calls.append(call)
                    bill.close(call)
                    raise
            call = Call(model=member.name, requested=1, latency=time.monotonic() - began)
            read = await self._read_stream(chunks, request, member, call)
            bill.close(read.calls[0])
            drawn.add(read)

    def cancelled(self, request: Request, member: PooledModel) -> Call:
        """The record of a call cancelled on its way: no report comes, its prompt counts."""
        usage = self._billing.unreported(member, request.prompt, "")
        why = "cancelled: it was not needed any more"
        cost = list_cost(member, usage)
        return Call(model=member.name, requested=1, usage=usage, cost=cost, error=why)

    async def _read_stream(
        self, chunks: list[Any], request: Request, member: PooledModel, call: Call
    ) -> Drawn:
        # A provider that LiteLLM knows, else it complains aloud; what it takes for the price of a
        # client's model must not be that of another.
        model = member.model if member.client is None else f"openai/{member.model}"
        for chunk in chunks:
            chunk.model = model
        litellm = await load_litellm()
        whole = litellm.stream_chunk_builder(chunks, messages=request.messages_for(member.name))
        if whole and (logprobs := streamed_logprobs(chunks)):
            whole.choices[0].logprobs = logprobs
        return self._read(whole or litellm.ModelResponse(choices=[]), request, member, call)

    def _broken_off(
        self,
        request: Request,
        member: PooledModel,
        chunks: Sequence[Any],
        began: float,
        error: BaseException,
    ) -> Call:
        """A stream that failed midway: no report comes, and what was written is billed."""
        deltas = [delta for chunk in chunks if (delta := _delta(chunk))]
        written = "".join(delta.reasoning + delta.text for delta in deltas)
        usage = self._billing.unreported(member, request.prompt if chunks else "", written)
        return Call(
            model=member.name,
            requested=1,
            usage=usage,
            cost=list_cost(member, usage),
            latency=time.monotonic() - began,
            error=member.masked(describe(error)),
        )

    async def _native_n(self, member: PooledModel) -> int:
        """How many choices one call may ask for; 1 where native n does not work."""
        if member.name in self._without_native_n:
            return 1
        await load_litellm()
        return catalog.native_n(member)

    async def _wave(
        self,
        request: Request,
        member: PooledModel,
        params: dict[str, Any],
        sizes: Sequence[int],
        start: int,
    ) -> Drawn:
        """Calls of the given sizes, side by side."""
        seeds = [start + sum(sizes[:index]) for index in range(len(sizes))]
        parts = await together(
            self._call(request, member, seeded(params, offset), size)
            for size, offset in zip(sizes, seeds, strict=True)
        )
        drawn = Drawn()
        for part in parts:
            drawn.add(part)
        return drawn

    async def _call(
        self, request: Request, member: PooledModel, params: dict[str, Any], size: int
    ) -> Drawn:
        """One call for so many samples."""
        drawn = Drawn()
        extra = {"n": size} if size > 1 else {}
        try:
            response, began, bill = await self._ask(request, member, {**params, **extra}, drawn)
        except BestRouteError as error:
            if not isinstance(error, BudgetError):
                raise
            drawn.failures.append(error)
        except Exception as error:
            drawn.failures.append(error)
        else:
            with bill:
                call = Call(model=member.name, requested=size, latency=time.monotonic() - began)
                read = self._read(response, request, member, call)
                bill.close(read.calls[0])
                drawn.add(read)
        return drawn

    async def _ask(
        self, request: Request, member: PooledModel, params: dict[str, Any], drawn: Drawn
    ) -> tuple[Any, float, Bill]:
        """The response, when it was asked for, and its open bill.

        Asked again if the failure looks passing. Every failed attempt is recorded in `drawn`; the
        last one is raised.
        """
        litellm = await load_litellm()
        ask = asker(litellm, member)
        for attempt in itertools.count():
            try:
                return await self._attempt(ask, request, member, params, drawn)
            except Exception as error:
                if attempt >= self.retries or not is_passing(error):
                    raise
                wait = waiting_time(error, _FIRST_DELAY * 2**attempt)
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self,
        ask: Callable[..., Awaitable[Any]],
        request: Request,
        member: PooledModel,
        params: dict[str, Any],
        drawn: Drawn,
    ) -> tuple[Any, float, Bill]:
        """One attempt, paid from the purse of the routed request; see `_ask`."""
        handled, n = sys.exception(), params.get("n", 1)
        given = {"timeout": self.timeout, **copied(params)}
        began = time.monotonic()
        try:
            bill = await current_purse().open(
                request, member, n, cancelled=partial(self.cancelled, request, member)
            )
        except BudgetError as error:
            drawn.calls.append(failed(member, n, began, error))
            raise
        try:
            messages = copied(request.messages_for(member.name))
            response = await ask(**given, messages=messages)
        except Exception as error:
            silence(error, params)
            call = failed(member, n, began, error)
            bill.close(call, unbilled=is_unbilled(error, handled))
            raise_own(error, handled)
            drawn.calls.append(call)
            raise
        except asyncio.CancelledError:
            bill.close(bill.cancelled())
            raise
        return response, began, bill

    def _read(self, response: Any, request: Request, member: PooledModel, call: Call) -> Drawn:
        """Samples, usage and cost out of a response."""
        samples, usage, cost = read(response, member, request.prompt, self._billing)
        update = {"received": len(samples), "usage": usage, "cost": cost}
        drawn = Drawn(samples=samples, calls=[call.model_copy(update=update)])
        if not samples and call.error is None:
            drawn.failures.append(SamplingError(f"{member.name} returned no usable response"))
        return drawn


def _delta(chunk: Any) -> Delta | None:
    if not chunk.choices:
        return None
    delta = chunk.choices[0].delta
    calls = tuple(call.model_dump(exclude_none=True) for call in delta.tool_calls or ())
    thoughts = getattr(delta, "reasoning_content", None) or ""
    found = Delta(text=delta.content or "", tool_calls=calls, reasoning=thoughts)
    return found if found != Delta() else None
