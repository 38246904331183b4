"""Tool calls and their results as earlier turns."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import CHATS, collected, last, text
from tests.llamaindex_suite.tools import BOTH, DOORS, TOOLS


def _history(*blocks: Any) -> list[ChatMessage]:
    call = ToolCallBlock(tool_call_id="c1", tool_name="multiply", tool_kwargs={"a": 6, "b": 7})
    return [
        ChatMessage("Please multiply 6 by 7."),
        ChatMessage(role="assistant", blocks=list(blocks) or [call]),
        _result("c1", "42"),
    ]


def _result(call_id: str, content: str) -> ChatMessage:
    return ChatMessage(content, role="tool", additional_kwargs={"tool_call_id": call_id})


class History(Capabilities):
    """What an agent sends back to the model."""

    @pytest.mark.parametrize("door", CHATS)
    async def test_tool_calls_go_out(self, door: str) -> None:
        """A `ToolCallBlock` goes out among tool_calls, arguments as JSON text."""
        self.needs("supports_tools")
        response = await last(self.llm(), door, _history())
        _, asked, result = self.provider.last["messages"]
        [call] = asked["tool_calls"]
        assert (call["id"], call["type"]) == ("c1", "function")
        assert call["function"]["name"] == "multiply"
        assert json.loads(call["function"]["arguments"]) == {"a": 6, "b": 7}
        assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "c1", "42")
        assert text(response).endswith("42")

    async def test_arguments_as_text(self) -> None:
        """Arguments that are text already go out as they are: do not encode them twice."""
        self.needs("supports_tools")
        block = ToolCallBlock(tool_call_id="c1", tool_name="multiply", tool_kwargs='{"a": 6}')
        await last(self.llm(), "achat", _history(block))
        [call] = self.provider.last["messages"][1]["tool_calls"]
        assert call["function"]["arguments"] == '{"a": 6}'

    async def test_text_beside_tool_calls(self) -> None:
        """Text beside a call is sent with it."""
        self.needs("supports_tools")
        block = ToolCallBlock(tool_call_id="c1", tool_name="multiply", tool_kwargs={"a": 6})
        await last(self.llm(), "achat", _history(TextBlock(text="Let me see."), block))
        asked = self.provider.last["messages"][1]
        assert "Let me see." in str(asked["content"])
        assert len(asked["tool_calls"]) == 1

    async def test_several_tool_calls(self) -> None:
        """Calls of one turn stay in one message, each answered by its own."""
        self.needs("supports_tools")
        blocks = [ToolCallBlock(tool_call_id=f"c{i}", tool_name="multiply") for i in (1, 2)]
        await last(self.llm(), "achat", [*_history(*blocks), _result("c2", "43")])
        assert [call["id"] for call in self.provider.last["messages"][1]["tool_calls"]] == [
            "c1",
            "c2",
        ]

    async def test_tool_calls_of_older_messages(self) -> None:
        """Stored chats have OpenAI's dictionaries under additional_kwargs: send them too."""
        self.needs("supports_tools")
        function = {"name": "multiply", "arguments": '{"a": 6, "b": 7}'}
        call = {"id": "c1", "type": "function", "function": function}
        history = _history()
        history[1] = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]})
        await last(self.llm(), "achat", history)
        assert self.provider.last["messages"][1]["tool_calls"] == [call]

    @pytest.mark.parametrize("door", DOORS)
    async def test_an_answer_with_calls_goes_back(self, door: str) -> None:
        """The answer's own message is a turn: it is sent back as it came."""
        self.needs("supports_tools")
        llm, ask = self.llm(), ChatMessage(BOTH)
        called = getattr(llm, door)(TOOLS, ask, allow_parallel_tool_calls=True)
        answer = (await collected(called))[-1]
        calls = llm.get_tool_calls_from_response(answer)
        results = [_result(call.tool_id, f"result {i}") for i, call in enumerate(calls)]
        end = await llm.achat_with_tools(TOOLS, chat_history=[ask, answer.message, *results])
        assert text(end).endswith("result 1")
        sent = self.provider.last["messages"][1]["tool_calls"]
        assert [json.loads(call["function"]["arguments"]) for call in sent] == [
            {"a": 6, "b": 7},
            {"city": "Rome"},
        ]

    @pytest.mark.parametrize("door", DOORS)
    async def test_the_history_is_not_changed(self, door: str) -> None:
        """`chat_history` is the caller's: copy the list before the question is appended."""
        self.needs("supports_tools")
        history = [ChatMessage("Hello."), ChatMessage("Hello you.", role="assistant")]
        before = copy.deepcopy(history)
        await collected(getattr(self.llm(), door)(TOOLS, "And 8 by 9?", chat_history=history))
        assert history == before

    async def test_an_empty_result(self) -> None:
        """A tool that gives nothing has answered: send an empty text, not null."""
        self.needs("supports_tools")
        history = [*_history()[:2], _result("c1", "")]
        await last(self.llm(), "achat", history)
        assert self.provider.last["messages"][-1]["content"] == ""

    async def test_a_dumped_history(self) -> None:
        """Chat stores dump messages as JSON: what is read back is sent alike."""
        self.needs("supports_tools")
        stored = [ChatMessage.model_validate_json(each.model_dump_json()) for each in _history()]
        await last(self.llm(), "achat", stored)
        assert self.provider.last["messages"][1]["tool_calls"][0]["id"] == "c1"
