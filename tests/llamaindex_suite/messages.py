"""Chat messages of text."""

from __future__ import annotations

import copy

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import CHATS, last, text

_TURNS = [
    ("system", "Be brief."),
    ("user", "Who are you?"),
    ("assistant", "A model."),
    ("user", "Whose?"),
]


def turns() -> list[ChatMessage]:
    """A conversation."""
    return [ChatMessage(content, role=role) for role, content in _TURNS]


class Messages(Capabilities):
    """Roles, turns and prompts."""

    @pytest.mark.parametrize("door", CHATS)
    async def test_turns(self, door: str) -> None:
        """Every turn goes out in its place and role: convert the list, one by one."""
        await last(self.llm(), door, turns())
        sent = [(each["role"], each["content"]) for each in self.provider.last["messages"]]
        assert sent == _TURNS

    async def test_developer_role(self) -> None:
        """So does one of role developer: pass the role's value on."""
        await last(self.llm(), "achat", [ChatMessage("Be kind.", role="developer"), *turns()[1:]])
        assert self.provider.last["messages"][0]["role"] in ("developer", "system")
        assert self.provider.last["messages"][0]["content"] == "Be kind."

    async def test_an_answer_goes_back(self) -> None:
        """The answer is a turn of the next question: keep nothing in it that cannot be sent."""
        llm, history = self.llm(), [ChatMessage("One?")]
        history.append((await last(llm, "achat", history)).message)
        history.append(ChatMessage("Two?"))
        history.append((await last(llm, "astream_chat", history)).message)
        await last(llm, "achat", [*history, ChatMessage("Three?")])
        roles = [each["role"] for each in self.provider.last["messages"]]
        assert roles == ["user", "assistant", "user", "assistant", "user"]

    async def test_several_texts_in_a_message(self) -> None:
        """Text blocks are sent all: join them, or send parts."""
        blocks = [TextBlock(text="first"), TextBlock(text="second")]
        await last(self.llm(), "achat", [ChatMessage(blocks=blocks)])
        sent = str(self.provider.last["messages"][0]["content"])
        assert 0 < sent.index("first") + 1 < sent.index("second") + 1

    async def test_an_empty_message(self) -> None:
        """A message without text is sent as one: not as null, nor as an empty list."""
        await last(self.llm(), "achat", [ChatMessage(role="system", content=""), *turns()[1:]])
        assert self.provider.refused == []
        assert len(self.provider.last["messages"]) >= 3

    async def test_messages_may_be_a_tuple(self) -> None:
        """The type is `Sequence`: do not append to it."""
        assert text(await last(self.llm(), "achat", tuple(turns()))).endswith("Whose?")

    @pytest.mark.parametrize("door", CHATS)
    async def test_messages_are_not_changed(self, door: str) -> None:
        """The history is the caller's: convert into new dictionaries."""
        history = turns()
        before = copy.deepcopy(history)
        await last(self.llm(), door, history)
        assert history == before

    @pytest.mark.parametrize("prompt", ["text", "chat"])
    async def test_prompts(self, prompt: str) -> None:
        """Templates are filled by `predict` and its kin: leave those to the base class."""
        templates = {
            "text": PromptTemplate("Who is {who}?"),
            "chat": ChatPromptTemplate([ChatMessage("Who is {who}?")]),
        }
        llm, wanted = self.llm(), "This is the answer to: Who is Ada?"
        assert llm.predict(templates[prompt], who="Ada") == wanted
        assert await llm.apredict(templates[prompt], who="Ada") == wanted
        assert "".join(llm.stream(templates[prompt], who="Ada")) == wanted
        stream = await llm.astream(templates[prompt], who="Ada")
        assert "".join([piece async for piece in stream]) == wanted

    async def test_system_prompt(self) -> None:
        """`system_prompt` leads every prompt: pass it to the base class."""
        llm, prompt = self.llm(system_prompt="Be brief."), PromptTemplate("Who is {who}?")
        llm.predict(prompt, who="Ada")
        await llm.apredict(prompt, who="Ada")
        for body in self.provider.asked:
            assert [each["role"] for each in body["messages"]] == ["system", "user"]
            assert body["messages"][0]["content"] == "Be brief."

    async def test_role_names(self) -> None:
        """Roles may be strings: they are made `MessageRole` by the message."""
        response = await last(self.llm(), "achat", [ChatMessage("Hi", role=MessageRole.USER)])
        assert response.message.role == "assistant"
