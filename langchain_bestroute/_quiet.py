"""Asking a chat model so that nothing which listens to the caller hears of it.

A candidate is no answer yet: counted, traced or shown as a model's run of its own it would be
there twice, and losers would be seen. Handlers of the object's own constructor are its owner's
wish and do hear.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from contextvars import Context, ContextVar, copy_context
from typing import Any, cast

from langchain_core.language_models import BaseChatModel, SimpleChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config

from bestroute._sync import in_sync_door
from bestroute._walks import TaskWalk, ThreadWalk, walked

Model = Runnable[Any, Any]


async def quietly(
    model: Model,
    messages: Sequence[BaseMessage],
    kwargs: Mapping[str, Any],
    *,
    stream: bool,
    blocking: bool,
) -> AsyncGenerator[BaseMessage, None]:
    """Pieces of the model's answer, or without `stream` all of it at once.

    Args:
        model: A chat model, or one with tools bound.
        messages: What to ask.
        kwargs: Arguments of the call.
        stream: Whether pieces are wanted.
        blocking: Whether its sync methods are asked, in a thread of the call's own; where they
            are not implemented, the async ones after all.
    """
    asked, begun = (model, messages, kwargs, stream), False
    if blocking:
        try:
            async with aclosing(walked(ThreadWalk(_answers(*asked), _context()))) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
            return
        except NotImplementedError:
            if begun:
                raise
    async with aclosing(walked(TaskWalk(_aanswers(*asked), _context()))) as pieces:
        async for piece in pieces:
            yield piece


def is_blocking(model: BaseChatModel, *, stream: bool) -> bool:
    """Whether the sync methods are to be asked.

    A sync caller's model is: its async client belongs to one event loop, the user's, and fails in
    another. So is one whose async methods are those of the base classes, which run the sync ones
    in the few threads of the event loop, where one that hangs holds up others.
    """
    kind = type(model)
    if in_sync_door():
        return True
    if stream and (kind._astream, kind._stream) != (BaseChatModel._astream, BaseChatModel._stream):
        return kind._astream is BaseChatModel._astream
    return kind._agenerate in (BaseChatModel._agenerate, SimpleChatModel._agenerate)


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
            async with aclosing(cast(Any, model.astream(messages, **kwargs))) as pieces:
                async for piece in pieces:
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
