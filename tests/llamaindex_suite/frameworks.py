"""Agents and engines built on the LLM."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.embeddings import MockEmbedding

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.structured import Book
from tests.llamaindex_suite.tools import BOTH, TOOLS
from tests.servers import Body, Reply

_FACTS = ["Mount Rainier is 4392 m high.", "The Seine flows through Paris."]
_ASK = "How high is Mount Rainier?"
_STEPS = [
    'Thought: I need a tool.\nAction: multiply\nAction Input: {"a": 6, "b": 7}',
    'Thought: I need another.\nAction: weather\nAction Input: {"city": "Rome"}',
    "Thought: I can answer without using any more tools.\nAnswer: 42, and rain.",
]


class Frameworks(Capabilities):
    """FunctionAgent, ReActAgent, query and chat engines, `Settings`."""

    @pytest.mark.parametrize("streaming", [True, False])
    async def test_function_agent(self, streaming: bool) -> None:
        """A FunctionAgent calls tools and answers: tool calls come and go as blocks."""
        self.needs("supports_tools")
        agent = FunctionAgent(tools=TOOLS, llm=self.llm(), streaming=streaming)
        answer = await agent.run(BOTH)
        assert {call.tool_name: str(call.tool_output) for call in answer.tool_calls} == {
            "multiply": "42",
            "weather": "It rains in Rome.",
        }
        results = [m["content"] for m in self.provider.last["messages"] if m["role"] == "tool"]
        assert results == ["42", "It rains in Rome."]
        assert "It rains in Rome." in str(answer)

    async def test_function_agent_keeps_its_system_prompt(self) -> None:
        """Its system prompt leads every request."""
        self.needs("supports_tools")
        await FunctionAgent(tools=TOOLS, llm=self.llm(), system_prompt="Be brief.").run(BOTH)
        for body in self.provider.asked:
            assert body["messages"][0] == {"role": "system", "content": "Be brief."}

    @pytest.mark.parametrize("streaming", [True, False])
    async def test_react_agent(self, streaming: bool) -> None:
        """A ReActAgent needs texts only: send observations as messages, like any other."""

        def reply(body: Body) -> Reply:
            done = sum("Observation:" in str(m["content"]) for m in body["messages"][1:])
            return Reply(_STEPS[done])

        self.provider.script = reply
        agent = ReActAgent(tools=TOOLS, llm=self.llm(), streaming=streaming)
        answer = await agent.run(BOTH)
        assert str(answer) == "42, and rain."
        assert [str(call.tool_output) for call in answer.tool_calls] == ["42", "It rains in Rome."]

    @pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize"])
    async def test_query_engine(self, mode: str) -> None:
        """A query engine asks with what it found: `metadata` says how much fits."""
        engine = self._index().as_query_engine(llm=self.llm(), response_mode=mode)
        assert _ASK in str(engine.query(_ASK))
        assert _ASK in str(await engine.aquery(_ASK))
        assert all(fact in str(self.provider.asked) for fact in _FACTS)

    async def test_streaming_query_engine(self) -> None:
        """And streams its answer."""
        engine = self._index().as_query_engine(llm=self.llm(), streaming=True)
        assert _ASK in "".join(engine.query(_ASK).response_gen)
        answer = await engine.aquery(_ASK)
        assert _ASK in "".join([piece async for piece in answer.async_response_gen()])

    async def test_structured_query_engine(self) -> None:
        """A structured LLM makes it answer with objects."""
        self.needs("supports_structured_output")
        llm = self.llm().as_structured_llm(Book)
        answer = await self._index().as_query_engine(llm=llm).aquery("Find the book 'Emma'.")
        assert isinstance(answer.response, Book)
        assert answer.response.title == "Emma"

    @pytest.mark.parametrize("mode", ["simple", "context", "condense_plus_context"])
    async def test_chat_engine(self, mode: Any) -> None:
        """A chat engine remembers: turns go out in order, answers included."""
        engine = self._index().as_chat_engine(chat_mode=mode, llm=self.llm())
        await engine.achat("Hello there.")
        answer = await engine.achat(_ASK)
        assert _ASK in str(answer)
        assert "Hello there." in str(self.provider.last["messages"])
        stream = await engine.astream_chat("And the Seine?")
        assert "Seine" in "".join([piece async for piece in stream.async_response_gen()])

    @pytest.mark.usefixtures("settings")
    def test_settings(self) -> None:
        """`Settings.llm` is what engines ask that are given none."""
        Settings.llm = self.llm()
        assert _ASK in str(self._index().as_query_engine().query(_ASK))

    @pytest.mark.usefixtures("settings")
    async def test_tokens_of_a_query_engine(self) -> None:
        """What a query engine costs is counted, by the callbacks of `Settings`."""
        self.needs("reports_usage")
        counter = TokenCountingHandler()
        Settings.callback_manager = CallbackManager([counter])
        await self._index().as_query_engine(llm=self.llm()).aquery(_ASK)
        assert counter.total_llm_token_count == self.provider.billed["total_tokens"] > 0

    def _index(self) -> VectorStoreIndex:
        documents = [Document(text=fact) for fact in _FACTS]
        return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=8))
