"""LlamaIndex's chat messages <-> messages in OpenAI format."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from bestroute.errors import RequestError

_SAME_ROLE = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}
_IN_MESSAGE = (ThinkingBlock, ToolCallBlock)


def to_openai(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages in OpenAI format; the given ones are not changed.

    Thoughts of earlier turns are left out: the next turn may go to another model, and thoughts
    are only valid for the one that had them.

    Raises:
        RequestError: A block that cannot be sent to every kind of model; names the block.
    """
    return [_to_openai(message) for message in messages]


def from_openai(message: Mapping[str, Any]) -> ChatMessage:
    """The assistant's message: thoughts, text and tool calls, each as its own block."""
    blocks: list[ContentBlock] = []
    if thoughts := message.get("reasoning_content"):
        blocks.append(ThinkingBlock(content=thoughts))
    if text := message.get("content"):
        blocks.append(TextBlock(text=text))
    for index, call in enumerate(message.get("tool_calls") or ()):
        blocks.append(tool_call_block(call, index))
    kept = {"refusal": message["refusal"]} if message.get("refusal") else {}
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kept)


def tool_call_block(call: Mapping[str, Any], index: int) -> ToolCallBlock:
    """A tool call in OpenAI format as a block; arguments that are no JSON object stay text."""
    function = call.get("function") or {}
    return ToolCallBlock(
        tool_call_id=call.get("id") or f"call_{index}",  # some servers give none
        tool_name=function.get("name") or "",
        tool_kwargs=_arguments(function.get("arguments") or ""),
    )


def _arguments(text: str) -> dict[str, Any] | str:
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def _to_openai(message: ChatMessage) -> dict[str, Any]:
    known = message.additional_kwargs
    converted: dict[str, Any] = {
        "role": _SAME_ROLE.get(message.role, message.role.value),
        "content": _content(message),
    }
    if calls := _tool_calls(message):
        converted["tool_calls"] = calls
    if message.role is MessageRole.TOOL and "tool_call_id" in known:
        converted["tool_call_id"] = known["tool_call_id"]
    if known.get("name"):
        converted["name"] = known["name"]
    return converted


def _content(message: ChatMessage) -> str | list[dict[str, Any]] | None:
    """One string where all is text, for not every server takes parts."""
    blocks = [block for block in message.blocks if not isinstance(block, _IN_MESSAGE)]
    if all(isinstance(block, TextBlock) for block in blocks):
        only_calls = not blocks and _tool_calls(message)
        return None if only_calls else message.content or ""
    return [_part(block) for block in blocks]


def _part(block: ContentBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock):
        return {"type": "image_url", "image_url": _image(block)}
    if isinstance(block, AudioBlock):
        return {"type": "input_audio", "input_audio": _audio(block)}
    raise RequestError(
        f"a block of type {block.block_type!r} ({type(block).__name__}) cannot be routed; "
        "text, image, audio, thinking and tool_call blocks can: give its text as a TextBlock"
    )


def _image(block: ImageBlock) -> dict[str, Any]:
    if block.url is not None:
        url = str(block.url)
    else:
        data = _base64(block.resolve_image().read())
        url = f"data:{block.image_mimetype or 'image/png'};base64,{data}"
    return {"url": url, "detail": block.detail} if block.detail else {"url": url}


def _audio(block: AudioBlock) -> dict[str, Any]:
    if block.url is not None and not str(block.url).startswith("data:"):
        raise RequestError("an audio block with a url cannot be sent: give its bytes or its path")
    return {"data": _base64(block.resolve_audio().read()), "format": block.format or "wav"}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _tool_calls(message: ChatMessage) -> list[dict[str, Any]]:
    """Tool calls of the blocks, else those that older integrations left beside them."""
    calls = [
        _call(block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    return calls or [_plain(call) for call in message.additional_kwargs.get("tool_calls") or ()]


def _call(call_id: str | None, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call_id or name,
        "type": "function",
        "function": {"name": name, "arguments": text},
    }


def _plain(call: Any) -> dict[str, Any]:
    data: Mapping[str, Any] = call if isinstance(call, Mapping) else call.model_dump()
    function = data["function"]
    return _call(data.get("id"), function["name"], function["arguments"])
