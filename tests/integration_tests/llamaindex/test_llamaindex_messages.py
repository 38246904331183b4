"""What of a LlamaIndex message reaches a model, and what of its answer comes back."""

from __future__ import annotations

import base64
import io
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
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from bestroute.errors import NoEligibleArmError, RequestError
from llamaindex_bestroute import BestRouteLLM
from tests.servers import ChatServer, Reply

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PDF = b"%PDF-1.4 a paper"
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"


@pytest.fixture
def sent(one_model: Any, chat_server: ChatServer) -> Any:
    """What the server gets for messages, as OpenAI messages."""

    def send(*messages: ChatMessage) -> list[dict[str, Any]]:
        before = [message.model_dump() for message in messages]
        BestRouteLLM(one_model).chat(messages)
        assert [message.model_dump() for message in messages] == before  # it is the caller's
        body = chat_server.requests[-1]
        return list(body["messages"])

    return send


def test_text(sent: Any) -> None:
    assert sent(
        ChatMessage("Be brief.", role="system"),
        ChatMessage(blocks=[TextBlock(text="one"), TextBlock(text="two")]),
        ChatMessage("hm", role="assistant"),
        ChatMessage("well", role=MessageRole.CHATBOT),
        ChatMessage("so", role=MessageRole.MODEL),
        ChatMessage("Ada here", additional_kwargs={"name": "ada"}),
        ChatMessage("3", role="function", additional_kwargs={"name": "add"}),
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "hm"},
        {"role": "assistant", "content": "well"},
        {"role": "assistant", "content": "so"},
        {"role": "user", "content": "Ada here", "name": "ada"},
        {"role": "function", "content": "3", "name": "add"},
    ]


def test_a_developer_is_a_system_where_only_that_is_known(sent: Any) -> None:
    first, _ = sent(ChatMessage("Be brief.", role="developer"), ChatMessage("Hi"))
    assert first == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("form", ["bytes", "stream", "path", "data url"])
def test_an_image(form: str, one_model: Any, chat_server: ChatServer, tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(PNG)
    block = {
        "bytes": lambda: ImageBlock(image=PNG),
        "stream": lambda: ImageBlock(image=io.BytesIO(PNG)),
        "path": lambda: ImageBlock(path=path),
        "data url": lambda: ImageBlock(url=PNG_URL),
    }[form]()
    message = ChatMessage(blocks=[TextBlock(text="What is this?"), block])
    for _ in range(2):  # a stream is read from its start each time
        BestRouteLLM(one_model).chat([message])
    text, image = chat_server.requests[-1]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image == {"type": "image_url", "image_url": {"url": PNG_URL}}


def test_an_image_on_the_web(sent: Any) -> None:
    block = ImageBlock(url="https://example.org/cat.jpg", detail="low")
    [message] = sent(ChatMessage(blocks=[block]))
    assert message["content"] == [
        {
            "type": "image_url",
            "image_url": {"url": "https://example.org/cat.jpg", "detail": "low"},
        }
    ]


def test_audio(sent: Any) -> None:
    [message] = sent(ChatMessage(blocks=[AudioBlock(audio=WAV)]))
    data = base64.b64encode(WAV).decode()
    assert message["content"] == [
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    ]


@pytest.mark.parametrize("ending", ["mp3", "mpeg"])
def test_audio_in_a_url_tells_its_format(ending: str, sent: Any) -> None:
    [message] = sent(ChatMessage(blocks=[AudioBlock(url=f"data:audio/{ending};base64,aGFsbG8=")]))
    audio = {"data": "aGFsbG8=", "format": "mp3"}
    assert message["content"] == [{"type": "input_audio", "input_audio": audio}]


@pytest.mark.parametrize("form", ["bytes", "base64", "stream", "path"])
def test_a_document(form: str, sent: Any, tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(PDF)
    block = {
        "bytes": lambda: DocumentBlock(data=PDF, title="paper.pdf"),
        "base64": lambda: DocumentBlock(data=base64.b64encode(PDF), title="paper"),
        "stream": lambda: DocumentBlock(data=io.BytesIO(PDF), title="paper.pdf"),
        "path": lambda: DocumentBlock(path=path, title="paper"),
    }[form]()
    [message] = sent(ChatMessage(blocks=[TextBlock(text="Sum it up."), block]))
    data = base64.b64encode(PDF).decode()
    file = {"filename": "paper.pdf", "file_data": f"data:application/pdf;base64,{data}"}
    assert message["content"] == [
        {"type": "text", "text": "Sum it up."},
        {"type": "file", "file": file},
    ]


@pytest.mark.parametrize("name", ["notes.txt", "notes.md", "notes.csv"])
def test_a_document_that_is_text_is_text_to_every_model(
    name: str, sent: Any, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text("Grüße", encoding="utf-8")
    [message] = sent(ChatMessage(blocks=[DocumentBlock(path=path, title="Notes")]))
    assert message == {"role": "user", "content": "Notes\nGrüße"}


@pytest.mark.parametrize(
    "block",
    [
        DocumentBlock(data="Grüße".encode(), title="Notes"),
        DocumentBlock(data=b'{"a": 1}', title="Notes", document_mimetype="application/json"),
    ],
)
def test_so_is_one_of_another_kind_that_can_be_read(block: DocumentBlock, sent: Any) -> None:
    [message] = sent(ChatMessage(blocks=[block]))
    assert message["content"] in ("Notes\nGrüße", 'Notes\n{"a": 1}')


@pytest.mark.parametrize("mime", [None, "video/webm"])
def test_a_video(mime: str | None, sent: Any) -> None:
    [message] = sent(ChatMessage(blocks=[VideoBlock(video=MP4, video_mimetype=mime)]))
    data = base64.b64encode(MP4).decode()
    url = f"data:{mime or 'video/mp4'};base64,{data}"
    file = {"filename": "video", "file_data": url}
    assert message["content"] == [{"type": "file", "file": file}]


@pytest.mark.parametrize(
    ("need", "block"),
    [
        ("vision", ImageBlock(image=PNG)),
        ("audio", AudioBlock(audio=WAV)),
        ("video", VideoBlock(video=MP4)),
        ("documents", DocumentBlock(data=PDF)),
    ],
)
def test_a_model_that_cannot_take_it_is_not_asked(
    need: str, block: ContentBlock, pool: Any, chat_server: ChatServer
) -> None:
    pool["models"][1][need] = True
    response = BestRouteLLM(pool).chat([ChatMessage(blocks=[block])])
    assert response.raw["bestroute"]["arm"] == "openai/big:1"
    assert [body["model"] for body in chat_server.requests] == ["big"]
    del pool["models"][1][need]
    with pytest.raises(NoEligibleArmError, match=need):
        BestRouteLLM(pool).chat([ChatMessage(blocks=[block])])


def test_what_is_cited_is_text(sent: Any) -> None:
    citation = CitationBlock(
        cited_content="C, G, D, A", source="s", title="Strings", additional_location_info={}
    )
    block = CitableBlock(title="Strings", source="s", content="The cello is tuned in fifths.")
    messages = sent(
        ChatMessage(blocks=[block, TextBlock(text="How?")]),
        ChatMessage(blocks=[TextBlock(text="So:"), citation], role="assistant"),
        ChatMessage("Thanks"),
    )
    assert messages[0]["content"] == "Strings (s)\nThe cello is tuned in fifths.\nHow?"
    assert messages[1]["content"] == "So:\nStrings (s)\nC, G, D, A"


def test_what_is_cited_may_be_an_image(sent: Any) -> None:
    block = CitableBlock(title="A dot", source="s", content=[ImageBlock(image=PNG)])
    [message] = sent(ChatMessage(blocks=[block]))
    assert message["content"] == [
        {"type": "text", "text": "A dot (s)"},
        {"type": "image_url", "image_url": {"url": PNG_URL}},
    ]


@pytest.mark.parametrize(
    ("provider", "mark"),
    [("openai", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}), ("together_ai", {})],
)
def test_a_cache_point_goes_to_who_may_know_it(
    provider: str, mark: Any, one_model: Any, chat_server: ChatServer
) -> None:
    one_model["models"][0]["model"] = f"{provider}/big"  # the one may be any compatible server
    point = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))
    message = ChatMessage(blocks=[TextBlock(text="Long"), point, TextBlock(text="Short")])
    BestRouteLLM(one_model).chat([message])
    [body] = chat_server.requests
    long, short = body["messages"][0]["content"]
    assert long == {"type": "text", "text": "Long", **mark}
    assert short == {"type": "text", "text": "Short"}


def test_a_cache_point_after_a_tool_call_marks_nothing(sent: Any) -> None:
    point = CachePoint(cache_control=CacheControl(type="ephemeral"))
    call = ToolCallBlock(tool_call_id="c1", tool_name="add")
    _, asked, _ = sent(
        ChatMessage("1 + 2?"),
        ChatMessage(role="assistant", blocks=[TextBlock(text="So:"), call, point]),
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    )
    assert asked["content"] == "So:"


def test_what_tools_bring_beside_text_comes_from_the_user(sent: Any) -> None:
    calls = [ToolCallBlock(tool_call_id=each, tool_name="draw") for each in ("c1", "c2")]
    blocks = [TextBlock(text="A dot"), ImageBlock(image=PNG)]
    *_, first, second, brought, last = sent(
        ChatMessage("Draw two."),
        ChatMessage(role="assistant", blocks=list(calls)),
        ChatMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage(role="tool", blocks=blocks[1:], additional_kwargs={"tool_call_id": "c2"}),
        ChatMessage("Nice."),
    )
    image = {"type": "image_url", "image_url": {"url": PNG_URL}}
    assert first == {"role": "tool", "content": "A dot", "tool_call_id": "c1"}
    assert second == {"role": "tool", "content": "", "tool_call_id": "c2"}
    assert brought == {"role": "user", "content": [image, image]}
    assert last == {"role": "user", "content": "Nice."}


class _Unknown(TextBlock):
    """A kind of block that LlamaIndex may have one day."""


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (CachePoint(cache_control=CacheControl(type="ephemeral")), "CachePoint"),
        (DocumentBlock(data=b"\xff\xfe\x00", title="What"), "document block 'What'"),
        (DocumentBlock(url="https://example.org/a.pdf"), "document block with a url"),
        (VideoBlock(url="https://example.org/a.mp4"), "video block with a url"),
        (AudioBlock(url="https://example.org/a.wav"), "audio block with a url"),
        (ImageBlock(url="file:///dot.png"), "image block with the url 'file:///dot.png'"),
        (ImageBlock(), "image block cannot be read"),
        (VideoBlock(), "video block cannot be read"),
        (DocumentBlock(path="/absent/paper.pdf"), "document block cannot be read"),
        (_Unknown(text="?"), "_Unknown"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(
    block: ContentBlock, named: str, one_model: Any, chat_server: ChatServer
) -> None:
    with pytest.raises(RequestError) as caught:
        BestRouteLLM(one_model).chat([ChatMessage(blocks=[block])])
    assert named in str(caught.value)
    assert not chat_server.requests


def test_a_history_with_tool_calls(sent: Any) -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1, "b": 2})
    raw = ToolCallBlock(tool_call_id="c2", tool_name="add", tool_kwargs='{"a": 3')
    messages = sent(
        ChatMessage("1 + 2?"),
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hmm"), call, raw]),
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage("error", role="tool", additional_kwargs={"tool_call_id": "c2"}),
        ChatMessage("3", role="assistant", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage("Thanks"),
    )
    assert messages[1] == {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a": 3'}},
        ],
    }
    assert messages[2] == {"role": "tool", "content": "3", "tool_call_id": "c1"}
    assert messages[4] == {"role": "assistant", "content": "3"}


@pytest.mark.parametrize("given", [{}, {"tool_call_id": "add"}])
def test_tool_calls_without_ids_are_told_apart(given: dict[str, str], sent: Any) -> None:
    calls = [ToolCallBlock(tool_name="add", tool_kwargs=kwargs) for kwargs in ({"a": 1}, "")]
    _, asked, first, second = sent(
        ChatMessage("Add."),
        ChatMessage(role="assistant", blocks=list(calls)),
        ChatMessage("1", role="tool", additional_kwargs=given),
        ChatMessage("2", role="tool", additional_kwargs=given),
    )
    ids = [call["id"] for call in asked["tool_calls"]]
    assert len(set(ids)) == 2
    assert [first["tool_call_id"], second["tool_call_id"]] == ids
    assert [call["function"]["arguments"] for call in asked["tool_calls"]] == ['{"a": 1}', "{}"]


def test_a_call_without_arguments(one_model: Any, chat_server: ChatServer) -> None:
    function = {"name": "now", "arguments": ""}
    call = {"id": "c1", "type": "function", "function": function}
    chat_server.reply = Reply([{"tool_calls": [call]}])
    [block] = BestRouteLLM(one_model).chat([ChatMessage("When?")]).message.blocks
    assert block == ToolCallBlock(tool_call_id="c1", tool_name="now", tool_kwargs={})


def test_tool_calls_that_older_integrations_left(sent: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = sent(
        ChatMessage("1 + 2?"),
        ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]}),
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    )
    assert messages[1] == {"role": "assistant", "tool_calls": [call]}


def test_an_answer_with_thoughts_and_tool_calls(one_model: Any, chat_server: ChatServer) -> None:
    calls = [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
        },
        {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "no JSON"}},
    ]
    message = {"content": "Let me see", "reasoning_content": "They add.", "tool_calls": calls}
    chat_server.reply = Reply([message])
    response = BestRouteLLM(one_model).chat([ChatMessage("1 + 2?")])
    assert response.message.role == MessageRole.ASSISTANT
    assert response.message.blocks == [
        ThinkingBlock(content="They add."),
        TextBlock(text="Let me see"),
        ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1, "b": 2}),
        ToolCallBlock(tool_call_id="c2", tool_name="add", tool_kwargs="no JSON"),
    ]
    assert response.raw["finish_reason"] == "tool_calls"
