"""Function calling."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.tools import FunctionTool

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import ANSWER, ASK, collected, text
from tests.servers import Reply


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It rains in {city}."


MULTIPLY = FunctionTool.from_defaults(multiply)
WEATHER = FunctionTool.from_defaults(weather)
TOOLS = [MULTIPLY, WEATHER]

DOORS = ("chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools")
BOTH = "Please multiply 6 by 7, and tell the weather in 'Rome'."


class Tools(Capabilities):
    """Tools offered and called."""

    @pytest.mark.parametrize("door", DOORS)
    async def test_tool_call(self, door: str) -> None:
        """A call is a name and parsed arguments: send tools in OpenAI format, read tool_calls."""
        _, [call] = await self._called(door, "Please multiply 6 by 7.")
        assert (call.tool_name, call.tool_kwargs) == ("multiply", {"a": 6, "b": 7})
        assert call.tool_id
        [offered, _] = [tool["function"] for tool in self.provider.last["tools"]]
        assert offered["description"].endswith("Multiply two numbers.")
        assert set(offered["parameters"]["properties"]) == {"a", "b"}

    @pytest.mark.parametrize("door", DOORS)
    async def test_tool_call_blocks(self, door: str) -> None:
        """The answer holds a call as a `ToolCallBlock`: agents keep messages, not kwargs."""
        response, _ = await self._called(door, "Please multiply 6 by 7.")
        [block] = [b for b in response.message.blocks if isinstance(b, ToolCallBlock)]
        assert (block.tool_name, bool(block.tool_call_id)) == ("multiply", True)

    @pytest.mark.parametrize("door", DOORS)
    async def test_parallel_tool_calls(self, door: str) -> None:
        """Several calls where they are allowed: keep them all, apart by index."""
        _, calls = await self._called(door, BOTH, allow_parallel_tool_calls=True)
        assert [(call.tool_name, call.tool_kwargs) for call in calls] == [
            ("multiply", {"a": 6, "b": 7}),
            ("weather", {"city": "Rome"}),
        ]
        assert len({call.tool_id for call in calls}) == 2

    @pytest.mark.parametrize("door", DOORS)
    async def test_no_parallel_tool_calls(self, door: str) -> None:
        """One call where several are not allowed: send parallel_tool_calls, or drop the rest."""
        _, calls = await self._called(door, BOTH)
        assert [call.tool_name for call in calls] == ["multiply"]

    @pytest.mark.parametrize("door", DOORS)
    async def test_no_tool_call(self, door: str) -> None:
        """A text is an answer too: no call is an error only where one is expected."""
        self.needs("supports_tools")
        llm = self.llm()
        response = (await collected(getattr(llm, door)(TOOLS, ASK)))[-1]
        assert text(response) == ANSWER
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        with pytest.raises(ValueError, match="tool call"):
            llm.get_tool_calls_from_response(response)

    @pytest.mark.parametrize("door", DOORS)
    async def test_tool_required(self, door: str) -> None:
        """`tool_required` asks for some call: send tool_choice required."""
        _, [call] = await self._called(door, ASK, tool_required=True)
        assert call.tool_name in ("multiply", "weather")
        assert self.provider.last["tool_choice"] == "required"

    async def test_tool_choice_of_openai(self) -> None:
        """`tool_choice` in OpenAI's own form goes out as it is."""
        choice = {"type": "function", "function": {"name": "weather"}}
        _, [call] = await self._called("achat_with_tools", BOTH, tool_choice=choice)
        assert call.tool_name == "weather"
        assert self.provider.last["tool_choice"] == choice

    @pytest.mark.parametrize("choice", ["weather", "required", "none"])
    async def test_tool_choice_by_name(self, choice: str) -> None:
        """A tool's name is made OpenAI's form; auto, none and required stay as they are."""
        self.needs("supports_tools", "supports_tool_choice")
        llm = self.llm()
        response = await llm.achat_with_tools(TOOLS, BOTH, tool_choice=choice)
        calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        names = {"weather": ["weather"], "required": ["multiply"], "none": []}
        assert [call.tool_name for call in calls] == names[choice]

    @pytest.mark.parametrize("door", DOORS)
    async def test_without_tools(self, door: str) -> None:
        """No tools are no parameter: send neither an empty list nor a tool_choice."""
        self.needs("supports_tools")
        response = (await collected(getattr(self.llm(), door)([], ASK)))[-1]
        assert text(response) == ANSWER
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(self.provider.last)

    async def test_a_stream_of_tool_calls(self) -> None:
        """Calls can be read all along a stream: parse unfinished arguments as far as they go."""
        self.needs("supports_tools")
        llm = self.llm()
        pieces = await collected(llm.stream_chat_with_tools([MULTIPLY], "Please multiply 6 by 7."))
        for piece in pieces:
            for call in llm.get_tool_calls_from_response(piece, error_on_no_tool_call=False):
                assert isinstance(call.tool_kwargs, dict)

    @pytest.mark.parametrize("arguments", ['{"a": 6, "b":', "", "[]", "six", '{"a": 6} {"a": 6}'])
    async def test_broken_arguments(self, arguments: str) -> None:
        """Arguments that are no JSON object do not crash the reader: give what can be read."""
        self.needs("supports_tools")
        llm = self.llm()
        function = {"name": "multiply", "arguments": arguments}
        broken = {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}
        self.provider.script = lambda body: Reply([broken] * (body.get("n") or 1))
        response = await llm.achat_with_tools([MULTIPLY], "Please multiply 6 by 7.")
        for call in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False):
            assert call.tool_name == "multiply"
            assert isinstance(call.tool_kwargs, dict)

    async def test_predict_and_call(self) -> None:
        """`predict_and_call` calls the tool: say in `metadata` that the model can call tools."""
        self.needs("supports_tools")
        llm, ask = self.llm(), "Please multiply 6 by 7."
        answers = [llm.predict_and_call(TOOLS, ask), await llm.apredict_and_call(TOOLS, ask)]
        for answer in answers:
            assert answer.response == "42"
            assert [source.raw_output for source in answer.sources] == [42]

    async def test_predict_and_call_in_parallel(self) -> None:
        """And all tools where several calls are allowed."""
        self.needs("supports_tools")
        llm = self.llm()
        answer = await llm.apredict_and_call(TOOLS, BOTH, allow_parallel_tool_calls=True)
        assert [source.raw_output for source in answer.sources] == [42, "It rains in Rome."]

    async def _called(self, door: str, ask: str, **kwargs: Any) -> tuple[Any, list[Any]]:
        self.needs("supports_tools")
        llm = self.llm()
        response = (await collected(getattr(llm, door)(TOOLS, ChatMessage(ask), **kwargs)))[-1]
        return response, llm.get_tool_calls_from_response(response)
