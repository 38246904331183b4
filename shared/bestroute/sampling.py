"""n samples of one model, by LiteLLM or its own client: native n, retries, partial results."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bestroute import catalog
from bestroute._litellm import load_litellm
from bestroute._tasks import together
from bestroute.billing import Billing, TokenCounter, list_cost
from bestroute.errors import BestRouteError, SampleLimitError, SamplingError
from bestroute.failures import describe, is_passing, may_refuse_n, raise_own, waiting_time
from bestroute.pool import PooledModel
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
        drawn = await self._wave(request, member, params, _split(n, native), start)
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
        response, began = await self._ask(request, member, params, drawn)
        chunks: list[Any] = []
        async with aclosing(response):
            try:
                async for chunk in response:
                    chunks.append(chunk)
                    if delta := _delta(chunk):
                        yield delta
            except Exception as error:
                raise_own(error, handled)
                drawn.calls.append(self._broken_off(request, member, chunks, began, error))
                raise
        call = Call(model=member.name, requested=1, latency=time.monotonic() - began)
        drawn.add(await self._read_stream(chunks, request, member, call))

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
        error: Exception,
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
            self._call(request, member, _seeded(params, offset), size)
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
            response, began = await self._ask(request, member, {**params, **extra}, drawn)
        except BestRouteError:
            raise
        except Exception as error:
            drawn.failures.append(error)
        else:
            call = Call(model=member.name, requested=size, latency=time.monotonic() - began)
            drawn.add(self._read(response, request, member, call))
        return drawn

    async def _ask(
        self, request: Request, member: PooledModel, params: dict[str, Any], drawn: Drawn
    ) -> tuple[Any, float]:
        """The response and when it was asked for; asked again if the failure looks passing.

        Every failed attempt is recorded in `drawn`; the last one is raised.
        """
        litellm = await load_litellm()
        ask = _asked(litellm, member)
        handled = sys.exception()
        for attempt in itertools.count():
            began = time.monotonic()
            try:
                response = await ask(
                    **{"timeout": self.timeout, **_copied(params)},
                    messages=_copied(request.messages_for(member.name)),
                )
            except Exception as error:
                raise_own(error, handled)
                drawn.calls.append(
                    Call(
                        model=member.name,
                        requested=params.get("n", 1),
                        latency=time.monotonic() - began,
                        error=member.masked(describe(error)),
                    )
                )
                if attempt >= self.retries or not is_passing(error):
                    raise
                wait = waiting_time(error, _FIRST_DELAY * 2**attempt)
            else:
                return response, began
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _read(self, response: Any, request: Request, member: PooledModel, call: Call) -> Drawn:
        """Samples, usage and cost out of a response."""
        samples, usage, cost = read(response, member, request.prompt, self._billing)
        update = {"received": len(samples), "usage": usage, "cost": cost}
        drawn = Drawn(samples=samples, calls=[call.model_copy(update=update)])
        if not samples and call.error is None:
            drawn.failures.append(SamplingError(f"{member.name} returned no usable response"))
        return drawn


def call_params(request: Request, member: PooledModel) -> dict[str, Any]:
    """LiteLLM parameters of a call: the pool's, overridden by the request's."""
    return {**member.call_params(), **request.params}


def _asked(litellm: Any, member: PooledModel) -> Callable[..., Awaitable[Any]]:
    """What answers for a member: its own client, or LiteLLM."""
    if member.client is not None:
        return member.client.acompletion
    catalog.provider(member)  # a typo in the pool is not a provider's failure
    return partial(litellm.acompletion, model=member.model, max_retries=0, caching=False)


def _split(n: int, native: int) -> list[int]:
    """Sizes of the calls that together ask for n samples."""
    whole, rest = divmod(n, native)
    return [native] * whole + ([rest] if rest else [])


def _seeded(params: dict[str, Any], offset: int) -> dict[str, Any]:
    """One seed for all parallel calls would buy the same sample n times."""
    if params.get("seed") is None:
        return params
    return {**params, "seed": params["seed"] + offset}


def _delta(chunk: Any) -> Delta | None:
    if not chunk.choices:
        return None
    delta = chunk.choices[0].delta
    calls = tuple(call.model_dump(exclude_none=True) for call in delta.tool_calls or ())
    thoughts = getattr(delta, "reasoning_content", None) or ""
    found = Delta(text=delta.content or "", tool_calls=calls, reasoning=thoughts)
    return found if found != Delta() else None


def _copied(value: Any) -> Any:
    """A copy of plain data at any depth: LiteLLM rewrites messages and tools in place."""
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list | tuple) else value
