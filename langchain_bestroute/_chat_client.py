"""A LangChain chat model in LiteLLM's place."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, dumps, loads
from langchain_core.messages import BaseMessage, convert_to_messages

from bestroute._secrets import silence
from bestroute.client import Alike
from bestroute.errors import ConfigError
from langchain_bestroute._completions import Pieces, completion
from langchain_bestroute._messages import from_openai
from langchain_bestroute._quiet import Model, is_blocking, quietly

_CHOICES = {"required": "any"}
_FOR_TOOLS = ("tool_choice", "parallel_tool_calls")
_MAY_HOLD_KEYS = ("headers", "_query")  # LangChain's dumps show them
_OF_THIS_PROCESS = secrets.token_bytes(32)


class ChatModelClient(Alike):
    """Asks a chat model for a member of a pool: `PooledModel(model=..., client=...)`.

    No callback that the caller's runs hand down hears of it, those of the object itself do; no
    cache answers, for n samples must not be one. Rate limiter and retries are the object's own.
    Pickles hold no keys: those are read from the environment again.

    Args:
        chat_model: The chat model; not changed.
    """

    def __init__(self, chat_model: BaseChatModel) -> None:
        self.chat_model = chat_model
        said = chat_model._get_ls_params()
        # What the object says anyway is not said again: not every model takes it with a call.
        own = {"temperature": said.get("ls_temperature"), "max_tokens": said.get("ls_max_tokens")}
        self.own = {name: value for name, value in own.items() if value is not None}

    async def acompletion(
        self,
        *,
        messages: Sequence[Mapping[str, Any]],
        stream: bool = False,
        timeout: float | None = None,
        stream_options: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Any:
        """Answer as `litellm.acompletion` does; see `ModelClient`.

        Raises:
            TimeoutError: Nothing came for `timeout` seconds.
            Exception: The chat model's own.
        """
        model, kwargs = self._prepared(params)
        if stream and hasattr(self.chat_model, "stream_usage"):
            kwargs["stream_usage"] = True
        blocking = is_blocking(self.chat_model, stream=stream)
        asked = [_message(each) for each in messages]
        answers = self._silenced(quietly(model, asked, kwargs, stream=stream, blocking=blocking))
        first = await _soon(answers, timeout)
        if stream:
            return _pieces(first, answers, timeout)
        async with aclosing(answers):
            return completion(first)

    async def _silenced(
        self, answers: AsyncGenerator[BaseMessage, None]
    ) -> AsyncGenerator[BaseMessage, None]:
        """The same; what the chat model raises does not quote its keys."""
        try:
            async with aclosing(answers):
                async for answer in answers:
                    yield answer
        except Exception as error:
            silence(error, dict(self.chat_model))
            raise

    def _prepared(self, params: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
        """The model with the tools bound, and the arguments of the call."""
        kwargs = {
            name: value
            for name, value in params.items()
            if name not in (*_FOR_TOOLS, "tools") and self.own.get(name) != value
        }
        model = self.chat_model.model_copy(update={"cache": False})
        if not params.get("tools"):
            return model, kwargs
        given = {name: params[name] for name in _FOR_TOOLS if params.get(name) is not None}
        if "tool_choice" in given:
            given["tool_choice"] = _tool_choice(given["tool_choice"])
        return model.bind_tools(params["tools"], **given), kwargs

    @property
    def is_written(self) -> bool:
        """Whether it can be written down without keys: LangChain knows which fields they are.

        Not so of headers and queries, which may hold some.
        """
        chat_model = self.chat_model
        return chat_model.is_lc_serializable() and not _may_hold_keys(dumpd(chat_model))

    def __repr__(self) -> str:
        """What tells it from others: two that are configured alike have the same.

        Out of what may hold keys the digest is made with one of this process alone.
        """
        has_dump = self.chat_model.is_lc_serializable()
        text = dumps(self.chat_model) if has_dump else repr(self.chat_model)
        key = b"" if self.is_written else _OF_THIS_PROCESS
        digest = hmac.digest(key, text.encode(), "sha256").hex()[:16]
        return f"{type(self).__name__}({type(self.chat_model).__name__}, {digest})"

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """What pickle keeps: no keys.

        Raises:
            ConfigError: It cannot be written down without keys.
        """
        kind = type(self.chat_model)
        if not self.is_written:
            raise ConfigError(
                f"a pool with this {kind.__name__} is not pickled, for keys would be: LangChain "
                "cannot serialise it, or it has headers or a query; build the pool again instead"
            )
        return _read, (kind, dumps(self.chat_model))


def _read(kind: type[BaseChatModel], text: str) -> ChatModelClient:
    with suppress_langchain_beta_warning():
        chat_model = loads(
            text,
            allowed_objects=[kind],
            valid_namespaces=[kind.lc_id()[0]],
            secrets_from_env=True,
        )
    return ChatModelClient(chat_model)


def _may_hold_keys(dump: Any) -> bool:
    if isinstance(dump, Mapping):
        return any(
            (bool(value) and name.endswith(_MAY_HOLD_KEYS)) or _may_hold_keys(value)
            for name, value in dump.items()
        )
    return isinstance(dump, list) and any(map(_may_hold_keys, dump))


def _message(message: Mapping[str, Any]) -> BaseMessage:
    if message["role"] == "assistant":
        return from_openai(message)
    return convert_to_messages([dict(message)])[0]


def _tool_choice(choice: Any) -> Any:
    """In the words that every `bind_tools` knows: any, auto, or a tool's name."""
    if isinstance(choice, Mapping):
        return (choice.get("function") or {}).get("name") or choice
    return _CHOICES.get(choice, choice)


async def _soon(answers: AsyncGenerator[BaseMessage, None], timeout: float | None) -> Any:
    """The next piece, or `None` at the end."""
    try:
        async with asyncio.timeout(timeout):
            return await anext(answers, None)
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"nothing came for {timeout} seconds") from error


async def _pieces(
    piece: Any, answers: AsyncGenerator[BaseMessage, None], timeout: float | None
) -> AsyncGenerator[Any, None]:
    pieces = Pieces()
    async with aclosing(answers):
        while piece is not None:
            yield pieces.piece(piece)
            piece = await _soon(answers, timeout)
    yield pieces.last()
