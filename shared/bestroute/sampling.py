"""n samples of one model through LiteLLM: native n, top-up, retries, partial results."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bestroute import catalog
from bestroute._litellm import load_litellm
from bestroute.errors import BestRouteError, SampleLimitError, SamplingError
from bestroute.pool import PooledModel
from bestroute.query import Request
from bestroute.samples import Call, Sample, Usage

TokenCounter = Callable[[str, str], int]
"""(pool name of the model, text) -> tokens; used where a provider's report is not credible."""

# A report this far below what the texts hold counts one choice only (llama.cpp does so).
_CREDIBLE = 0.75
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
    """

    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()


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
        self._count_tokens = count_tokens
        self._without_native_n: set[str] = set()
        self._counts_one_choice: set[str] = set()

    async def draw(self, request: Request, member: PooledModel, n: int, *, start: int = 0) -> Drawn:
        """Draw n samples of one model.

        Native n where it works, else parallel calls; whatever is missing is topped up once by
        parallel calls. Failures are returned, not raised: what was paid for is kept.

        Args:
            request: What to ask.
            member: Whom to ask.
            n: How many samples.
            start: How many this request drew of the model before; keeps seeds apart.

        Raises:
            SampleLimitError: n is below 1, or above 1 at temperature 0.
        """
        params = call_params(request, member)
        if n < 1:
            raise SampleLimitError(f"{member.name}: cannot draw {n} samples")
        if n > 1 and params.get("temperature") == 0:
            raise SampleLimitError(f"{member.name}: at temperature 0 all {n} samples are the same")
        native = await self._native_n(member) if n > 1 else 1
        drawn = await self._wave(request, member, params, _split(n, native), start)
        if drawn.failures and native > 1 and any(map(_refuses_n, drawn.failures)):
            self._without_native_n.add(member.name)
            drawn.failures = [each for each in drawn.failures if not _refuses_n(each)]
        missing = n - len(drawn.samples)
        if missing > 0 and not drawn.failures:
            start += len(drawn.samples)
            drawn.add(await self._wave(request, member, params, [1] * missing, start))
        return drawn

    async def stream(
        self, request: Request, member: PooledModel, drawn: Drawn
    ) -> AsyncIterator[Delta]:
        """Stream one sample; the finished sample and its call are added to `drawn`.

        Raises:
            Exception: LiteLLM's own, as it came; the call is recorded in `drawn` first.
        """
        litellm = await load_litellm()
        params = {"timeout": self.timeout, **call_params(request, member)}
        options = {**params.pop("stream_options", {}), "include_usage": True}
        began = time.monotonic()
        chunks: list[Any] = []
        try:
            response = await litellm.acompletion(
                model=member.model,
                messages=[dict(message) for message in request.messages],
                stream=True,
                stream_options=options,
                caching=False,
                **params,
            )
            async for chunk in response:
                chunks.append(chunk)
                if delta := _delta(chunk):
                    yield delta
        except Exception as error:
            self._record_stream(litellm, request, member, chunks, began, drawn, error=error)
            raise
        self._record_stream(litellm, request, member, chunks, began, drawn)

    def _record_stream(
        self,
        litellm: Any,
        request: Request,
        member: PooledModel,
        chunks: list[Any],
        began: float,
        drawn: Drawn,
        error: Exception | None = None,
    ) -> None:
        latency = time.monotonic() - began
        call = Call(
            model=member.name, requested=1, latency=latency, error=error and _describe(error)
        )
        if chunks:
            for chunk in chunks:
                chunk.model = member.model  # else LiteLLM looks for the provider, aloud
            whole = litellm.stream_chunk_builder(chunks, messages=list(request.messages))
            read = self._read(whole, request, member, call)
            call = read.calls[0]
            if error is None:
                drawn.samples += read.samples
        drawn.calls.append(call)

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
        parts = await asyncio.gather(
            *(
                self._call(request, member, _seeded(params, offset), size)
                for size, offset in zip(sizes, seeds, strict=True)
            )
        )
        drawn = Drawn()
        for part in parts:
            drawn.add(part)
        return drawn

    async def _call(
        self, request: Request, member: PooledModel, params: dict[str, Any], size: int
    ) -> Drawn:
        """One call, tried again while the failure looks passing."""
        litellm = await load_litellm()
        drawn = Drawn()
        extra = {"n": size} if size > 1 else {}
        for attempt in range(self.retries + 1):
            began = time.monotonic()
            try:
                response = await litellm.acompletion(
                    model=member.model,
                    messages=[dict(message) for message in request.messages],
                    caching=False,
                    max_retries=0,
                    **{"timeout": self.timeout, **params, **extra},
                )
            except Exception as error:
                _raise_own(error)
                latency = time.monotonic() - began
                drawn.calls.append(
                    Call(model=member.name, requested=size, latency=latency, error=_describe(error))
                )
                if attempt == self.retries or not _is_passing(litellm, error):
                    drawn.failures.append(error)
                    break
                await asyncio.sleep(_delay(error, attempt))
            else:
                call = Call(model=member.name, requested=size, latency=time.monotonic() - began)
                drawn.add(self._read(response, request, member, call))
                break
        return drawn

    def _read(self, response: Any, request: Request, member: PooledModel, call: Call) -> Drawn:
        """Samples, usage and cost out of LiteLLM's response."""
        messages = [choice.message.model_dump(exclude_none=True) for choice in response.choices]
        counts = [self._count(member, _written(message)) for message in messages]
        usage = self._usage(response, request, member, counts)
        if len(counts) == 1:
            counts = [usage.completion_tokens]
        samples = [
            Sample(
                model=member.name,
                message=message,
                finish_reason=choice.finish_reason or "stop",
                completion_tokens=count,
            )
            for choice, message, count in zip(response.choices, messages, counts, strict=True)
            if message.get("content") or message.get("tool_calls")
        ]
        cost = _cost(response, member, usage)
        update = {"received": len(samples), "usage": usage, "cost": cost}
        drawn = Drawn(samples=samples, calls=[call.model_copy(update=update)])
        if not samples and call.error is None:
            drawn.failures.append(SamplingError(f"{member.name} returned no usable response"))
        return drawn

    def _usage(
        self, response: Any, request: Request, member: PooledModel, counts: Sequence[int]
    ) -> Usage:
        reported = getattr(response, "usage", None)
        total = sum(counts)
        if reported is None or not reported.prompt_tokens:
            prompt = self._count(member, request.prompt)
            return Usage(prompt_tokens=prompt, completion_tokens=total, estimated=True)
        completion = reported.completion_tokens or 0
        if len(counts) > 1 and completion < _CREDIBLE * total:
            self._counts_one_choice.add(member.name)
        one_choice = len(counts) > 1 and member.name in self._counts_one_choice
        return Usage(
            prompt_tokens=reported.prompt_tokens,
            completion_tokens=max(completion, total) if one_choice else completion,
            cached_tokens=_detail(reported, "prompt_tokens_details", "cached_tokens"),
            reasoning_tokens=_detail(reported, "completion_tokens_details", "reasoning_tokens"),
            estimated=one_choice,
        )

    def _count(self, member: PooledModel, text: str) -> int:
        if self._count_tokens is not None:
            return self._count_tokens(member.name, text)
        return max(1, round(len(text) / 4)) if text else 0


def call_params(request: Request, member: PooledModel) -> dict[str, Any]:
    """LiteLLM parameters of a call: the pool's, overridden by the request's."""
    return {**member.call_params(), **request.params}


def _split(n: int, native: int) -> list[int]:
    """Sizes of the calls that together ask for n samples."""
    whole, rest = divmod(n, native)
    return [native] * whole + ([rest] if rest else [])


def _seeded(params: dict[str, Any], offset: int) -> dict[str, Any]:
    """One seed for all parallel calls would buy the same sample n times."""
    if params.get("seed") is None:
        return params
    return {**params, "seed": params["seed"] + offset}


def _written(message: Mapping[str, Any]) -> str:
    """All that the model wrote: text, reasoning, tool calls."""
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    parts = [message.get("content"), message.get("reasoning_content")]
    parts += [f"{call.get('name')}{call.get('arguments')}" for call in calls]
    return "".join(part for part in parts if isinstance(part, str))


def _delta(chunk: Any) -> Delta | None:
    if not chunk.choices:
        return None
    delta = chunk.choices[0].delta
    calls = tuple(call.model_dump(exclude_none=True) for call in delta.tool_calls or ())
    return Delta(text=delta.content or "", tool_calls=calls) if delta.content or calls else None


def _detail(usage: Any, group: str, name: str) -> int:
    return int(getattr(getattr(usage, group, None), name, None) or 0)


def _cost(response: Any, member: PooledModel, usage: Usage) -> float | None:
    """$ of one call: the pool's price first, then what LiteLLM made of an honest report."""
    if member.price is None and not usage.estimated:
        hidden = getattr(response, "_hidden_params", None) or {}
        if hidden.get("response_cost") is not None:
            return float(hidden["response_cost"])
    price = catalog.price(member)
    return price.cost(usage.prompt_tokens, usage.completion_tokens) if price else None


def _describe(error: BaseException) -> str:
    """Class and first line: messages of providers may quote the whole request."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"


def _refuses_n(error: BaseException) -> bool:
    """Whether a provider would not take the parameter n."""
    name = type(error).__name__
    return name == "UnsupportedParamsError" or getattr(error, "status_code", None) == 400


def _is_passing(litellm: Any, error: BaseException) -> bool:
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and bool(litellm._should_retry(status))


def _delay(error: BaseException, attempt: int) -> float:
    """Seconds to wait: what the provider asks for, else exponential with jitter."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    asked = str(headers.get("retry-after", ""))
    if asked.replace(".", "", 1).isdigit():
        return min(float(asked), 60.0)
    return float(_FIRST_DELAY * 2**attempt * random.uniform(0.5, 1.5))


def _raise_own(error: BaseException) -> None:
    """Our own errors mean a mistake in the set-up; LiteLLM wraps them as a provider's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, BestRouteError):
            raise seen from None
        seen = seen.__cause__ or seen.__context__
