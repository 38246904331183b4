"""Content blocks of every format, in those that LangChain can put into OpenAI's."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import HumanMessage

Block = str | dict[str, Any]

# All else of an assistant is only valid for the model that wrote it (thoughts, tools of its
# provider), or is in `tool_calls` as well.
_OF_ASSISTANTS = ("text", "refusal", "image", "image_url")


def of_assistant(blocks: Sequence[Any]) -> list[Block]:
    """What any model may be told that an assistant has said: texts, refusals, images."""
    return [
        block for block in blocks if isinstance(block, str) or block.get("type") in _OF_ASSISTANTS
    ]


def of_others(blocks: Sequence[Any]) -> list[Block]:
    """What a user, a tool or the system says; documents of Anthropic's, Google's, Bedrock's too.

    Raises:
        ValueError: A block that has no such form.
    """
    return [made for block in blocks for made in _sendable(block)]


def _sendable(block: Any) -> Iterator[Block]:
    if isinstance(block, str):
        yield block
    elif block.get("type") == "media":
        yield _openai(_of_google(block))
    elif "source" in block or "type" not in block:
        for standard in HumanMessage([block]).content_blocks:
            if standard["type"] == "non_standard":
                raise ValueError(
                    f"a block of type {block.get('type')!r} has no form for all models"
                )
            yield _openai(standard)
    else:
        yield _openai(block)


def _of_google(block: Mapping[str, Any]) -> dict[str, Any]:
    mime = str(block.get("mime_type") or "")
    kind = mime.partition("/")[0]
    made = {"type": kind if kind in ("image", "audio", "video") else "file", "mime_type": mime}
    if "file_uri" in block:
        return {**made, "url": block["file_uri"]}
    if "data" not in block:
        raise ValueError("a block of type 'media' has neither data nor a file_uri")
    data = block["data"]
    return {**made, "base64": base64.b64encode(data).decode() if isinstance(data, bytes) else data}


def _openai(block: Mapping[str, Any]) -> dict[str, Any]:
    """What LangChain's own conversion does not know: plain text, addresses and ids of files."""
    known = {**(block.get("extras") or {}), **block}
    if block["type"] == "text-plain" and "text" in block:
        return {"type": "text", "text": block["text"]}
    if block["type"] != "file" or "file" in block:
        return dict(block)
    where = block.get("url") or block.get("file_id") or block.get("id")
    if where and not block.get("base64") and not block.get("data"):
        kind = {"format": block["mime_type"]} if block.get("mime_type") else {}
        return {"type": "file", "file": {"file_id": where, **kind}}
    named = known.get("filename") or known.get("title") or known.get("name")
    return {**block, "filename": named} if named else dict(block)
