"""What LangChain knows of a call and does not pass on to a model: configurable values, the run.

`config["configurable"]` reaches no model by itself. `stream`, and `invoke` where a handler wants
tokens, call `_stream` without the run's manager, and the engine's child runs need it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
)
from langchain_core.callbacks.base import BaseCallbackManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import (
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)

from bestroute.target import KNOBS, override


@dataclass(frozen=True)
class Parent:
    """A run to be, and what its children inherit; a run's own manager has the same names."""

    run_id: UUID
    inheritable_handlers: Sequence[BaseCallbackHandler]
    inheritable_tags: Sequence[str]
    inheritable_metadata: dict[str, Any]


ParentLike = Parent | CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun

_parent: ContextVar[ParentLike | None] = ContextVar("parent", default=None)


def parent(run_manager: ParentLike | None) -> ParentLike | None:
    """The run that is under way: the one that LangChain gives, else the one noted here."""
    return run_manager or _parent.get()


CONFIGURABLE = {f"bestroute_{name}": name for name in (*KNOBS, "max_cost", "max_n")}
"""What `config["configurable"]` may say, by which name, without `configurable_fields`.

The values are shared with all that runs beside: a bare `threshold` may be a retriever's.
"""


def configured(config: RunnableConfig | None) -> dict[str, Any]:
    """Options of a call that its config holds, or that of the graph or chain around it."""
    values = ensure_config(config).get("configurable") or {}
    return {
        name: values[given] for given, name in CONFIGURABLE.items() if values.get(given) is not None
    }


class Doors(BaseChatModel):
    """The doors of a chat model, wide enough for configurable values and the run."""

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As in LangChain."""
        return super().invoke(input, config, stop=stop, **override(configured(config), kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """As in LangChain."""
        options = override(configured(config), kwargs)
        return await super().ainvoke(input, config, stop=stop, **options)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """As in LangChain."""
        kwargs = override(configured(config), kwargs)
        config, run = _prepared(config, get_callback_manager_for_config)
        chunks = super().stream(input, config, stop=stop, **kwargs)
        with _noted(run):  # for the first step alone: what follows runs in the caller's context
            first = next(chunks, None)
        if first is not None:
            yield first
            yield from chunks

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As in LangChain."""
        kwargs = override(configured(config), kwargs)
        config, run = _prepared(config, get_async_callback_manager_for_config)
        chunks: Any = super().astream(input, config, stop=stop, **kwargs)
        async with aclosing(chunks):
            with _noted(run):
                first = await anext(chunks, None)
            if first is not None:
                yield first
                async for chunk in chunks:
                    yield chunk

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _noted(run_manager):
            return super()._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _noted(run_manager):
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)


@contextmanager
def _noted(run: ParentLike | None) -> Iterator[None]:
    token = _parent.set(run)
    try:
        yield
    finally:
        _parent.reset(token)


def _prepared(
    config: RunnableConfig | None, manager_for: Callable[[RunnableConfig], BaseCallbackManager]
) -> tuple[RunnableConfig, Parent]:
    """A config whose run has an id already, and whose tracers are made: children share them."""
    config = ensure_config(config)
    manager = manager_for(config)
    run_id = config.get("run_id") or uuid4()
    run = Parent(
        run_id,
        manager.inheritable_handlers,
        manager.inheritable_tags,
        manager.inheritable_metadata,
    )
    return {**config, "callbacks": manager, "run_id": run_id}, run
