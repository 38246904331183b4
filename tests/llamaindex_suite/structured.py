"""Pydantic objects instead of text."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel, Field

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import collected, last, text
from tests.servers import Reply


class Kind(Enum):
    NOVEL = "novel"
    POEM = "poem"


class Author(BaseModel):
    """Who wrote it."""

    name: str


class Book(BaseModel):
    """A book."""

    title: str
    pages: int = Field(description="How many")


class Shelf(BaseModel):
    """Some books."""

    label: str
    kind: Kind
    author: Author
    books: list[Book]


ASK = PromptTemplate("Find the book '{title}' of {pages} pages on the shelf.")
_ARGS = {"title": "Emma", "pages": "474"}
_EMMA = Book(title="Emma", pages=474)
_TEXT = ASK.format(**_ARGS)

PREDICT = ("structured_predict", "astructured_predict")
STREAM = ("stream_structured_predict", "astream_structured_predict")


class Structured(Capabilities):
    """structured_predict and as_structured_llm."""

    @pytest.mark.parametrize("door", PREDICT)
    async def test_structured_predict(self, door: str) -> None:
        """The object asked for: the base class makes it a tool, `metadata` must say there are."""
        self.needs("supports_structured_output")
        [book] = await collected(getattr(self.llm(), door)(Book, ASK, **_ARGS))
        assert book == _EMMA

    @pytest.mark.parametrize("door", STREAM)
    async def test_stream_structured_predict(self, door: str) -> None:
        """The object as it grows, at last whole: tool calls must be readable along a stream."""
        self.needs("supports_structured_output")
        books = await collected(getattr(self.llm(), door)(Book, ASK, **_ARGS))
        assert books[-1].model_dump() == _EMMA.model_dump()

    @pytest.mark.parametrize("door", PREDICT)
    async def test_nested_schema(self, door: str) -> None:
        """Objects in objects, lists and enums: send `$defs` along with the schema."""
        self.needs("supports_structured_output")
        [shelf] = await collected(getattr(self.llm(), door)(Shelf, ASK, **_ARGS))
        assert isinstance(shelf, Shelf)
        assert shelf.label == "Emma"
        assert shelf.kind is Kind.NOVEL

    async def test_kwargs_of_the_call(self) -> None:
        """`llm_kwargs` reach the provider."""
        self.needs("supports_structured_output")
        await self.llm().astructured_predict(Book, ASK, llm_kwargs={"temperature": 0.75}, **_ARGS)
        assert self.provider.last["temperature"] == 0.75

    async def test_a_call_is_demanded(self) -> None:
        """A text instead of the object is no answer: demand the call, or a JSON schema."""
        self.needs("supports_structured_output")
        await self.llm().astructured_predict(Book, ASK, **_ARGS)
        asked = self.provider.last
        named = {"type": "function", "function": {"name": "Book"}}
        schema = asked.get("response_format", {}).get("type")
        assert asked.get("tool_choice") in ("required", named) or schema == "json_schema"

    @pytest.mark.parametrize("door", ["chat", "achat", "complete", "acomplete"])
    async def test_structured_llm(self, door: str) -> None:
        """`as_structured_llm` answers with the object in `raw`, and its JSON as text."""
        self.needs("supports_structured_output")
        response = await last(self.llm().as_structured_llm(Book), door, _TEXT)
        assert Book.model_validate_json(text(response)) == _EMMA
        assert response.raw == _EMMA

    @pytest.mark.parametrize("door", ["stream_chat", "astream_chat"])
    async def test_structured_llm_streams(self, door: str) -> None:
        """And as it grows."""
        self.needs("supports_structured_output")
        response = await last(self.llm().as_structured_llm(Book), door, _TEXT)
        assert response.raw.model_dump() == _EMMA.model_dump()

    async def test_structured_llm_of_a_chat(self) -> None:
        """Roles of a chat are kept."""
        self.needs("supports_structured_output")
        chat = [ChatMessage("Be exact.", role="system"), ChatMessage(_TEXT)]
        await self.llm().as_structured_llm(Book).achat(chat)
        roles = [each["role"] for each in self.provider.last["messages"]]
        assert roles[-2:] == ["system", "user"]

    @pytest.mark.parametrize("door", PREDICT)
    async def test_no_object(self, door: str) -> None:
        """Arguments that do not fit the schema are an error, not half an object."""
        self.needs("supports_structured_output")
        wrong = '{"title": "Emma", "pages": "many"}'
        call = {"id": "c1", "type": "function", "function": {"name": "Book", "arguments": wrong}}
        message: dict[str, Any] = {"content": wrong, "tool_calls": [call]}
        self.provider.script = lambda body: Reply([message] * (body.get("n") or 1))
        with pytest.raises(Exception, match="(?i)pages|valid|expected"):
            await collected(getattr(self.llm(), door)(Book, ASK, **_ARGS))
