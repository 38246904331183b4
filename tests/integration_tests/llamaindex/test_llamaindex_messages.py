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
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from bestroute.errors import RequestError
from llamaindex_bestroute import BestRouteLLM
from tests.servers import ChatServer, Reply

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"


@pytest.fixture
def sent(one_model: Any, chat_server: ChatServer) -> Any:
    """What the server gets for messages, as OpenAI messages."""

    def send(*messages: ChatMessage) -> list[dict[str, Any]]:
        before = [message.model_copy(deep=True) for message in messages]
        BestRouteLLM(one_model).chat(messages)
        assert list(messages) == before  # the caller's history is the caller's
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
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "hm"},
        {"role": "assistant", "content": "well"},
        {"role": "assistant", "content": "so"},
        {"role": "user", "content": "Ada here", "name": "ada"},
    ]


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


def test_a_model_that_cannot_see_is_not_asked(pool: Any, chat_server: ChatServer) -> None:
    pool["models"][1]["vision"] = True
    response = BestRouteLLM(pool).chat([ChatMessage(blocks=[ImageBlock(image=PNG)])])
    assert response.raw["bestroute"]["arm"] == "openai/big:1"
    assert [body["model"] for body in chat_server.requests] == ["big"]


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (DocumentBlock(data=b"%PDF-1.4"), "'document' (DocumentBlock)"),
        (VideoBlock(video=b"0000"), "'video' (VideoBlock)"),
        (CachePoint(cache_control=CacheControl(type="ephemeral")), "'cache' (CachePoint)"),
        (CitableBlock(title="t", source="s", content="c"), "'citable' (CitableBlock)"),
        (AudioBlock(url="https://example.org/a.wav"), "audio block with a url"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(
    block: ContentBlock, named: str, one_model: Any, chat_server: ChatServer
) -> None:
    with pytest.raises(RequestError) as caught:
        BestRouteLLM(one_model).chat([ChatMessage(blocks=[TextBlock(text="?"), block])])
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
