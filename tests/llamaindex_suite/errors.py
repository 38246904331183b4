"""Failures of the provider."""

from __future__ import annotations

import asyncio

import pytest

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import ANSWER, CHATS, DOORS, STREAMS, last, text
from tests.servers import Body, Reply


class Errors(Capabilities):
    """What is tried again, and what is raised."""

    @pytest.mark.parametrize(
        ("door", "status"), list(zip(CHATS, (429, 500, 429, 500), strict=True))
    )
    async def test_passing_failures(self, door: str, status: int) -> None:
        """A passing failure is tried again: give the client a few retries with backoff."""
        failures = iter(["busy"])

        def reply(body: Body) -> Reply:
            failure = next(failures, None)
            return Reply(ANSWER) if failure is None else Reply(failure, status=status)

        self.provider.script = reply
        assert text(await last(self.llm(), door)) == ANSWER

    @pytest.mark.parametrize("status", [400, 401])
    @pytest.mark.parametrize("door", DOORS)
    async def test_refusals_are_raised(self, door: str, status: int) -> None:
        """A refusal is raised, with the provider's words: do not answer with an empty text."""
        self.provider.script = Reply("no such thing", status=status)
        with pytest.raises(Exception, match="no such thing"):
            await last(self.llm(), door)

    @pytest.mark.parametrize("door", STREAMS)
    async def test_a_broken_stream_is_no_answer(self, door: str) -> None:
        """A stream that breaks is raised or made good: never end as if it were whole."""
        cuts = iter([4])
        self.provider.script = lambda body: Reply(ANSWER, cut_after=next(cuts, None))
        [result] = await asyncio.gather(last(self.llm(), door), return_exceptions=True)
        assert isinstance(result, Exception) or text(result) == ANSWER

    async def test_an_llm_survives_a_failure(self) -> None:
        """The next call is a new one: keep no state of one that failed."""
        llm = self.llm()
        self.provider.script = Reply("no such thing", status=400)
        with pytest.raises(Exception, match="no such thing"):
            await last(llm, "achat")
        self.provider.script = None
        assert text(await last(llm, "achat")) == ANSWER

    async def test_errors_hold_no_key(self) -> None:
        """An error is written to logs: leave the key out of its text."""
        self.provider.script = Reply("no such thing", status=401)
        with pytest.raises(Exception, match="no such thing") as raised:
            await last(self.llm(), "achat")
        assert self.api_key not in f"{raised.value!s}{raised.value!r}"
