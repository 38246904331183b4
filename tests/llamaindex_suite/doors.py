"""The eight ways to ask an LLM, as one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse

Response = ChatResponse | CompletionResponse

WHOLE = ("chat", "achat", "complete", "acomplete")
STREAMS = ("stream_chat", "astream_chat", "stream_complete", "astream_complete")
DOORS = WHOLE + STREAMS
CHATS = ("chat", "achat", "stream_chat", "astream_chat")
ASYNC = ("achat", "acomplete", "astream_chat", "astream_complete")

ASK = "What is six times seven?"
ANSWER = f"This is the answer to: {ASK}"


async def responses(llm: Any, door: str, ask: Any = ASK, **kwargs: Any) -> list[Any]:
    """All responses: of a stream each, else the one.

    Args:
        llm: Is asked.
        door: Its method.
        ask: A text, or chat messages.
        **kwargs: Of the call.
    """
    chat = door in CHATS and isinstance(ask, str)
    return await collected(getattr(llm, door)([ChatMessage(ask)] if chat else ask, **kwargs))


async def last(llm: Any, door: str, ask: Any = ASK, **kwargs: Any) -> Any:
    """The complete response."""
    return (await responses(llm, door, ask, **kwargs))[-1]


async def collected(answer: Any) -> list[Any]:
    """What a call gave: awaited, and read to its end."""
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, AsyncIterator):
        return [item async for item in answer]
    return list(answer) if isinstance(answer, Iterator) else [answer]


def text(response: Response) -> str:
    """The text of a response."""
    whole = response.text if isinstance(response, CompletionResponse) else response.message.content
    return whole or ""
