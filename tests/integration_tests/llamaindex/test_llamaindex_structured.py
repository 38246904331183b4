"""Structured answers over HTTP: programs, structured LLMs, streams, and what is not usable."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.program.utils import get_program_for_llm
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, Field

from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Message, Reply

WHO = PromptTemplate("Who is {who}?")
ADA = {"name": "Ada", "born": 1815}


class Person(BaseModel):
    """Somebody."""

    name: str
    born: int = Field(ge=0)


def _calling(arguments: Any, name: str = "Person") -> Message:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    return {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}


def _from(small: list[str | Message], big: str | Message = "") -> Callable[[Body], Reply]:
    """What three samples of the small model say, and one of the big one."""
    return lambda body: Reply([big] if body["model"] == "big" else small)


UNUSABLE = [
    _calling({"name": "Ada", "born": "long ago"}),
    _calling({"name": "Ada"}),
    _calling(ADA, name="Animal"),
    _calling('{"name": "Ada", "born": 18'),
    "Ada was born in 1815.",
]


async def _structured(llm: BestRouteLLM, way: str) -> Any:
    """The object, whichever way it is asked for; the last one of a stream."""
    if way == "structured_predict":
        return llm.structured_predict(Person, WHO, who="Ada")
    if way == "astructured_predict":
        return await llm.astructured_predict(Person, WHO, who="Ada")
    if way == "stream_structured_predict":
        return list(llm.stream_structured_predict(Person, WHO, who="Ada"))[-1]
    if way == "astream_structured_predict":
        stream = await llm.astream_structured_predict(Person, WHO, who="Ada")
        return [each async for each in stream][-1]
    structured, asked = llm.as_structured_llm(Person), [ChatMessage("Who is Ada?")]
    if way == "chat":
        return structured.chat(asked).raw
    if way == "achat":
        return (await structured.achat(asked)).raw
    if way == "stream_chat":
        return list(structured.stream_chat(asked))[-1].raw
    return [each async for each in await structured.astream_chat(asked)][-1].raw


WAYS = [
    "structured_predict",
    "astructured_predict",
    "stream_structured_predict",
    "astream_structured_predict",
    "chat",
    "achat",
    "stream_chat",
    "astream_chat",
]


@pytest.mark.parametrize("way", WAYS)
async def test_an_object(way: str, pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _from([_calling(ADA)] * 3)
    assert await _structured(BestRouteLLM(pool), way) == Person(**ADA)
    [body] = chat_server.requests
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["Person"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_object_of_one_sample(way: str, one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([_calling(ADA)])
    assert await _structured(BestRouteLLM(one_model), way) == Person(**ADA)


@pytest.mark.parametrize("unusable", UNUSABLE)
@pytest.mark.parametrize("way", ["structured_predict", "astream_structured_predict"])
async def test_a_usable_candidate_wins_against_a_majority(
    way: str, unusable: str | Message, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _from([unusable, unusable, _calling(ADA)], _calling(ADA))
    assert await _structured(BestRouteLLM(pool), way) == Person(**ADA)


@pytest.mark.parametrize("unusable", UNUSABLE)
@pytest.mark.parametrize("way", WAYS)
async def test_if_none_is_usable_another_model_is_asked(
    way: str, unusable: str | Message, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _from([unusable] * 3, _calling(ADA))
    assert await _structured(BestRouteLLM(pool), way) == Person(**ADA)
    assert [body["model"] for body in chat_server.requests] == ["small", "big"]


def test_an_object_of_a_named_model(pool: Any, chat_server: ChatServer) -> None:
    chat_server.reply = _from([], _calling(ADA))
    llm = BestRouteLLM(pool)
    made = llm.structured_predict(Person, WHO, llm_kwargs={"model": "openai/big"}, who="Ada")
    assert made == Person(**ADA)
    assert [body["model"] for body in chat_server.requests] == ["big"]


def test_several_objects(one_model: Any, chat_server: ChatServer) -> None:
    bob = {"name": "Bob", "born": 1900}
    calls = [_calling(each)["tool_calls"][0] for each in (ADA, bob)]
    chat_server.reply = Reply([{"tool_calls": calls}])
    made = BestRouteLLM(one_model).structured_predict(
        Person, WHO, llm_kwargs={"allow_parallel_tool_calls": True}, who="Ada and Bob"
    )
    assert made == Person(**ADA)  # LlamaIndex's program gives the first one


TEXT = json.dumps(ADA)
FENCED = f"Here you are:\n```json\n{TEXT}\n```"


@pytest.fixture(params=["no tools", "program mode"])
def text_llm(request: pytest.FixtureRequest, pool: Any) -> BestRouteLLM:
    """One whose structured answers are texts, for either reason."""
    if request.param == "program mode":
        return BestRouteLLM(pool, pydantic_program_mode=PydanticProgramMode.LLM)
    for model in pool["models"]:
        model["tools"] = False
    return BestRouteLLM(pool)


@pytest.mark.parametrize("text", [TEXT, FENCED])
@pytest.mark.parametrize("way", ["structured_predict", "astructured_predict", "chat", "achat"])
async def test_an_object_as_text(
    way: str, text: str, text_llm: BestRouteLLM, chat_server: ChatServer
) -> None:
    chat_server.reply = _from([text] * 3)
    assert await _structured(text_llm, way) == Person(**ADA)
    [body] = chat_server.requests
    assert "tools" not in body
    assert "answer_schema" not in body
    assert "json schema" in body["messages"][-1]["content"].lower()


@pytest.mark.parametrize("unusable", ["Ada, 1815", '{"name": "Ada"}', '{"name": "Ada", "born": 18'])
@pytest.mark.parametrize("way", WAYS)
async def test_a_text_that_is_no_object_is_not_taken(
    way: str, unusable: str, text_llm: BestRouteLLM, chat_server: ChatServer
) -> None:
    chat_server.reply = _from([unusable] * 3, TEXT)
    assert await _structured(text_llm, way) == Person(**ADA)
    assert [body["model"] for body in chat_server.requests] == ["small", "big"]


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("way", ["program", "text program", "predict"])
async def test_programs_of_llamaindex_know_a_usable_text(
    way: str, system: bool, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    """By the schema in the prompt, which the router does not read."""
    chat_server.reply = _from(["Ada, 1815", "Ada, 1815", TEXT])
    llm.pydantic_program_mode = PydanticProgramMode.LLM
    question = ChatMessage("Who is {who}?")
    asked = [ChatMessage("Be brief.", role="system"), question] if system else [question]
    prompt: Any = ChatPromptTemplate(asked)
    if way == "program":
        program = get_program_for_llm(Person, prompt, llm, PydanticProgramMode.LLM)
        assert program(who="Ada") == Person(**ADA)
    elif way == "text program":
        made = LLMTextCompletionProgram.from_defaults(output_cls=Person, prompt=prompt, llm=llm)
        assert await made.acall(who="Ada") == Person(**ADA)
    else:
        prompt.output_parser = PydanticOutputParser(Person)
        assert json.loads(llm.predict(prompt, who="Ada")) == ADA
    assert router.read == ["Who is Ada?"]


@pytest.mark.parametrize("way", ["stream_structured_predict", "astream_structured_predict"])
async def test_a_text_streams_as_parts_of_the_object(
    way: str, one_model: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = json.dumps({"born": 1815, "name": "Ada King Lovelace"})
    llm = BestRouteLLM(one_model, pydantic_program_mode=PydanticProgramMode.LLM)
    if way == "stream_structured_predict":
        parts: list[Any] = list(llm.stream_structured_predict(Person, WHO, who="Ada"))
    else:
        stream = await llm.astream_structured_predict(Person, WHO, who="Ada")
        parts = [each async for each in stream]
    names = [each.name for each in parts if each.name]
    assert list(dict.fromkeys(names)) == ["Ada", "Ada King", "Ada King Lovelace"]
    assert isinstance(parts[-1], Person)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)


@pytest.mark.parametrize(
    "unusable",
    [
        _calling({"a": 1}, "add"),
        _calling({"a": 1, "b": "two"}, "add"),
        _calling({"a": 1, "b": 2}, "subtract"),
        _calling('{"a": 1', "add"),
        "three",
    ],
)
def test_a_tool_is_called_as_it_must_be(
    unusable: str | Message, pool: Any, chat_server: ChatServer
) -> None:
    usable = _calling({"a": 1, "b": 2}, "add")
    chat_server.reply = _from([unusable, unusable, usable], usable)
    llm = BestRouteLLM(pool)
    assert llm.predict_and_call([ADD], "1 + 2?", tool_required=True).response == "3"
    assert chat_server.requests[0]["tool_choice"] == "required"
    named = llm.chat_with_tools([ADD], "1 + 2?", tool_choice="add")
    [call] = llm.get_tool_calls_from_response(named)
    assert call.tool_kwargs == {"a": 1, "b": 2}


def test_the_schema_may_be_binding(one_model: Any, chat_server: ChatServer) -> None:
    chat_server.reply = Reply([_calling({"a": 1, "b": 2}, "add")])
    BestRouteLLM(one_model).chat_with_tools([ADD], "1 + 2?", strict=True)
    [tool] = chat_server.requests[0]["tools"]
    assert tool["function"]["strict"] is True
    assert tool["function"]["parameters"]["additionalProperties"] is False


def test_json_by_response_format(pool: Any, chat_server: ChatServer) -> None:
    schema = {"name": "Person", "schema": Person.model_json_schema()}
    wanted = {"type": "json_schema", "json_schema": schema}
    chat_server.reply = _from(["Ada", '{"name": "Ada"}', TEXT], TEXT)
    response = BestRouteLLM(pool).chat([ChatMessage("Who is Ada?")], response_format=wanted)
    assert Person.model_validate_json(response.message.content) == Person(**ADA)
    assert chat_server.requests[0]["response_format"] == wanted
