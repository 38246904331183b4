"""ChatBestRoute: a whole model pool behind LangChain's interface of one chat model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from bestroute import RoutedResponse
from bestroute.defaults import CallDefaults
from bestroute.events import Delta, Drawing
from bestroute.query import Request
from langchain_bestroute._answers import PROVIDER, to_chunk, to_result
from langchain_bestroute._doors import Doors, parent
from langchain_bestroute._errors import in_langchains_words
from langchain_bestroute._messages import to_openai
from langchain_bestroute._profile import most_tokens, profile
from langchain_bestroute._routing import Routing
from langchain_bestroute._serialization import register
from langchain_bestroute._structured import ToolCalling
from langchain_bestroute._tools import tool_params
from langchain_bestroute._tracing import AsyncTrace, Trace
from langchain_bestroute.router import BestRouteRouter

_PER_MESSAGE = 3
"""Tokens that a message takes beside its text, in OpenAI's chat format."""


class ChatBestRoute(Routing, ToolCalling, Doors):
    """Routes each request to a model and a number of samples, and answers with the best sample.

    Keyword arguments of a call (or of `bind`) are those of `bestroute.options.Options`: OpenAI's
    parameters, and the router's (`threshold`, `max_n`, `model` ...); they win over the fields.
    Usage is the sum over all samples; the decision and its cost are in
    `response_metadata["bestroute"]`. Every candidate and the selection are child runs of the
    chain type, without texts, so that nothing is counted or shown twice. Failures are LangChain's
    kinds of errors as well (`ContextOverflowError`, `ModelAuthenticationError` ...).

    Keys belong to the models of the pool. Dumps, cache keys and pickles leave them out; only
    `os.environ/NAME` in the pool, or the provider's own variable, works after loading.

    Arguments, and the options of every call, are those of `Routing`. Fields of its own are:

    Attributes:
        stop: Texts at which an answer ends.
        streaming: Whether `invoke` streams as well.

    Examples:
        >>> from langchain_bestroute import ChatBestRoute
        >>> llm = ChatBestRoute(pool={"models": [
        ...     {"model": "groq/llama-3.1-8b-instant", "max_samples": 3},
        ...     {"model": "openai/gpt-4o", "reference": True},
        ... ]})
        >>> [str(arm) for arm in llm.engine.pool.arms]
        ['groq/llama-3.1-8b-instant:1', 'groq/llama-3.1-8b-instant:2', \
'groq/llama-3.1-8b-instant:3', 'openai/gpt-4o:1']
        >>> message = llm.invoke("What is 17 * 3?")  # doctest: +SKIP
        >>> message.response_metadata["bestroute"]["arm"]  # doctest: +SKIP
        'groq/llama-3.1-8b-instant:3'
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    stop: list[str] | None = None
    streaming: bool = False

    @property
    def router(self) -> BestRouteRouter:
        """The decision alone, of the same source and options."""
        options = {name: getattr(self, name) for name in CallDefaults.model_fields}
        return BestRouteRouter(source=self.source, **options)

    def _resolve_model_profile(self) -> ModelProfile:
        return profile(self.engine.pool)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, to the model of the pool that takes most for it."""
        return most_tokens(self.engine, text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of all text that the messages and tools bring, a few for each message added."""
        params = tool_params(tools) if tools else {}
        request = Request.build(to_openai(messages), params)
        return most_tokens(self.engine, request.prompt) + _PER_MESSAGE * len(messages)

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _serialized(self) -> dict[str, Any]:
        # Not cached: a copy, or an assignment, must not find another one's cached answers.
        return cast(dict[str, Any], dumpd(self))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # Headers and the like are in no dump, but an answer may depend on them.
        return super()._get_llm_string(stop, **kwargs) + self.engine.pool.hidden_digest

    @property
    def _identifying_params(self) -> dict[str, Any]:
        pool = self.engine.pool
        return {
            "model_name": self._model_name,
            "pool": pool.fingerprint,
            "artifact": self.source.artifact,
            "digest": self.source.digest,
            **{name: getattr(self, name) for name in (*CallDefaults.model_fields, "stop")},
            "models": list(self.models or [member.name for member in pool.models]),
        }

    @property
    def _model_name(self) -> str:
        return f"{PROVIDER}:{self.engine.pool.reference.name}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = PROVIDER
        params.setdefault("ls_model_name", self._model_name)
        return params

    def _asked(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        call = {name: value for name, value in kwargs.items() if name != "stream"}
        return self.options_of({**call, "stop": stop or self.stop or None})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with closing(self._items(messages, stop, run_manager, kwargs, streaming=False)) as items:
            return to_result(_last(list(items)), self.engine.pool)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        items = self._aitems(messages, stop, run_manager, kwargs, streaming=False)
        async with aclosing(items):
            return to_result(_last([item async for item in items]), self.engine.pool)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with closing(self._items(messages, stop, run_manager, kwargs, streaming=True)) as items:
            for item in items:
                chunk = to_chunk(item, self.engine.pool)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        items = self._aitems(messages, stop, run_manager, kwargs, streaming=True)
        async with aclosing(items):
            async for item in items:
                chunk = to_chunk(item, self.engine.pool)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _items(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | None,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
    ) -> Generator[Delta | RoutedResponse, None, None]:
        """The answer's pieces, and at last all of it; what else happens is traced."""
        options, trace, permits = self._asked(stop, kwargs), Trace(parent(run_manager)), 1
        events = self.engine.events(
            to_openai(messages, self.engine.pool), streaming=streaming, **options
        )
        with in_langchains_words(), closing(events), trace:
            for event in events:
                if isinstance(event, Drawing) and self.rate_limiter is not None:
                    for _ in range(event.n - permits):
                        self.rate_limiter.acquire(blocking=True)
                    permits = 0
                trace.see(event)
                if isinstance(event, Delta | RoutedResponse):
                    yield event

    async def _aitems(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
    ) -> AsyncGenerator[Delta | RoutedResponse, None]:
        """See `_items`."""
        options, trace, permits = self._asked(stop, kwargs), AsyncTrace(parent(run_manager)), 1
        events = self.engine.aevents(
            to_openai(messages, self.engine.pool), streaming=streaming, **options
        )
        with in_langchains_words():
            async with aclosing(events), trace:
                async for event in events:
                    if isinstance(event, Drawing) and self.rate_limiter is not None:
                        for _ in range(event.n - permits):
                            await self.rate_limiter.aacquire(blocking=True)
                        permits = 0
                    await trace.see(event)
                    if isinstance(event, Delta | RoutedResponse):
                        yield event


def _last(items: list[Delta | RoutedResponse]) -> RoutedResponse:
    response = items[-1]
    assert isinstance(response, RoutedResponse)
    return response


register(ChatBestRoute)
