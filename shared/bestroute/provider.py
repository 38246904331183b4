"""One LiteLLM model for a whole router.

`import bestroute.provider` registers the provider `bestroute`; from then on anything that speaks
LiteLLM may ask for `bestroute/ROUTER` (directory or hub id of a saved router) or
`bestroute/pool.yaml` (a pool alone).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM, CustomLLMError
from litellm.types.utils import Choices, Message, ModelResponse, ModelResponseStream

from bestroute import catalog
from bestroute.engine import BestRoute
from bestroute.errors import (
    ArtifactError,
    BestRouteError,
    ConfigError,
    RequestError,
    RouterNotTrained,
    SamplingError,
    UnsetVariableError,
)
from bestroute.events import Decided, Delta, Event
from bestroute.failures import lacks_key
from bestroute.options import Options
from bestroute.pool import ModelPool
from bestroute.response import RoutedResponse

NAME = "bestroute"

_POOLS = (".yaml", ".yml")
_OURS = ("pool", "revision")
"""Say what the engine is made from; all else is an option of the call."""

_MISTAKES = {
    UnsetVariableError: 401,  # of a key
    RequestError: 400,
    ConfigError: 400,
    RouterNotTrained: 400,
    ArtifactError: 404,
}
"""HTTP statuses; the first that fits."""


class BestRouteProvider(CustomLLM):  # type: ignore[misc]
    """Answers LiteLLM's calls with routed ones.

    A call's `threshold`, `max_drop`, `max_n` and so on (see `bestroute.options.Options`) are given
    like any other parameter, or in `extra_body`; `pool` is the pool of a saved router, `revision`
    its revision on the hub. What was decided is in the response's
    `_hidden_params["bestroute"]` and headers `x-bestroute-*`; its cost is that of all samples.
    Engines are built once and kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._engines: dict[tuple[str, str, str], BestRoute] = {}
        self._lock = threading.Lock()

    def use(self, name: str, engine: BestRoute) -> None:
        """Answer `bestroute/NAME` with an engine that was built by hand."""
        self._engines[name, "", ""] = engine
        _describe(name, engine.pool)

    def engine(self, model: str, *, pool: Any = None, revision: str | None = None) -> BestRoute:
        """The engine of a model's name, built if this is its first call.

        From then on LiteLLM, and who asks it, knows what the model can do: frameworks that look
        before they call find it out if the engine is built before them.

        Raises:
            ConfigError: The pool cannot be read, or a pool is given twice.
            ArtifactError: There is no such saved router.
        """
        key = (model, repr(pool) if pool else "", revision or "")
        with self._lock:
            if key not in self._engines:
                self._engines[key] = _build(model, pool, revision)
                _describe(model, self._engines[key].pool)
            return self._engines[key]

    def completion(self, model: str, messages: list[Any], **given: Any) -> ModelResponse:
        """`litellm.completion`."""
        try:
            engine, options = self._asked(model, given)
            return _whole(engine.complete(messages, **options), engine, given["model_response"])
        except BestRouteError as error:
            raise _told(error) from error

    async def acompletion(self, model: str, messages: list[Any], **given: Any) -> ModelResponse:
        """`litellm.acompletion`."""
        try:
            engine, options = await asyncio.to_thread(self._asked, model, given)
            routed = await engine.acomplete(messages, **options)
            return _whole(routed, engine, given["model_response"])
        except BestRouteError as error:
            raise _told(error) from error

    def streaming(self, model: str, messages: list[Any], **given: Any) -> Iterator[Any]:
        """`litellm.completion(stream=True)`."""
        try:
            engine, options = self._asked(model, given)
            stream = _Stream()
            with closing(engine.events(messages, streaming=True, **options)) as events:
                for event in events:
                    if piece := stream.piece(event):
                        yield piece
        except BestRouteError as error:
            raise _told(error) from error

    async def astreaming(self, model: str, messages: list[Any], **given: Any) -> AsyncIterator[Any]:
        """`litellm.acompletion(stream=True)`."""
        try:
            engine, options = await asyncio.to_thread(self._asked, model, given)
            stream = _Stream()
            async with aclosing(engine.aevents(messages, streaming=True, **options)) as events:
                async for event in events:
                    if piece := stream.piece(event):
                        yield piece
        except BestRouteError as error:
            raise _told(error) from error

    def _asked(self, model: str, given: Mapping[str, Any]) -> tuple[BestRoute, Options]:
        """The engine of a call and its options."""
        params = dict(given["optional_params"])
        params |= params.pop("extra_body", None) or {}
        # Frameworks send stop=[] and tools=[] where there is nothing to say; OpenAI refuses both.
        params = {name: value for name, value in params.items() if value != []}
        made_from = {name: params.pop(name) for name in _OURS if name in params}
        for name in ("stream", "stream_options", "max_retries"):
            params.pop(name, None)
        if params.pop("n", 1) not in (None, 1):
            raise ConfigError("n is the router's to choose: leave it out; max_n limits it")
        if isinstance(given.get("timeout"), int | float):
            params["timeout"] = given["timeout"]
        if given.get("headers"):
            params["extra_headers"] = dict(given["headers"])
        return self.engine(model, **made_from), params  # type: ignore[return-value]


def _build(model: str, pool: Any, revision: str | None) -> BestRoute:
    if not model.endswith(_POOLS):
        return BestRoute.from_pretrained(model, pool=pool, revision=revision)
    if pool is not None:
        raise ConfigError(f"{NAME}/{model} is a pool: leave pool= out, or name a saved router")
    return BestRoute(model)


def _describe(name: str, pool: ModelPool) -> None:
    """Tell LiteLLM what the pool can do; not what it costs, which every response tells."""
    limits = {
        "max_input_tokens": [catalog.context_window(member) for member in pool.models],
        "max_output_tokens": [catalog.max_output_tokens(member) for member in pool.models],
    }
    known = {what: [each for each in of if each] for what, of in limits.items()}
    able = {
        what: any(catalog.can(member, need) for member in pool.models)
        for need, what in catalog.SUPPORTS.items()
    }
    facts = {"litellm_provider": NAME, "mode": "chat", **able}
    facts |= {what: max(of) for what, of in known.items() if of}
    litellm.register_model({f"{NAME}/{name}": facts})


def _whole(routed: RoutedResponse, engine: BestRoute, response: ModelResponse) -> ModelResponse:
    winner = routed.winner
    response.choices = [
        Choices(
            finish_reason=winner.finish_reason,
            message=Message(**routed.message),
            **({"logprobs": winner.logprobs} if winner.logprobs else {}),
        )
    ]
    response.model = engine.pool[routed.model].model
    response.usage = litellm.Usage(**_usage(routed))
    response._hidden_params |= {
        "response_cost": routed.cost,
        "additional_headers": headers(routed),
        NAME: routed.summary(),
    }
    return response


def _usage(routed: RoutedResponse) -> dict[str, Any]:
    usage = routed.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **({} if routed.cost is None else {"cost": routed.cost}),
    }


class _Stream:
    """A stream in LiteLLM's pieces: the first tells what was decided, the last all that came."""

    def __init__(self) -> None:
        self._decided: dict[str, Any] = {}

    def piece(self, event: Event | RoutedResponse) -> Any:
        """The piece that an event becomes; `None` where nothing is to be said."""
        if isinstance(event, RoutedResponse):
            return _end(event)
        if isinstance(event, Decided):
            self._decided = {NAME: event.decision.summary()}
        if not isinstance(event, Delta):
            return None
        told, self._decided = self._decided, {}
        # Not in the delta: frameworks add up what is in the deltas of a stream.
        return ModelResponseStream(choices=[{"index": 0, "delta": _delta(event)}], **told)


def _delta(piece: Delta) -> dict[str, Any]:
    told = {
        "role": "assistant",
        "content": piece.text,
        "tool_calls": piece.tool_calls,
        "reasoning_content": piece.reasoning,
    }
    return {name: value for name, value in told.items() if value}


def _end(routed: RoutedResponse) -> dict[str, Any]:
    """In LiteLLM's own form, which may carry usage and cost."""
    return {
        "text": "",
        "tool_use": None,
        "is_finished": True,
        "finish_reason": routed.winner.finish_reason,
        "usage": _usage(routed),
        "index": 0,
        "provider_specific_fields": {NAME: routed.summary()},
    }


def headers(routed: RoutedResponse) -> dict[str, str]:
    """What was decided and what it cost, as HTTP headers."""
    told = {
        "model": routed.model,
        "n": len(routed.samples),
        "arm": routed.decision.arm,
        "policy": routed.decision.policy,
        "match-probability": routed.decision.match_probability,
        "cost": routed.cost,
        "savings": routed.estimated_savings,
    }
    return {f"x-bestroute-{name}": _plain(value) for name, value in told.items() if value != ""}


def _plain(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _told(error: BestRouteError) -> CustomLLMError:
    """In LiteLLM's words: a status says whose mistake it is."""
    status = next((code for kind, code in _MISTAKES.items() if isinstance(error, kind)), 500)
    if isinstance(error, SamplingError):
        causes = map(_status, reversed(error.causes))
        status = next((each for each in causes if isinstance(each, int)), 503)
    return CustomLLMError(status_code=status, message=f"{type(error).__name__}: {error}")


def _status(cause: BaseException) -> Any:
    return 401 if lacks_key(cause) else getattr(cause, "status_code", None)


def register() -> BestRouteProvider:
    """Make LiteLLM know the provider, once a process; the same one each time."""
    for entry in litellm.custom_provider_map:
        if entry["provider"] == NAME and isinstance(entry["custom_handler"], BestRouteProvider):
            return entry["custom_handler"]
    provider = BestRouteProvider()
    litellm.custom_provider_map.append({"provider": NAME, "custom_handler": provider})
    litellm.utils.custom_llm_setup()  # known at once, not at the first call
    return provider


provider = register()
"""The one that LiteLLM asks; `custom_handler: bestroute.provider.provider` in a proxy's config."""
