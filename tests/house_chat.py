"""A chat model as a small package would write it: it speaks HTTP and knows nothing of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr, SecretStr


class HouseError(Exception):
    """What the server did not like."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the house says {response.status_code}")
        self.response = response
        self.status_code = response.status_code


class HouseChat(BaseChatModel):
    """Asks a server in OpenAI's format.

    Attributes:
        url: Where it is.
        model: Whom to ask there.
        api_key: Its key; `HOUSE_API_KEY` in the environment after loading.
        temperature: Sampling temperature.
    """

    url: str
    model: str = "small"
    api_key: SecretStr = SecretStr("none")
    temperature: float | None = None

    _heard: list[Any] = PrivateAttr(default_factory=list)

    @property
    def heard(self) -> list[Any]:
        """Handlers that listened to its calls."""
        return self._heard

    @property
    def _llm_type(self) -> str:
        return "house"

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where a loaded one finds its key."""
        return {"api_key": "HOUSE_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """It is."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where it lives."""
        return ["tests", "house_chat"]

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """In OpenAI's format."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _asked(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
        body = {"model": self.model, "messages": convert_to_openai_messages(messages), **kwargs}
        if self.temperature is not None:
            body.setdefault("temperature", self.temperature)
        headers = {"authorization": f"Bearer {self.api_key.get_secret_value()}"}
        return {"url": f"{self.url}/chat/completions", "json": body, "headers": headers}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._heard += run_manager.handlers if run_manager else ()
        return _result(httpx.post(**self._asked(messages, _with_stop(kwargs, stop))))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._heard += run_manager.handlers if run_manager else ()
        async with httpx.AsyncClient(timeout=60) as client:
            return _result(await client.post(**self._asked(messages, _with_stop(kwargs, stop))))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = self._asked(messages, {**_with_stop(kwargs, stop), **_STREAMED})
        with httpx.stream("POST", **asked) as response:
            _check(response)
            for line in response.iter_lines():
                yield from _chunks(line)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = self._asked(messages, {**_with_stop(kwargs, stop), **_STREAMED})
        async with httpx.AsyncClient() as client, client.stream("POST", **asked) as response:
            _check(response)
            async for line in response.aiter_lines():
                for chunk in _chunks(line):
                    yield chunk


_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def _with_stop(kwargs: dict[str, Any], stop: list[str] | None) -> dict[str, Any]:
    return {**kwargs, **({"stop": stop} if stop else {})}


def _check(response: httpx.Response) -> None:
    if response.status_code >= 400:
        raise HouseError(response)


def _usage(data: dict[str, Any]) -> dict[str, Any]:
    counted = data.get("usage")
    if not counted:
        return {}
    cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    prompt, completion = counted["prompt_tokens"], counted["completion_tokens"]
    usage = {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_token_details": {"cache_read": cached},
    }
    return {"usage_metadata": usage}


def _result(response: httpx.Response) -> ChatResult:
    _check(response)
    data = response.json()
    choice = data["choices"][0]
    said = choice["message"]
    (message,) = convert_to_messages([{**said, "content": said.get("content") or ""}])
    assert isinstance(message, AIMessage)
    update = {"response_metadata": {"finish_reason": choice["finish_reason"]}, **_usage(data)}
    return ChatResult(generations=[ChatGeneration(message=message.model_copy(update=update))])


def _chunks(line: str) -> Iterator[ChatGenerationChunk]:
    if not line.startswith("data: {"):
        return
    data = json.loads(line.removeprefix("data: "))
    choice = next(iter(data["choices"]), {"delta": {}})
    delta, reason = choice["delta"], choice.get("finish_reason")
    calls = [
        {
            "name": call["function"].get("name"),
            "args": call["function"].get("arguments"),
            "id": call.get("id"),
            "index": call["index"],
        }
        for call in delta.get("tool_calls") or ()
    ]
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content=delta.get("content") or "",
            tool_call_chunks=calls,
            response_metadata={"finish_reason": reason} if reason else {},
            **_usage(data),
        )
    )
