"""What an agent's session remembers between model calls: plain data, which any checkpoint holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from typing_extensions import TypedDict  # pydantic refuses that of Python 3.11

from bestroute import ModelPool
from langchain_bestroute._messages import maker


class Prompt(TypedDict):
    """The last prompt that a model was sent.

    Attributes:
        tokens: Its prompt tokens; 0 while the provider shows no sign of a prompt cache.
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
        pool: Fingerprint of the pool that it is about.
        model: Pool name of the model that answered last.
        message: Id of its message.
        prompts: The last prompt of each model, by its pool name.
    """

    pool: str
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


def caller(message: AIMessage, session: Session, pool: ModelPool) -> str | None:
    """Name of the pool's model that wrote a message; `None` if none of this pool did.

    Other middleware may have rewritten the message and dropped its metadata, but keeps its id.
    """
    known = message.id and message.id == session.get("message")
    return maker(message, pool) or (session.get("model") if known else None)


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
    session: Session, prefixes: Sequence[str], *, since: float, at_least: int
) -> dict[str, int]:
    """Prompt tokens that each model's provider probably still holds.

    A prompt cache holds prefixes: nothing is left of it for a history that was rewritten.

    Args:
        session: What is known.
        prefixes: Digests of the new prompt's prefixes.
        since: Prompts must be younger, in seconds since the epoch.
        at_least: Shorter prompts are not cached, in tokens.
    """
    return {
        model: prompt["tokens"]
        for model, prompt in session.get("prompts", {}).items()
        if prompt["at"] > since
        and prompt["tokens"] >= at_least
        and prefixes[prompt["messages"] : prompt["messages"] + 1] == [prompt["digest"]]
    }


def after(
    session: Session,
    message: AIMessage,
    prefixes: Sequence[str],
    *,
    counted_on: Collection[str],
    at: float,
) -> Session:
    """What is known once a routed message has come.

    Args:
        session: What was known before.
        message: The message.
        prefixes: Digests of the prompt's prefixes.
        counted_on: Models whose provider was believed to hold the prompt. One that then reports
            no cached tokens has no cache, or wants to be asked for it: it is not counted on
            again until it reports some.
        at: Now, in seconds since the epoch.
    """
    routed = message.response_metadata["bestroute"]
    prompts = dict(session.get("prompts", {}))
    for model, tokens in routed["prompt_tokens_by_model"].items():
        doubted = model in counted_on or (model in prompts and not prompts[model]["tokens"])
        if doubted and not routed["usage_by_model"][model]["cached_tokens"]:
            tokens = 0
        length = len(prefixes) - 1
        prompts[model] = Prompt(tokens=tokens, at=at, messages=length, digest=prefixes[-1])
    model, pool = routed["model"], routed["pool"]
    return Session(pool=pool, model=model, message=message.id, prompts=prompts)
