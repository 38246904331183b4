"""Sampling parameters, of the LLM and of a call."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import CHATS, DOORS, last, responses, text
from tests.servers import Body, Reply


class Parameters(Capabilities):
    """What reaches the provider."""

    @pytest.mark.parametrize("door", DOORS)
    async def test_kwargs_of_a_call(self, door: str) -> None:
        """Keyword arguments of a call reach the provider: merge them into the request."""
        wanted = {"top_p": 0.5, "seed": 7, "presence_penalty": 0.5}
        await last(self.llm(), door, **wanted)
        assert {name: self.provider.last.get(name) for name in wanted} == wanted

    @pytest.mark.parametrize("door", DOORS)
    async def test_a_call_overrides_the_llm(self, door: str) -> None:
        """A call's own parameters win: merge them last."""
        llm = self.llm(temperature=0.25, max_tokens=50)
        await last(llm, door, temperature=0.75, max_tokens=5)
        assert self.provider.last["temperature"] == 0.75
        assert _longest(self.provider.last) == 5

    async def test_parameters_of_the_llm(self) -> None:
        """Its own parameters hold for every call: send temperature and max_tokens."""
        llm = self.llm(temperature=0.25, max_tokens=50)
        await last(llm, "achat")
        assert self.provider.last["temperature"] == 0.25
        assert _longest(self.provider.last) == 50
        assert llm.metadata.num_output == 50

    async def test_temperature_zero(self) -> None:
        """Zero is a temperature: test for None, not for truth."""
        await last(self.llm(temperature=0), "achat")
        assert self.provider.last["temperature"] == 0

    async def test_temperature_above_one(self) -> None:
        """OpenAI's range ends at 2: do not validate more strictly than the provider."""
        await last(self.llm(temperature=1.5), "achat")
        assert self.provider.last["temperature"] == 1.5

    @pytest.mark.parametrize("door", DOORS)
    async def test_stop_sequences(self, door: str) -> None:
        """The text ends before a stop sequence: pass `stop` on."""
        response = await last(self.llm(), door, "one two STOP three", stop=["STOP"])
        assert self.provider.last["stop"] == ["STOP"]
        assert text(response) == "This is the answer to: one two "

    @pytest.mark.parametrize("door", DOORS)
    async def test_an_answer_cut_short(self, door: str) -> None:
        """What fits into max_tokens is an answer too: finish_reason length is no error."""
        assert text(await last(self.llm(), door, max_tokens=3)) == "This is the"

    @pytest.mark.parametrize("door", CHATS)
    async def test_n_choices_are_one_answer(self, door: str) -> None:
        """Of several choices one is the answer: heed `index` and take one."""

        def reply(body: Body) -> Reply:
            return Reply([f"choice {i} of many" for i in range(body.get("n") or 1)])

        self.needs("accepts_n")
        self.provider.script = reply
        answers = await responses(self.llm(), door, n=3)
        assert text(answers[-1]) in {f"choice {i} of many" for i in range(3)}

    @pytest.mark.parametrize("door", ["complete", "acomplete", "stream_complete"])
    async def test_completion_to_prompt(self, door: str) -> None:
        """`completion_to_prompt` shapes a prompt that is not `formatted`: call it then."""
        llm = self.llm(completion_to_prompt=_shout)
        await last(llm, door, "quiet")
        await last(llm, door, "quiet", formatted=True)
        assert [body["messages"][-1]["content"] for body in self.provider.asked] == [
            "QUIET",
            "quiet",
        ]


def _shout(prompt: str) -> str:
    return prompt.upper()


def _longest(body: Body) -> Any:
    return body.get("max_completion_tokens") or body.get("max_tokens")
