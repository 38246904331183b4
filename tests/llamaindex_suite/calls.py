"""The eight methods."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import (
    ANSWER,
    ASK,
    ASYNC,
    CHATS,
    DOORS,
    STREAMS,
    WHOLE,
    collected,
    last,
    responses,
    text,
)

_LONG = " ".join(f"word{i}" for i in range(30))


class Calls(Capabilities):
    """chat, complete, stream_chat, stream_complete and the four async ones."""

    @pytest.mark.parametrize("door", WHOLE)
    async def test_whole_answer(self, door: str) -> None:
        """The model's text, as it is: take it from the first choice's message."""
        [response] = await responses(self.llm(), door)
        assert text(response) == ANSWER

    @pytest.mark.parametrize("door", CHATS)
    async def test_role_of_the_answer(self, door: str) -> None:
        """Every response of a chat is the assistant's: give its message that role."""
        for response in await responses(self.llm(), door):
            assert response.message.role is MessageRole.ASSISTANT

    @pytest.mark.parametrize("door", STREAMS)
    async def test_deltas_add_up(self, door: str) -> None:
        """`delta` is what is new, the text all so far: keep a running text, yield both."""
        so_far = ""
        for response in await responses(self.llm(), door):
            so_far += response.delta or ""
            assert text(response) == so_far
        assert so_far == ANSWER

    @pytest.mark.parametrize("door", STREAMS)
    async def test_streams_as_it_comes(self, door: str) -> None:
        """Pieces are passed on at once: yield inside the loop over the provider's chunks."""
        self.needs("streams")
        pieces = [each.delta for each in await responses(self.llm(), door, _LONG) if each.delta]
        assert len(pieces) > 10

    @pytest.mark.parametrize("door", DOORS)
    async def test_unicode(self, door: str) -> None:
        """No character is lost: leave escaping to the JSON encoder."""
        ask = "Grüße, 世界! \U0001f30d \u202eabc \\ \" ' {x} {{y}}"
        assert text(await last(self.llm(), door, ask)).endswith(ask)

    def test_without_a_running_loop(self) -> None:
        """The sync methods need no event loop: do not use `get_event_loop`."""
        llm, message = self.llm(), ChatMessage(ASK)
        assert llm.chat([message]).message.content == ANSWER
        assert llm.complete(ASK).text == ANSWER
        assert list(llm.stream_chat([message]))[-1].message.content == ANSWER
        assert list(llm.stream_complete(ASK))[-1].text == ANSWER

    def test_one_loop_after_another(self) -> None:
        """An LLM outlives an event loop: keep no connection of a closed one."""
        llm = self.llm()
        for _ in range(3):
            assert asyncio.run(llm.acomplete(ASK)).text == ANSWER

    @pytest.mark.parametrize("door", ASYNC)
    async def test_calls_overlap(self, door: str) -> None:
        """Async methods are async to the ground: call the provider's async client."""
        llm = self.llm()
        await last(llm, door)  # imports and connections
        self.provider.delay = 0.3
        await asyncio.gather(*(last(llm, door) for _ in range(5)))
        assert self.server.peak >= 5

    @pytest.mark.parametrize("door", ASYNC)
    async def test_the_event_loop_stays_free(self, door: str) -> None:
        """Others go on while a call waits: no blocking call in a coroutine."""
        llm, ticks = self.llm(), 0
        await last(llm, door)
        self.provider.delay = 0.3
        asked = asyncio.create_task(last(llm, door))
        while not asked.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert text(asked.result()) == ANSWER
        assert ticks >= 5

    def test_threads(self) -> None:
        """One LLM answers many threads: keep nothing of a call on the instance."""
        llm, asks = self.llm(), [f"What is {i} and {i}?" for i in range(12)]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda ask: llm.complete(ask).text, asks))
        assert answers == [f"This is the answer to: {ask}" for ask in asks]

    async def test_a_stream_may_be_left_early(self) -> None:
        """Leaving a stream is no error: close the provider's stream with one's own."""
        llm = self.llm()
        stream = llm.stream_chat([ChatMessage(_LONG)])
        next(stream)
        stream.close()
        astream = await llm.astream_chat([ChatMessage(_LONG)])
        await anext(astream)
        await astream.aclose()
        assert text(await last(llm, "achat")) == ANSWER

    async def test_streams_side_by_side(self) -> None:
        """Two streams read in turn do not mix: the running text belongs to the call."""
        llm = self.llm()
        one, other = (llm.stream_complete(f"{name} {_LONG}") for name in ("one", "other"))
        pairs = list(zip(one, other, strict=True))
        assert "one word0" in text(pairs[-1][0])
        assert "other word0" in text(pairs[-1][1])

    async def test_nothing_is_asked_twice(self) -> None:
        """A stream asks when it is read or called, but once: no call to find out first."""
        llm = self.llm()
        await collected(llm.stream_chat([ChatMessage(ASK)]))
        once = len(self.provider.asked)
        await collected(llm.chat([ChatMessage(ASK)]))
        assert len(self.provider.asked) == 2 * once
