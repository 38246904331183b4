"""Messages -> what the router reads, and what the request demands of a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bestroute._plain import flaw
from bestroute.errors import RequestError

Need = Literal["vision", "audio", "video", "documents", "tools", "response_format"]

MADE_BY = "made_by"
"""Key of an assistant's message: pool name of the model whose thoughts it holds."""
THOUGHTS = ("reasoning_content", "thinking_blocks", "reasoning_items", "provider_specific_fields")
"""Keys of an assistant's message, in LiteLLM's names, that are only valid for its own model."""

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_NOT_PARAMS = ("model", "messages", "stream", "caching")
_PART_NEEDS: Mapping[str, Need] = {
    "image_url": "vision",
    "image": "vision",
    "input_image": "vision",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "video",
}
_FILE_NEEDS: Mapping[str, Need] = {"image": "vision", "audio": "audio", "video": "video"}


class Request(BaseModel):
    """One request in OpenAI format; the caller's objects are never changed.

    Attributes:
        messages: Chat messages. Thoughts of one that tells who had them (`made_by`, a pool name)
            go back to that model only.
        params: Call parameters in OpenAI's names (tools, tool_choice, response_format,
            temperature, max_tokens, stop, seed ...). They win over the pool's own.
        query_text: What the router reads, where the caller knows better than the messages.
        query_turns: How many of the last user turns the router reads.
        query_pattern: Regular expression that finds the query in them.
        answer_schema: JSON schema that the text of a usable response follows, or the object
            within it; it is not sent.
    """

    model_config = ConfigDict(frozen=True)

    messages: tuple[dict[str, Any], ...]
    params: dict[str, Any] = Field(default_factory=dict)
    query_text: str | None = None
    query_turns: int = Field(default=1, ge=1)
    query_pattern: re.Pattern[str] | None = None
    answer_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> Request:
        for name in ("messages", "params", "answer_schema"):
            if wrong := flaw(getattr(self, name), whole=name == "messages"):
                raise ValueError(f"{name} {wrong}")
        self._check_messages()
        if self.params.get("n", 1) != 1:
            raise ValueError(
                "n is chosen by the router; max_n, or max_samples in the pool, limits it"
            )
        for name in _NOT_PARAMS:
            if name in self.params:
                raise ValueError(f"{name} is no parameter of a routed request; leave it out")
        return self

    def _check_messages(self) -> None:
        if not self.messages:
            raise ValueError("messages is empty: give at least one user message")
        for index, message in enumerate(self.messages):
            if message.get("role") not in _ROLES:
                raise ValueError(
                    f"messages[{index}].role is {message.get('role')!r:.200}; "
                    f"expected one of {', '.join(_ROLES)}"
                )
            content = message.get("content")
            if not isinstance(content, str | list | tuple | None):
                raise ValueError(
                    f"messages[{index}].content is a {type(content).__name__}; "
                    "expected a text, or a list of parts"
                )
        if not self._says_something():
            raise ValueError("messages hold no content: nothing to answer")

    def _says_something(self) -> bool:
        return any(
            message_text(message).strip()
            or message.get("tool_calls")
            or any(part.get("type") != "text" for part in _parts(message))
            for message in self.messages
        )

    @classmethod
    def build(
        cls,
        messages: str | Sequence[Mapping[str, Any]],
        params: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Request:
        """Check a request; a plain string is one user message.

        Args:
            messages: Chat messages, or the text of one user message.
            params: Call parameters.
            **fields: `query_text`, `query_turns`, `query_pattern`, `answer_schema`.

        Raises:
            RequestError: Empty messages, an unknown role, or a parameter that is not the
                caller's to set (n, model, messages, stream, caching).
        """
        chat = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        if not isinstance(params, Mapping | None):
            raise RequestError(f"params must be a mapping, not {type(params).__name__}")
        given = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            copies = tuple(dict(message) for message in chat)
            return cls(messages=copies, params=given, **fields)
        except ValidationError as error:
            raise RequestError("; ".join(map(_reason, error.errors()))) from error
        except (TypeError, ValueError) as error:
            raise RequestError(
                "messages must be a string or a list of {'role': ..., 'content': ...}"
            ) from error

    @cached_property
    def query(self) -> str:
        """The text that the router reads: by default the last user turn, else all text."""
        if self.query_text is not None:
            return self.query_text
        texts = [message_text(each) for each in self.messages if each["role"] == "user"]
        turns = [text for text in texts if text.strip()][-self.query_turns :]
        read = "\n".join(turns) or self.prompt
        found = self.query_pattern.search(read) if self.query_pattern else None
        return (found[min(found.re.groups, 1)] or read) if found else read

    @cached_property
    def prompt(self) -> str:
        """All text that is billed as prompt, tool calls and tool schemas included."""
        parts = [message_text(message) for message in self.messages]
        calls = [message["tool_calls"] for message in self.messages if message.get("tool_calls")]
        tools = self.params.get("tools")
        parts += [json.dumps(each, default=str) for each in (*calls, tools) if each]
        return "\n".join(parts)

    @cached_property
    def message_bytes(self) -> int:
        """Bytes of all messages as JSON: to no tokenizer are they more tokens."""
        text = json.dumps(self.messages, ensure_ascii=False, default=str)
        return len(text.encode("utf-8", "surrogatepass"))

    def messages_for(self, model: str) -> list[dict[str, Any]]:
        """What the model of that pool name is sent."""
        return [_told_to(model, message) for message in self.messages]

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What a model must be able to do to serve this request."""
        needs = {need for message in self.messages for need in _part_needs(message)}
        if self.params.get("tools"):
            needs.add("tools")
        kind = self.params.get("response_format")
        if kind and not (isinstance(kind, Mapping) and kind.get("type") == "text"):
            needs.add("response_format")
        return frozenset(needs)

    @cached_property
    def demands(self) -> dict[str, Any]:
        """The parameters that a response is checked against."""
        if self.answer_schema is None:
            return self.params
        wanted = {"type": "json_schema", "json_schema": {"schema": self.answer_schema}}
        return {**self.params, "response_format": {**wanted, "within_text": True}}


def _reason(item: Any) -> str:
    field = "".join(f"{part}: " for part in item["loc"] if part in ("query_turns", "query_pattern"))
    return field + str(item["msg"]).removeprefix("Value error, ")


def _told_to(model: str, message: dict[str, Any]) -> dict[str, Any]:
    if MADE_BY not in message:
        return message
    hidden = (MADE_BY,) if message[MADE_BY] == model else (MADE_BY, *THOUGHTS)
    return {key: value for key, value in message.items() if key not in hidden}


def thoughts_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """What an assistant's own model wants back to go on from its message."""
    kept = {name: message[name] for name in THOUGHTS if message.get(name)}
    if "thinking_blocks" not in kept:  # then no provider wants its own fields, and some refuse them
        kept.pop("provider_specific_fields", None)
    return kept


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one message, images, audio, video and documents left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in _parts(message) if isinstance(part.get("text"), str)]
    return "\n".join(texts)


def _parts(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        yield from (part for part in content if isinstance(part, Mapping))


def _part_needs(message: Mapping[str, Any]) -> Iterator[Need]:
    for part in _parts(message):
        kind = str(part.get("type"))
        if kind in ("file", "input_file"):
            yield _file_need(part.get("file"))
        elif need := _PART_NEEDS.get(kind):
            yield need


def _file_need(file: Any) -> Need:
    """By its MIME type, which is told beside its data or in its data URL."""
    known = file if isinstance(file, Mapping) else {}
    mime = str(known.get("format") or known.get("file_data") or "").removeprefix("data:")
    return _FILE_NEEDS.get(mime.partition("/")[0], "documents")
