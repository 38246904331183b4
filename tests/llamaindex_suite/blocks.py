"""Content blocks other than text."""

from __future__ import annotations

import copy
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    VideoBlock,
)

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import CHATS, last, responses, text

PNG = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
WAV = b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"


def _data(data: bytes) -> str:
    return b64encode(data).decode()


# What must be found in the request, unless the block is refused; nothing of a hint.
_BLOCKS: dict[str, tuple[Any, str]] = {
    "image": (ImageBlock(image=PNG), _data(PNG)),
    "audio": (AudioBlock(audio=WAV, format="wav"), _data(WAV)),
    "document": (DocumentBlock(data=PDF, document_mimetype="application/pdf"), _data(PDF)),
    "video": (VideoBlock(video=MP4, video_mimetype="video/mp4"), _data(MP4)),
    "citable": (CitableBlock(title="Atlas", source="a", content="Mount Rainier"), "Mount Rainier"),
    "citation": (
        CitationBlock(
            cited_content="Mount Baker", source="a", title="Atlas", additional_location_info={}
        ),
        "Mount Baker",
    ),
    "cache": (CachePoint(cache_control=CacheControl(type="ephemeral")), ""),
}


class Blocks(Capabilities):
    """Images, audio, documents, thoughts and the rest."""

    @pytest.mark.parametrize("door", CHATS)
    async def test_image(self, door: str) -> None:
        """An image's bytes go out as a data URL of its type, in an image_url part."""
        self.needs("supports_images")
        await last(self.llm(), door, [_with(ImageBlock(image=PNG, detail="low"))])
        part = self._sent()[1]
        assert part["image_url"]["url"] == f"data:image/png;base64,{_data(PNG)}"
        assert part["image_url"]["detail"] == "low"

    async def test_image_of_a_path(self, tmp_path: Path) -> None:
        """So does the file at a path: read it when asked."""
        self.needs("supports_images")
        path = tmp_path / "dot.png"
        path.write_bytes(PNG)
        await last(self.llm(), "achat", [_with(ImageBlock(path=path))])
        assert self._sent()[1]["image_url"]["url"] == f"data:image/png;base64,{_data(PNG)}"

    async def test_image_of_an_address(self) -> None:
        """An image's address goes out as it is: the provider fetches it."""
        self.needs("supports_images")
        url = "https://images.example/dot.png"
        await last(self.llm(), "achat", [_with(ImageBlock(url=url))])
        assert self._sent()[1]["image_url"]["url"] == url

    async def test_audio(self) -> None:
        """Audio goes out as base64 and format, in an input_audio part."""
        self.needs("supports_audio")
        await last(self.llm(), "achat", [_with(AudioBlock(audio=WAV, format="wav"))])
        assert self._sent()[1]["input_audio"] == {"data": _data(WAV), "format": "wav"}

    async def test_audio_of_a_path(self, tmp_path: Path) -> None:
        """So does the file at a path."""
        self.needs("supports_audio")
        path = tmp_path / "silence.wav"
        path.write_bytes(WAV)
        await last(self.llm(), "achat", [_with(AudioBlock(path=path))])
        assert self._sent()[1]["input_audio"] == {"data": _data(WAV), "format": "wav"}

    async def test_document(self) -> None:
        """A document goes out as a data URL, in a file part."""
        self.needs("supports_documents")
        block = DocumentBlock(data=PDF, title="report.pdf", document_mimetype="application/pdf")
        await last(self.llm(), "achat", [_with(block)])
        assert self._sent()[1]["file"]["file_data"] == f"data:application/pdf;base64,{_data(PDF)}"

    async def test_document_of_a_path(self, tmp_path: Path) -> None:
        """So does the file at a path."""
        self.needs("supports_documents")
        path = tmp_path / "report.pdf"
        path.write_bytes(PDF)
        await last(self.llm(), "achat", [_with(DocumentBlock(path=path))])
        assert self._sent()[1]["file"]["file_data"] == f"data:application/pdf;base64,{_data(PDF)}"

    async def test_blocks_keep_their_order(self) -> None:
        """Text before, between and after: one part each, in order."""
        self.needs("supports_images")
        image = ImageBlock(image=PNG)
        blocks = [TextBlock(text="left"), image, TextBlock(text="right"), image]
        response = await last(self.llm(), "achat", [ChatMessage(blocks=blocks)])
        assert [part["type"] for part in self._sent()] == ["text", "image_url"] * 2
        assert "with image_url" in text(response)

    @pytest.mark.parametrize("kind", list(_BLOCKS))
    async def test_sent_or_refused_by_name(self, kind: str) -> None:
        """A block is sent whole, or refused by its name: raise on types that are not known."""
        block, wanted = _BLOCKS[kind]
        try:
            await last(self.llm(), "achat", [_with(block)])
        except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
            assert block.block_type in str(error) or type(block).__name__ in str(error)
            assert self.provider.refused == []
        else:
            assert wanted in str(self.provider.last["messages"])

    @pytest.mark.parametrize("door", CHATS)
    async def test_thoughts(self, door: str) -> None:
        """A model's reasoning is a thinking block, not text: read reasoning_content."""
        self.needs("supports_thinking")
        response = await last(self.llm(), door, "Think step by step: what is 6 times 7?")
        thoughts = [b for b in response.message.blocks if isinstance(b, ThinkingBlock)]
        assert [each.content for each in thoughts] == ["First this, then that."]
        assert "First this" not in text(response)

    @pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
    async def test_thoughts_are_streamed(self, door: str) -> None:
        """Thoughts come as they grow, before the text: yield on their pieces too."""
        self.needs("supports_thinking", "streams")
        pieces = await responses(self.llm(), door, "Think step by step: what is 6 times 7?")
        first = pieces[0].message.blocks
        early = [p for p in pieces if not text(p) and "First" in str(p.message.blocks)]
        assert early, first

    async def test_thoughts_in_the_history(self) -> None:
        """Thoughts of earlier turns are no text and no error: leave them out."""
        self.needs("supports_thinking")
        thought = [ThinkingBlock(content="hm"), TextBlock(text="42")]
        history = [ChatMessage("6*7?"), ChatMessage(role="assistant", blocks=thought)]
        await last(self.llm(), "achat", [*history, ChatMessage("Sure?")])
        sent = self.provider.last["messages"][1]
        assert (sent["role"], sent["content"]) == ("assistant", "42")

    @pytest.mark.parametrize("door", CHATS)
    async def test_blocks_are_not_changed(self, door: str) -> None:
        """Blocks are the caller's: read them, and leave them as they are."""
        self.needs("supports_images")
        image = ImageBlock(image=PNG)
        history = [_with(image), ChatMessage("A dot.", role="assistant"), _with(image)]
        before = copy.deepcopy(history)
        await last(self.llm(), door, history)
        assert history == before

    def _sent(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.provider.last["messages"][-1]["content"]
        return content


def _with(block: Any) -> ChatMessage:
    return ChatMessage(blocks=[TextBlock(text="What is this?"), block])
