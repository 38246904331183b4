"""What an agent's session remembers between model calls: plain data, which any checkpoint holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from typing_extensions import TypedDict  # pydantic refuses that of Python 3.11


class Prompt(TypedDict):
    """The last prompt that a model was sent.

    Attributes:
        tokens: Its prompt tokens.
        at: When, in seconds since the epoch.
        messages: How many messages it held, the system message not counted.
        digest: Of all that it held.
    """

    tokens: int
    at: float
    messages: int
    digest: str


class Session(TypedDict, total=False):
    """What is known from earlier model calls of a thread.

    Attributes:
        model: Pool name of the model that answered last.
        message: Id of its message.
        prompts: The last prompt of each model, by its pool name.
    """

    model: str
    message: str | None
    prompts: dict[str, Prompt]


def tool_calling(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """The last message of the current user turn that called tools: its loop is not finished."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return None
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            return message
    return None


def maker(message: AIMessage, session: Session) -> str | None:
    """Pool name of the model that wrote a message; `None` if no model of a pool did.

    Other middleware may have rewritten the message and dropped its metadata, but keeps its id.
    """
    if routed := message.response_metadata.get("bestroute"):
        return str(routed["model"])
    return session.get("model") if message.id and message.id == session.get("message") else None


def digests(head: Any, messages: Sequence[BaseMessage]) -> Iterator[str]:
    """Digest of each prefix of a prompt: of its first 0, 1 ... messages.

    Args:
        head: What comes before the messages (system message, tools).
        messages: The messages; ids and metadata, which no provider is sent, do not matter.
    """
    running = hashlib.sha256()
    for part in (head, *map(_sent, messages)):
        running.update(json.dumps(part, default=str).encode())
        yield running.hexdigest()[:16]


def _sent(message: BaseMessage) -> list[Any]:
    names = ("type", "content", "tool_calls", "tool_call_id")
    return [getattr(message, name, None) for name in names]


def still_cached(
    prompts: Mapping[str, Prompt], prefixes: Sequence[str], *, since: float, at_least: int
) -> dict[str, int]:
    """Prompt tokens that each model's provider probably still holds.

    A prompt cache holds prefixes: nothing is left of it for a history that was rewritten.

    Args:
        prompts: The last prompt of each model.
        prefixes: Digests of the new prompt's prefixes.
        since: Prompts must be younger, in seconds since the epoch.
        at_least: Shorter prompts are not cached, in tokens.
    """
    return {
        model: prompt["tokens"]
        for model, prompt in prompts.items()
        if prompt["at"] > since
        and prompt["tokens"] >= at_least
        and prefixes[prompt["messages"] : prompt["messages"] + 1] == [prompt["digest"]]
    }
