"""Asking a model of LlamaIndex's by whichever of its methods will do.

A candidate is no answer yet. LlamaIndex has no way to keep its handlers of events and spans from
hearing of it; so all that they hear of it has a tag.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from contextvars import Context, copy_context
from inspect import getattr_static
from typing import Any

import llama_index.core
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM, CustomLLM
from llama_index_instrumentation.dispatcher import active_instrument_tags
from pydantic import SecretStr

from bestroute._secrets import silence
from bestroute._sync import in_sync_door
from bestroute._walks import TaskWalk, ThreadWalk, walked

TAG = {"bestroute": "candidate"}
"""Tag of the events and spans of a model that is asked for a candidate."""


def as_asked(llm: LLM, changes: Mapping[str, Any]) -> LLM:
    """The model with other values of some fields, and with handlers of its own alone.

    A `CallbackManager` without handlers takes those of `Settings`, which hear of the one answer.
    """
    update = dict(changes)
    own = [each for each in llm.callback_manager.handlers if not _is_of_all(each)]
    if len(own) < len(llm.callback_manager.handlers):
        update["callback_manager"] = CallbackManager()
        update["callback_manager"].set_handlers(own)
    if not update:
        return llm
    asked = llm.model_copy(update=update)
    # Connections, which many models open when they are first asked, stay the object's.
    object.__setattr__(asked, "__pydantic_private__", llm.__pydantic_private__)
    return asked


def _is_of_all(handler: object) -> bool:
    manager = Settings._callback_manager
    everyone = [llama_index.core.global_handler, *(manager.handlers if manager else ())]
    return any(handler is each for each in everyone)


async def answers(
    llm: LLM, arguments: Mapping[str, Any], *, stream: bool
) -> AsyncGenerator[ChatResponse, None]:
    """The model's answer so far, again and again; without `stream` only the whole.

    What it has not implemented is not held against it while there is another way: async instead
    of sync methods, or the whole answer instead of a stream. What it raises does not quote
    its keys.

    Args:
        llm: The model.
        arguments: Those of its method; with `tools`, of the one that chats with tools.
        stream: Whether pieces are wanted.
    """
    ways = list(_ways(llm, stream=stream))
    for way in ways:
        begun = False
        try:
            async with aclosing(_answers(llm, arguments, *way)) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
            return
        except NotImplementedError:
            if begun or way == ways[-1]:
                raise
        except Exception as error:
            silence(error, _known(llm))
            raise


def _known(llm: LLM) -> dict[str, Any]:
    """All that the model holds by name; its dump often leaves out keys."""
    texts = {
        name: value
        for name, value in (llm.__pydantic_private__ or {}).items()
        if isinstance(value, str | SecretStr)
    }
    return {**texts, **dict(llm), **llm.to_dict()}


def _ways(llm: LLM, *, stream: bool) -> Iterator[tuple[bool, bool]]:
    """Whether sync methods are asked, in a thread of the call's own, and whether for a stream.

    A sync caller's are: an async client belongs to one event loop, the user's, and fails in
    another. So are those whose async twins only call them, which would hold up the event loop.
    """
    for streams in (True, False) if stream else (False,):
        name = "astream_chat" if streams else "achat"
        first = in_sync_door() or getattr_static(llm, name) is getattr_static(CustomLLM, name)
        yield from ((first, streams), (not first, streams))


def _answers(
    llm: LLM, arguments: Mapping[str, Any], blocking: bool, streams: bool
) -> AsyncGenerator[ChatResponse, None]:
    door = f"{'stream_' if streams else ''}chat{'_with_tools' if 'tools' in arguments else ''}"
    if blocking:
        return walked(ThreadWalk(_asked(getattr(llm, door), arguments, streams), _context()))
    return walked(TaskWalk(_aasked(getattr(llm, f"a{door}"), arguments, streams), _context()))


def _asked(ask: Callable[..., Any], arguments: Mapping[str, Any], streams: bool) -> Any:
    answer = ask(**arguments)
    if streams:
        yield from answer
    else:
        yield answer


async def _aasked(ask: Callable[..., Any], arguments: Mapping[str, Any], streams: bool) -> Any:
    answer = await ask(**arguments)
    if streams:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
    else:
        yield answer


def _context() -> Context:
    """A copy of the caller's, with the tag."""
    context = copy_context()
    context.run(lambda: active_instrument_tags.set({**active_instrument_tags.get(), **TAG}))
    return context
