"""Asking a chat model so that nothing which listens to the caller hears of it.

A candidate is no answer yet: counted, traced or shown as a model's run of its own it would be
there twice, and losers would be seen. Handlers of the object's own constructor are its owner's
wish and do hear.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config

from bestroute._sync import in_call_thread, in_sync_door

Model = Runnable[Any, Any]

_END = object()


async def quietly(
    model: Model, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], *, stream: bool
) -> AsyncGenerator[BaseMessage, None]:
    """Pieces of the model's answer, or without `stream` all of it at once.

    A sync caller's model is asked by its sync methods, in a thread: the async client of a chat
    model belongs to one event loop, the user's, and fails in another.

    Args:
        model: A chat model, or one with tools bound.
        messages: What to ask.
        kwargs: Arguments of the call.
        stream: Whether pieces are wanted.
    """
    walk = (_SyncWalk if in_sync_door() else _AsyncWalk)(model, messages, kwargs, stream)
    try:
        while (item := await walk.step()) is not _END:
            yield item
    except GeneratorExit:
        await walk.close()
        raise


class _SyncWalk:
    """Through what the sync methods bring, each step in a thread."""

    def __init__(self, *asked: Any) -> None:
        self._context, self._items = _context(), _answers(*asked)

    async def step(self) -> Any:
        return await in_call_thread(self._context, next, self._items, _END)

    async def close(self) -> None:
        await in_call_thread(self._context, self._items.close)


class _AsyncWalk:
    """Through what the async methods bring, each step in a task."""

    def __init__(self, *asked: Any) -> None:
        self._context, self._items = _context(), _aanswers(*asked)

    async def step(self) -> Any:
        return await asyncio.create_task(self._next(), context=self._context)

    async def _next(self) -> Any:
        return await anext(self._items, _END)

    async def close(self) -> None:
        await asyncio.create_task(self._items.aclose(), context=self._context)


def _answers(
    model: Model, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], stream: bool
) -> Any:
    from langsmith.run_helpers import tracing_context

    with tracing_context(enabled=False, parent=False):
        if stream:
            yield from model.stream(messages, **kwargs)
        else:
            yield model.invoke(messages, **kwargs)


async def _aanswers(
    model: Model, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], stream: bool
) -> Any:
    from langsmith.run_helpers import tracing_context

    with tracing_context(enabled=False, parent=False):
        if stream:
            async for piece in model.astream(messages, **kwargs):
                yield piece
        else:
            yield await model.ainvoke(messages, **kwargs)


def _context() -> Context:
    """A copy of the caller's, without what LangChain's runs take from it."""
    context = copy_context()
    for variable in _listeners():
        context.run(variable.set, None)
    return context


def _listeners() -> Iterator[ContextVar[Any]]:
    """Where runs look for a parent's callbacks, and for handlers such as usage counters."""
    from langchain_core.tracers import context as tracers

    yield var_child_runnable_config
    yield tracers.tracing_v2_callback_var
    yield from (hook[0] for hook in tracers._configure_hooks)
