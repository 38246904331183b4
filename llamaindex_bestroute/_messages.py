"""LlamaIndex's chat messages <-> messages in OpenAI format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from bestroute import RoutedResponse
from bestroute.query import MADE_BY, thoughts_of
from llamaindex_bestroute._blocks import Part, as_text, blocks, parts

_SAME_ROLE = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}
_IN_MESSAGE = (ThinkingBlock, ToolCallBlock)
_CALLS = "tool_calls"
_THOUGHTS = "bestroute_thoughts"


def to_openai(messages: Sequence[ChatMessage], pool: str) -> list[dict[str, Any]]:
    """Messages in OpenAI format; the given ones are not changed.

    Thoughts of earlier turns are left out: the next turn may go to another model, and thoughts
    are only valid for the one that had them; it gets those of an unfinished tool loop. Images
    and files that tools brought follow the tools' messages as the user's: there every provider
    takes them.

    Args:
        messages: A conversation.
        pool: Fingerprint of the pool whose models are asked.

    Raises:
        RequestError: A block that cannot be sent; names the block.
    """
    converted: list[dict[str, Any]] = []
    brought: list[Part] = []
    waiting: list[dict[str, Any]] = []
    loop = set(_tool_loop(messages))
    for position, message in enumerate(messages):
        if message.role is MessageRole.TOOL:
            answer, more = _tool_answer(_to_openai(message))
            converted.append(_with_call_id(answer, waiting))
            brought += more
            continue
        converted += _from_tools(brought)
        brought = []
        thoughts = _thoughts(message, pool) if position in loop else {}
        converted.append({**_to_openai(message), **thoughts})
        waiting = list(converted[-1].get(_CALLS) or ())
    return converted + _from_tools(brought)


def from_openai(message: Mapping[str, Any]) -> ChatMessage:
    """The assistant's message: thoughts, text and tool calls, each as its own block.

    Tool calls are beside the blocks as well: there LlamaIndex's programs look for them.
    """
    blocks: list[ContentBlock] = []
    if thoughts := message.get("reasoning_content"):
        blocks.append(ThinkingBlock(content=thoughts))
    if text := message.get("content"):
        blocks.append(TextBlock(text=text))
    calls = [_plain(call, f"call_{index}") for index, call in enumerate(message.get(_CALLS) or ())]
    blocks += [_tool_call_block(call) for call in calls]
    kept: dict[str, Any] = {_CALLS: calls} if calls else {}
    if message.get("refusal"):
        kept["refusal"] = message["refusal"]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kept)


def to_be_asked(message: Mapping[str, Any], *, marked: bool = False) -> ChatMessage:
    """A message of any role, as a model of LlamaIndex's is asked: all that it says in blocks.

    Args:
        message: A message in OpenAI format.
        marked: Whether it knows cache points; most packages refuse them.

    Raises:
        ValueError: A part that is no block of LlamaIndex's.
    """
    said = list(blocks(message.get("content"), marked=marked))
    if message["role"] == "assistant":
        calls = from_openai({_CALLS: message.get(_CALLS)}).blocks
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[*_thinking(message), *said, *calls])
    known = {name: message[name] for name in ("tool_call_id", "name") if message.get(name)}
    return ChatMessage(role=message["role"], blocks=said, additional_kwargs=known)


def _thinking(message: Mapping[str, Any]) -> Iterator[ContentBlock]:
    """Thoughts, with the signature that some models want to see again."""
    thoughts = message.get("reasoning_content")
    plain = [{"thinking": thoughts}] if thoughts else []
    for thought in message.get("thinking_blocks") or plain:
        more = {name: thought[name] for name in thought if name not in ("type", "thinking")}
        yield ThinkingBlock(content=thought.get("thinking"), additional_information=more)


def thoughts_in(message: ChatMessage) -> dict[str, Any]:
    """The thoughts of a model's answer, in LiteLLM's names."""
    thinking = [block for block in message.blocks if isinstance(block, ThinkingBlock)]
    thoughts = "".join(block.content or "" for block in thinking)
    signed = [
        {"type": "thinking", "thinking": block.content or "", **block.additional_information}
        for block in thinking
        if block.additional_information.get("signature")
    ]
    found = {"reasoning_content": thoughts, "thinking_blocks": signed}
    return {name: value for name, value in found.items() if value}


def with_thoughts(message: ChatMessage, response: RoutedResponse, pool: str) -> ChatMessage:
    """The message with what its model wants back, once the tools that it calls have answered."""
    thoughts = thoughts_of(response.message)
    if not (thoughts and calls_in(message)):
        return message
    kept = {MADE_BY: response.model, "pool": pool, **thoughts}
    known = {**message.additional_kwargs, _THOUGHTS: kept}
    return message.model_copy(update={"additional_kwargs": known})


def _thoughts(message: ChatMessage, pool: str) -> dict[str, Any]:
    kept = dict(message.additional_kwargs.get(_THOUGHTS) or {})
    return kept if kept.pop("pool", None) == pool else {}


def _tool_loop(messages: Sequence[ChatMessage]) -> Iterator[int]:
    """Positions of what called tools since the last answer."""
    for position in reversed(range(len(messages))):
        if _SAME_ROLE.get(messages[position].role, messages[position].role) == "assistant":
            if not calls_in(messages[position]):
                return
            yield position


def first_tool_call_only(message: ChatMessage) -> ChatMessage:
    """The message without its tool calls after the first."""
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    kept = [block for block in message.blocks if not any(block is call for call in calls[1:])]
    known = dict(message.additional_kwargs)
    if _CALLS in known:
        known[_CALLS] = known[_CALLS][:1]
    return message.model_copy(update={"blocks": kept, "additional_kwargs": known})


def _tool_call_block(call: Mapping[str, Any]) -> ToolCallBlock:
    """A tool call in OpenAI format as a block; arguments that are no JSON object stay text."""
    function = call["function"]
    return ToolCallBlock(
        tool_call_id=call["id"],
        tool_name=function["name"],
        tool_kwargs=_arguments(function["arguments"]),
    )


def _arguments(text: str) -> dict[str, Any] | str:
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def _to_openai(message: ChatMessage) -> dict[str, Any]:
    known = message.additional_kwargs
    calls = calls_in(message)
    made = parts(_said(message.blocks))
    text = as_text(made)  # one string where all is text, for not every server takes parts
    converted: dict[str, Any] = {
        "role": _SAME_ROLE.get(message.role, message.role.value),
        "content": made if text is None else None if calls and not made else text,
    }
    if calls:
        converted["tool_calls"] = calls
    if message.role is MessageRole.TOOL and "tool_call_id" in known:
        converted["tool_call_id"] = known["tool_call_id"]
    if known.get("name"):
        converted["name"] = known["name"]
    return converted


def _said(blocks: Sequence[ContentBlock]) -> Iterator[ContentBlock]:
    """The blocks that are content; a cache point after another kind of block marks none."""
    for before, block in zip((None, *blocks), blocks, strict=False):
        marks = isinstance(before, _IN_MESSAGE) and isinstance(block, CachePoint)
        if not (marks or isinstance(block, _IN_MESSAGE)):
            yield block


def _tool_answer(message: dict[str, Any]) -> tuple[dict[str, Any], list[Part]]:
    """A tool's message with its text alone, and whatever else it brought."""
    if isinstance(message["content"], str):
        return message, []
    texts = [part for part in message["content"] if part["type"] == "text"]
    brought = [part for part in message["content"] if part["type"] != "text"]
    text = as_text(texts)
    return {**message, "content": texts if text is None else text}, brought


def _with_call_id(message: dict[str, Any], waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """The tool's message with the id of the first call that it may answer, of those that wait.

    Without an id it answers any; where a call had none, an agent gives it the tool's name.
    """
    given = message.get("tool_call_id")
    for call in waiting:
        if given in (None, call["id"], call["function"]["name"]):
            waiting.remove(call)
            return {**message, "tool_call_id": call["id"]}
    return message


def _from_tools(brought: Sequence[Part]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(brought)}] if brought else []


def calls_in(message: ChatMessage) -> list[dict[str, Any]]:
    """Tool calls of the blocks, else those that older integrations left beside them."""
    calls = [
        _call(block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    calls = calls or [_plain(call) for call in message.additional_kwargs.get(_CALLS) or ()]
    names: list[str] = []
    for call in calls:
        names.append(name := call["function"]["name"])
        same = names.count(name)
        call["id"] = call["id"] or (name if same == 1 else f"{name}_{same}")
    return calls


def _call(call_id: str | None, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": text or "{}"},  # some servers give none
    }


def _plain(call: Any, other_id: str | None = None) -> dict[str, Any]:
    """A call as plain data; some servers give it no id."""
    data: Mapping[str, Any] = call if isinstance(call, Mapping) else call.model_dump()
    function = data.get("function") or {}
    name, arguments = function.get("name") or "", function.get("arguments") or ""
    return _call(data.get("id") or other_id, name, arguments)
