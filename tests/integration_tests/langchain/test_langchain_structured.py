"""`with_structured_output`: every method, every form of a schema, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pydantic.v1
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, ValidationError, field_validator
from typing_extensions import TypedDict

from bestroute.errors import ConfigError
from langchain_bestroute import ChatBestRoute
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer, Reply

ASK = "Where is Paris? Answer in JSON with the keys 'name' and 'country'."
METHODS = ["function_calling", "json_schema", "json_mode"]


class City(BaseModel):
    """A city."""

    name: str = Field(description="What it is called.")
    country: str


class OldCity(pydantic.v1.BaseModel):
    """A city."""

    name: str
    country: str


class CityDict(TypedDict):
    """A city."""

    name: Annotated[str, ..., "What it is called."]
    country: str


TOOL = convert_to_openai_tool(City)
SCHEMAS: dict[str, Any] = {
    "pydantic": City,
    "pydantic v1": OldCity,
    "TypedDict": CityDict,
    "JSON schema": City.model_json_schema(),
    "OpenAI function": TOOL["function"],
    "OpenAI tool": TOOL,
}


@pytest.fixture(autouse=True)
def _faithful(chat_server: ChatServer) -> Iterator[None]:
    model = chat_server.reply = FaithfulModel()
    yield
    assert model.refused == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", SCHEMAS)
async def test_every_form_by_every_method(method: Any, form: str, pool: Any) -> None:
    schema = SCHEMAS[form]
    structured = ChatBestRoute(pool=pool).with_structured_output(schema, method=method)
    for city in (structured.invoke(ASK), await structured.ainvoke(ASK)):
        assert type(city) is (schema if form.startswith("pydantic") else dict)
        assert set(city if isinstance(city, dict) else city.dict()) == {"name", "country"}


@pytest.mark.parametrize("strict", [None, True, False])
@pytest.mark.parametrize("form", SCHEMAS)
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_strict(
    strict: bool | None, form: str, method: Any, pool: Any, chat_server: ChatServer
) -> None:
    llm = ChatBestRoute(pool=pool)
    llm.with_structured_output(SCHEMAS[form], method=method, strict=strict).invoke(ASK)
    (body,) = chat_server.requests
    if method == "function_calling":
        (tool,) = body["tools"]
        sent, schema = tool["function"], tool["function"]["parameters"]
        assert body["tool_choice"] == "required"
    else:
        sent = body["response_format"]["json_schema"]
        schema = sent["schema"]
    assert sent.get("strict") is strict
    assert schema.get("additionalProperties") is (False if strict else None)


def test_json_mode_sends_no_schema(pool: Any, chat_server: ChatServer) -> None:
    ChatBestRoute(pool=pool).with_structured_output(City, method="json_mode").invoke(ASK)
    (body,) = chat_server.requests
    assert body["response_format"] == {"type": "json_object"}


def test_further_parameters_are_bound(pool: Any, chat_server: ChatServer) -> None:
    llm = ChatBestRoute(pool=pool)
    llm.with_structured_output(City, parallel_tool_calls=False, max_n=2, seed=7).invoke(ASK)
    (body,) = chat_server.requests
    assert (body["parallel_tool_calls"], body["n"], body["seed"]) == (False, 2, 7)


def test_mistakes_show_at_once(pool: Any) -> None:
    llm = ChatBestRoute(pool=pool)
    with pytest.raises(ConfigError, match="'yaml'; expected function_calling, json_schema"):
        llm.with_structured_output(City, method="yaml")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="leave strict out"):
        llm.with_structured_output(City, method="json_mode", strict=True)
    with pytest.raises(ConfigError, match="here the schema is one"):
        llm.with_structured_output(City, tools=[City])


class Capital(City):
    """A capital."""

    @field_validator("country")
    @classmethod
    def _known(cls, country: str) -> str:
        raise ValueError("no such country")  # what no JSON schema says


@pytest.mark.parametrize("method", METHODS)
async def test_the_raw_message_too(method: Any, pool: Any) -> None:
    llm = ChatBestRoute(pool=pool)
    structured = llm.with_structured_output(City, method=method, include_raw=True)
    for answer in (structured.invoke(ASK), await structured.ainvoke(ASK)):
        assert set(answer) == {"raw", "parsed", "parsing_error"}
        assert isinstance(answer["parsed"], City)
        assert answer["parsing_error"] is None
        assert answer["raw"].response_metadata["bestroute"]["arm"] == "openai/small:3"
    structured = llm.with_structured_output(Capital, method=method, include_raw=True)
    for answer in (structured.invoke(ASK), await structured.ainvoke(ASK)):
        assert answer["parsed"] is None
        assert "no such country" in str(answer["parsing_error"])
        assert answer["raw"].usage_metadata
    with pytest.raises((ValidationError, OutputParserException), match="no such country"):
        llm.with_structured_output(Capital, method=method).invoke(ASK)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("which", ["pool", "one_model"])
async def test_streams_end_in_the_whole(
    method: Any, which: str, request: pytest.FixtureRequest
) -> None:
    llm = ChatBestRoute(pool=request.getfixturevalue(which))
    whole = llm.with_structured_output(CityDict, method=method).invoke(ASK)
    structured = llm.with_structured_output(CityDict, method=method)
    for pieces in (list(structured.stream(ASK)), [each async for each in structured.astream(ASK)]):
        assert pieces[-1] == whole
        if which == "one_model" and method != "function_calling":  # one sample, as it comes
            assert len(pieces) > 2
            assert all(set(piece) <= set(whole) for piece in pieces)
    typed = llm.with_structured_output(City, method=method)
    for cities in (list(typed.stream(ASK)), [each async for each in typed.astream(ASK)]):
        assert cities[-1] == City(**whole)


class Options(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.seen.append(kwargs["options"]["ls_structured_output_format"])


@pytest.mark.parametrize("method", METHODS)
def test_what_traces_say_of_the_format(method: Any, pool: Any) -> None:
    options, llm = Options(), ChatBestRoute(pool=pool)
    llm.with_structured_output(City, method=method).invoke(ASK, {"callbacks": [options]})
    (seen,) = options.seen
    assert seen["kwargs"] == {"method": method}
    assert seen["schema"]["title"] == "City"
    assert set(seen["schema"]["properties"]) == {"name", "country"}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
async def test_tools_that_may_be_called_instead(method: Any, pool: Any) -> None:
    def population(name: str) -> int:
        """How many live there."""
        raise NotImplementedError

    structured = ChatBestRoute(pool=pool).with_structured_output(
        City, method=method, include_raw=True, tools=[population]
    )
    ask = "What is the population of 'Paris'? In JSON."
    for answer in (structured.invoke(ask), await structured.ainvoke(ask)):
        assert answer["parsed"] is None is answer["parsing_error"]
        assert [call["name"] for call in answer["raw"].tool_calls] == ["population"]
    for answer in (structured.invoke(ASK), await structured.ainvoke(ASK)):
        assert isinstance(answer["parsed"], City)
    streamed = {key: value for piece in structured.stream(ASK) for key, value in piece.items()}
    assert isinstance(streamed["parsed"], City)


def test_tools_and_a_format_together(pool: Any, chat_server: ChatServer) -> None:
    def population(name: str) -> int:
        """How many live there."""
        raise NotImplementedError

    format_ = {
        "type": "json_schema",
        "json_schema": {"name": "City", "schema": SCHEMAS["JSON schema"]},
    }
    llm = ChatBestRoute(pool=pool).bind_tools([population], response_format=format_)
    (call,) = llm.invoke("What is the population of 'Paris'?").tool_calls
    assert call["args"] == {"name": "Paris"}
    assert City.model_validate_json(llm.invoke(ASK).text)
    assert {"tools", "response_format"} <= set(chat_server.requests[-1])


def test_a_schema_without_a_name(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply('{"name": "Paris"}')
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    llm = ChatBestRoute(pool=pool)
    assert llm.with_structured_output(schema, method="json_mode").invoke(ASK) == {"name": "Paris"}
    with pytest.raises(ValueError, match="title"):
        llm.with_structured_output(schema)
