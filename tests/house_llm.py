"""LLMs as small packages would write them: they speak HTTP and know nothing of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    ImageBlock,
    LLMMetadata,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM, CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool


class HouseError(Exception):
    """What the server did not like."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the house says {response.status_code}: {response.text}")
        self.response = response
        self.status_code = response.status_code


class _House(LLM):
    """Where it is, and what it is asked.

    Attributes:
        url: Where it is.
        model: Whom to ask there.
        api_key: Its key.
        temperature: Sampling temperature.
        max_tokens: Most tokens of an answer.
    """

    url: str
    model: str = "small"
    api_key: str = "none"
    temperature: float | None = None
    max_tokens: int | None = None

    def _asked(self, messages: list[dict[str, Any]], kwargs: dict[str, Any]) -> dict[str, Any]:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        # As in many packages, the object's own parameters win.
        body = {"model": self.model, "messages": messages, **kwargs}
        body |= {name: value for name, value in own.items() if value is not None}
        headers = {"authorization": f"Bearer {self.api_key}"}
        return {"url": f"{self.url}/chat/completions", "json": body, "headers": headers}


class HouseLLM(_House, FunctionCallingLLM):
    """Asks a server in OpenAI's format, and calls tools."""

    @classmethod
    def class_name(cls) -> str:
        """The name in dumps."""
        return "house"

    @property
    def metadata(self) -> LLMMetadata:
        """What it says of itself."""
        return LLMMetadata(
            model_name=self.model, is_chat_model=True, is_function_calling_model=True
        )

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer."""
        return _response(httpx.post(**self._asked(_plain(messages), kwargs), timeout=60))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer."""
        async with httpx.AsyncClient(timeout=60) as client:
            return _response(await client.post(**self._asked(_plain(messages), kwargs)))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The answer so far, piece by piece."""
        asked = self._asked(_plain(messages), {**kwargs, **_STREAMED})

        def pieces() -> ChatResponseGen:
            so_far = _SoFar()
            with httpx.stream("POST", **asked, timeout=60) as response:
                if response.is_error:
                    response.read()
                _check(response)
                for line in response.iter_lines():
                    yield from so_far.read(line)

        return pieces()

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """The answer so far, piece by piece."""
        asked = self._asked(_plain(messages), {**kwargs, **_STREAMED})

        async def pieces() -> AsyncIterator[ChatResponse]:
            so_far = _SoFar()
            async with (
                httpx.AsyncClient(timeout=60) as client,
                client.stream("POST", **asked) as response,
            ):
                if response.is_error:
                    await response.aread()
                _check(response)
                async for line in response.aiter_lines():
                    for piece in so_far.read(line):
                        yield piece

        return pieces()  # type: ignore[return-value]

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not needed."""
        raise NotImplementedError

    stream_complete = complete

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Not needed."""
        raise NotImplementedError

    astream_complete = acomplete

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        return {
            "messages": list(chat_history or ()),
            "tools": [tool.metadata.to_openai_tool() for tool in tools],
            "tool_choice": "required" if tool_required else "auto",
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Not needed."""
        raise NotImplementedError


class HouseText(_House, CustomLLM):
    """Asks the same server, but has nothing but sync methods that complete a text."""

    @classmethod
    def class_name(cls) -> str:
        """The name in dumps."""
        return "house_text"

    @property
    def metadata(self) -> LLMMetadata:
        """What it says of itself."""
        return LLMMetadata(model_name=self.model, context_window=8000)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The whole text."""
        asked = self._asked([{"role": "user", "content": prompt}], kwargs)
        made = _response(httpx.post(**asked, timeout=60))
        return CompletionResponse(text=made.message.content or "", raw=made.raw)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """The text so far, piece by piece."""
        asked = self._asked([{"role": "user", "content": prompt}], {**kwargs, **_STREAMED})

        def pieces() -> CompletionResponseGen:
            so_far = _SoFar()
            with httpx.stream("POST", **asked, timeout=60) as response:
                if response.is_error:
                    response.read()
                _check(response)
                for line in response.iter_lines():
                    for piece in so_far.read(line):
                        text = piece.message.content or ""
                        yield CompletionResponse(text=text, delta=piece.delta, raw=piece.raw)

        return pieces()


_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def _check(response: httpx.Response) -> None:
    if response.status_code >= 400:
        raise HouseError(response)


def _plain(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append({"type": "text", "text": block.text})
        elif isinstance(block, ImageBlock):
            parts.append({"type": "image_url", "image_url": {"url": block.inline_url()}})
        elif isinstance(block, ToolCallBlock):
            function = {"name": block.tool_name, "arguments": _json(block.tool_kwargs)}
            calls.append({"id": block.tool_call_id, "type": "function", "function": function})
    told: dict[str, Any] = {"role": message.role.value, **message.additional_kwargs}
    only_text = all(part["type"] == "text" for part in parts)
    told["content"] = "".join(part["text"] for part in parts) if only_text else parts
    return {**told, "tool_calls": calls} if calls else told


def _json(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _response(response: httpx.Response) -> ChatResponse:
    _check(response)
    data = response.json()
    said = data["choices"][0]["message"]
    return ChatResponse(message=_said(said.get("content"), said.get("tool_calls")), raw=data)


def _said(text: str | None, calls: Sequence[dict[str, Any]] | None) -> ChatMessage:
    called = [
        ToolCallBlock(
            tool_call_id=call["id"],
            tool_name=call["function"]["name"],
            tool_kwargs=call["function"]["arguments"],
        )
        for call in calls or ()
    ]
    texts = [TextBlock(text=text)] if text else []
    return ChatMessage(role="assistant", blocks=[*texts, *called])


class _SoFar:
    """An answer that comes in lines."""

    def __init__(self) -> None:
        self.text, self.calls = "", list[dict[str, Any]]()

    def read(self, line: str) -> Iterator[ChatResponse]:
        """What a line says."""
        if not line.startswith("data: {"):
            return
        data = json.loads(line.removeprefix("data: "))
        delta = data["choices"][0]["delta"] if data["choices"] else {}
        text = delta.get("content") or ""
        self.text += text
        for call in delta.get("tool_calls") or ():
            if call.get("id"):
                self.calls.append(call)
            else:
                function = self.calls[call["index"]]["function"]
                function["arguments"] += call["function"]["arguments"]
        yield ChatResponse(message=_said(self.text, self.calls), delta=text, raw=data)
