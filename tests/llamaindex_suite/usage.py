"""Token counts."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import DOORS, collected, last
from tests.llamaindex_suite.tools import MULTIPLY


def _estimate(text: str) -> list[int]:
    raise AssertionError("the count is an estimate, not the provider's")


class Usage(Capabilities):
    """What an answer costs: as billed, retries and further samples included."""

    @pytest.mark.parametrize("door", DOORS)
    async def test_token_counter(self, door: str) -> None:
        """`TokenCountingHandler` counts what is billed: put usage into `raw` under "usage"."""
        counter = self._counter()
        await last(self.llm(callback_manager=CallbackManager([counter])), door)
        self._assert_counted(counter)

    @pytest.mark.parametrize("door", DOORS)
    async def test_usage_of_a_response(self, door: str) -> None:
        """The complete response says it: put the three counts into `additional_kwargs`."""
        self.needs("reports_usage")
        response = await last(self.llm(), door)
        billed = self.provider.billed
        assert {kind: response.additional_kwargs.get(kind) for kind in billed} == billed

    async def test_usage_of_many_calls(self) -> None:
        """Counts of several calls add up: each has its own."""
        counter = self._counter()
        llm = self.llm(callback_manager=CallbackManager([counter]))
        for door in DOORS:
            await last(llm, door, f"A question through {door}")
        self._assert_counted(counter)

    @pytest.mark.parametrize("door", ["chat_with_tools", "astream_chat_with_tools"])
    async def test_usage_of_tool_calls(self, door: str) -> None:
        """Tool calls are billed like text."""
        self.needs("supports_tools")
        counter = self._counter()
        llm = self.llm(callback_manager=CallbackManager([counter]))
        await collected(getattr(llm, door)([MULTIPLY], "Please multiply 6 by 7."))
        self._assert_counted(counter)

    async def test_usage_of_a_cut_answer(self) -> None:
        """So is an answer that was cut short."""
        counter = self._counter()
        llm = self.llm(callback_manager=CallbackManager([counter]), max_tokens=3)
        await last(llm, "achat", [ChatMessage("one two three four five")])
        self._assert_counted(counter)

    def _counter(self) -> TokenCountingHandler:
        self.needs("reports_usage")
        return TokenCountingHandler(tokenizer=_estimate)

    def _assert_counted(self, counter: TokenCountingHandler) -> None:
        billed: dict[str, Any] = self.provider.billed
        assert billed["total_tokens"] > 0
        assert counter.prompt_llm_token_count == billed["prompt_tokens"]
        assert counter.completion_llm_token_count == billed["completion_tokens"]
        assert counter.total_llm_token_count == billed["total_tokens"]
