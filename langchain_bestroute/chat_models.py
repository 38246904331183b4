"""ChatBestRoute: a whole model pool behind LangChain's interface of one chat model."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field

from bestroute import BestRoute, RoutedResponse
from bestroute.events import Drawing
from bestroute.pool import PoolLike
from bestroute.sampling import Delta
from bestroute.source import Source
from bestroute.target import ASKED, OnUncertified, Target, override
from langchain_bestroute._answers import PROVIDER, to_chunk, to_result
from langchain_bestroute._messages import to_openai
from langchain_bestroute._profile import profile
from langchain_bestroute._serialization import register
from langchain_bestroute._structured import ToolCalling
from langchain_bestroute._tracing import AsyncTrace, Trace

_PARAMS = (
    "temperature",
    "max_tokens",
    "timeout",
    "models",
    "cached_tokens",
    "max_n",
    "streaming_max_n",
    "max_cost",
    "query_turns",
    "query_pattern",
    *ASKED,
)


class ChatBestRoute(ToolCalling, BaseChatModel):
    """Routes each request to a model and a number of samples, and answers with the best sample.

    Keyword arguments of a call (or of `bind`) are those of `bestroute.options.Options`: OpenAI's
    parameters, and the router's (`threshold`, `max_n`, `model` ...); they win over the fields.
    Usage is the sum over all samples; the decision and its cost are in
    `response_metadata["bestroute"]`. Every candidate and the selection are child runs of the
    chain type, without texts, so that nothing is counted or shown twice.

    Keys belong to the models of the pool. Dumps, cache keys and pickles leave them out; only
    `os.environ/NAME` in the pool, or the provider's own variable, works after loading.

    Args:
        pool: The model pool, plain data of one, or a YAML file. Without `artifact` the router is
            the training-free, uncalibrated `Cascade`.
        artifact: Directory or hub id of a saved router; see `from_pretrained`.
        revision: Branch, tag or commit on the hub.
        engine: Instead of all these, an engine built by hand (with a router, policy or reward
            model of your own). Such a model can be neither pickled nor serialised.
        max_retries: Further attempts of a call after a passing failure.

    Attributes:
        threshold: Smallest match probability that qualifies an arm; lower is cheaper.
        max_drop: Instead, the largest relative quality drop against always-reference that
            calibration promises.
        target_cost: Instead, $ for 1,000 queries, as measured in calibration.
        confidence: Of `max_drop`, by default 0.95.
        on_uncertified: Whether a `max_drop` that is not certified raises (the default), or
            always asks the reference.
        models: Names in the pool: requests are routed among these alone.
        cached_tokens: By model, how many tokens of the prompt its provider still holds in its
            prompt cache; `BestRouteMiddleware` keeps count.
        max_n: Largest number of samples of one model.
        streaming_max_n: The same, where the answer is streamed: one sample streams as it comes,
            of several the best comes in one piece.
        max_cost: $ that one request may cost by estimate, escalation included.
        query_turns: How many of the last human turns the router reads, by default one.
        query_pattern: Regular expression that finds the query in them, such as
            `Question: (.*)` where a prompt is stuffed with context.
        temperature: Sampling temperature, instead of the pool's; 0 means one sample.
        max_tokens: Longest answer, instead of the pool's.
        timeout: Seconds for one call to a provider.
        stop: Texts at which an answer ends.
        streaming: Whether `invoke` streams as well.

    Raises:
        ConfigError: The pool cannot be read, there is none, or options contradict each other.
        ArtifactError: The saved router cannot be read, or does not fit the pool.

    Example:
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

    source: Source = Field(frozen=True)
    threshold: float | None = None
    max_drop: float | None = None
    target_cost: float | None = None
    confidence: float | None = None
    on_uncertified: OnUncertified | None = None
    models: tuple[str, ...] | None = None
    cached_tokens: dict[str, int] | None = None
    max_n: int | None = Field(default=None, ge=1)
    streaming_max_n: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, ge=0)
    query_turns: int | None = Field(default=None, ge=1)
    query_pattern: str | None = None
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0)
    stop: list[str] | None = None
    streaming: bool = False

    def __init__(
        self,
        *,
        pool: PoolLike | None = None,
        artifact: str | Path | None = None,
        revision: str | None = None,
        engine: BestRoute | None = None,
        max_retries: int | None = None,
        **fields: Any,
    ) -> None:
        if fields.pop("api_key", None) is not None:
            warnings.warn(
                "api_key is ignored: keys belong to the models of the pool (params.api_key)",
                stacklevel=2,
            )
        source = Source.of(
            fields.pop("source", None),
            engine=engine,
            pool=pool,
            artifact=artifact,
            revision=revision,
            max_retries=max_retries,
        )
        super().__init__(source=source, **fields)
        self.engine.policy_at(Target.of(self))  # a mistake shows here, not at the first call

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: PoolLike | None = None,
        revision: str | None = None,
        threshold: float | None = None,
        **options: Any,
    ) -> ChatBestRoute:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: A pool of the artifact's names, for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            threshold: Instead of the artifact's calibrated one.
            **options: Further fields.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        return cls(
            artifact=name_or_path, pool=pool, revision=revision, threshold=threshold, **options
        )

    @property
    def engine(self) -> BestRoute:
        """The engine behind it; after unpickling, built when first asked for."""
        return self.source.engine

    def _resolve_model_profile(self) -> ModelProfile:
        return profile(self.engine.pool)

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may write it down: it may, keys are left out."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What `load` builds it from, and what a cached answer depends on."""
        return {"source": self.source.plain()}

    @property
    def _serialized(self) -> dict[str, Any]:
        # Not cached: a copy, or an assignment, must not find another one's cached answers.
        return cast(dict[str, Any], dumpd(self))

    @property
    def _identifying_params(self) -> dict[str, Any]:
        pool = self.engine.pool
        return {
            "model_name": self._model_name,
            "models": [member.name for member in pool.models],
            "pool": pool.fingerprint,
            "artifact": self.source.artifact,
            "digest": self.source.digest,
            **{name: getattr(self, name) for name in (*_PARAMS, "stop")},
        }

    @property
    def _model_name(self) -> str:
        return f"{PROVIDER}:{self.engine.pool.reference.name}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = PROVIDER
        params.setdefault("ls_model_name", self._model_name)
        return params

    def _options(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The engine's arguments: the call's own win over the model's."""
        own = {name: getattr(self, name) for name in _PARAMS}
        own["stop"] = stop or self.stop or None
        given = {name: value for name, value in kwargs.items() if name != "stream"}
        options = override(own, given)
        return {name: value for name, value in options.items() if value is not None}

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
        options, trace, permits = self._options(stop, kwargs), Trace(run_manager), 1
        events = self.engine.events(to_openai(messages), streaming=streaming, **options)
        with closing(events), trace:
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
        options, trace, permits = self._options(stop, kwargs), AsyncTrace(run_manager), 1
        events = self.engine.aevents(to_openai(messages), streaming=streaming, **options)
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
