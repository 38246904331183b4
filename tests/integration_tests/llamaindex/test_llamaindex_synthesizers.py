"""Every response synthesizer on a routed LLM: what is read, asked, answered and counted."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex, get_response_synthesizer
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode
from pydantic import BaseModel

from llamaindex_bestroute import BestRouteLLM
from tests.servers import Body, ChatServer, Reply

QUESTION = "Which strings does a cello have?"
CELLO = "The cello is tuned in fifths: C, G, D and A."

CALLS = {
    "refine": 2,
    "compact": 1,
    "tree_summarize": 1,
    "simple_summarize": 1,
    "accumulate": 2,
    "compact_accumulate": 1,
    "generation": 1,
    "no_text": 0,
    "context_only": 0,
}
"""How often two documents and a question make the LLM answer."""

ACCUMULATING = ("accumulate", "compact_accumulate")
WITHOUT_LLM = ("no_text", "context_only")
DOORS = [
    (mode, door)
    for mode in CALLS
    for door in ("query", "aquery", "stream", "astream")
    if "query" in door or mode not in (*ACCUMULATING, *WITHOUT_LLM)
]


def best_of_three(body: Body) -> Reply:
    """Two of three samples say the same."""
    return Reply(["C, G, D and A", "I do not know", "C, G, D and A"][: body["n"]])


async def _ask(engine: Any, door: str) -> str:
    if door == "query":
        return str(engine.query(QUESTION))
    if door == "aquery":
        return str(await engine.aquery(QUESTION))
    if door == "stream":
        return "".join(engine.query(QUESTION).response_gen)
    response = await engine.aquery(QUESTION)
    return "".join([piece async for piece in response.async_response_gen()])


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("mode", "door"), DOORS)
async def test_a_response_synthesizer(
    mode: str,
    door: str,
    index: VectorStoreIndex,
    router: Any,
    chat_server: ChatServer,
    counter: TokenCountingHandler,
    answers: list[dict[str, Any]],
) -> None:
    chat_server.reply = best_of_three
    engine = index.as_query_engine(
        response_mode=mode, similarity_top_k=2, streaming="stream" in door
    )
    said = await _ask(engine, door)
    calls = CALLS[mode]
    assert router.read == [QUESTION] * calls
    assert [body["n"] for body in chat_server.requests] == [3] * calls
    prompts = ["\n".join(m["content"] for m in body["messages"]) for body in chat_server.requests]
    assert all(QUESTION in prompt for prompt in prompts)
    assert any(CELLO in prompt for prompt in prompts) == (mode not in ("generation", *WITHOUT_LLM))
    if calls:
        assert said.count("C, G, D and A") == (calls if mode in ACCUMULATING else 1)
        assert "I do not know" not in said
    else:
        assert (CELLO in said) == (mode == "context_only")
    assert [answer["bestroute"]["arm"] for answer in answers] == ["openai/small:3"] * calls
    assert counter.prompt_llm_token_count == sum(len(prompt.split()) for prompt in prompts)
    assert counter.completion_llm_token_count == calls * (5 + 4 + 5)


def test_no_mode_is_forgotten() -> None:
    assert set(CALLS) == {mode.value for mode in ResponseMode}


class Strings(BaseModel):
    """What an instrument is tuned to."""

    names: list[str]


NAMES = Reply(
    [
        {
            "tool_calls": [
                {
                    "id": "c0",
                    "type": "function",
                    "function": {"name": "Strings", "arguments": '{"names": ["C", "G", "D", "A"]}'},
                }
            ]
        }
    ]
    * 3
)


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "accumulate"])
@pytest.mark.parametrize("door", ["query", "aquery"])
async def test_a_structured_response(
    mode: str,
    door: str,
    index: VectorStoreIndex,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = NAMES
    engine = index.as_query_engine(
        llm=llm, response_mode=mode, output_cls=Strings, similarity_top_k=2
    )
    assert '["C","G","D","A"]' in (await _ask(engine, door)).replace(" ", "").replace("'", '"')
    assert router.read == [QUESTION] * CALLS[mode]
    assert {body["tool_choice"] for body in chat_server.requests} == {"required"}


def test_a_query_engine_on_a_structured_llm(
    index: VectorStoreIndex, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = NAMES
    engine = index.as_query_engine(llm=llm.as_structured_llm(Strings))
    assert Strings.model_validate_json(str(engine.query(QUESTION))).names == ["C", "G", "D", "A"]
    assert router.read == [QUESTION]


def _filtered(body: Body) -> Reply:
    """Satisfied where the fact is in the context."""
    found = "true" if CELLO in str(body["messages"]) else "false"
    arguments = f'{{"query_satisfied": {found}, "answer": "C, G, D and A"}}'
    function = {"name": "StructuredRefineResponse", "arguments": arguments}
    call = {"id": "c0", "type": "function", "function": function}
    return Reply([{"tool_calls": [call]}] * body["n"])


@pytest.mark.parametrize("door", ["query", "aquery"])
async def test_structured_answer_filtering(
    door: str, index: VectorStoreIndex, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _filtered
    synthesizer = get_response_synthesizer(
        llm, response_mode=ResponseMode.REFINE, structured_answer_filtering=True
    )
    engine = index.as_query_engine(llm, response_synthesizer=synthesizer, similarity_top_k=2)
    assert await _ask(engine, door) == "C, G, D and A"
    assert router.read == [QUESTION, QUESTION]  # the second document is looked at as well


def test_a_template_of_ones_own(
    index: VectorStoreIndex, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = best_of_three
    template = PromptTemplate(
        "Facts: {facts}\nNow tell me: {asked}",
        template_var_mappings={"context_str": "facts", "query_str": "asked"},
    )
    index.as_query_engine(llm=llm, text_qa_template=template).query(QUESTION)
    [message] = chat_server.requests[0]["messages"]
    assert message["content"].endswith(f"Now tell me: {QUESTION}")
    assert router.read == [QUESTION]


async def test_a_variable_of_another_name(llm: BestRouteLLM, router: Any) -> None:
    template = PromptTemplate("Facts: {facts}\nNow tell me: {asked}")
    filled: dict[str, Any] = {"facts": CELLO, "asked": QUESTION}
    whole = template.format(**filled)
    llm.predict(template, **filled)
    own = llm.model_copy(update={"query_variables": ("asked",)})
    own.predict(template, **filled)
    await own.apredict(template, **filled)
    list(own.stream(template, **filled))
    [_ async for _ in await own.astream(template, **filled)]
    own.predict(template, llm_kwargs={}, **filled)
    assert router.read == [whole] + [QUESTION] * 5


async def test_structured_predict_reads_the_question(
    llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = NAMES
    template = PromptTemplate("Facts: {facts}\nNow tell me: {question}")
    filled: dict[str, Any] = {"facts": CELLO, "question": QUESTION}
    assert llm.structured_predict(Strings, template, **filled).names[0] == "C"
    assert (await llm.astructured_predict(Strings, template, **filled)).names[0] == "C"
    *_, last = llm.stream_structured_predict(Strings, template, **filled)
    assert last.names[-1] == "A"
    stream = await llm.astream_structured_predict(Strings, template, **filled)
    *_, last = [piece async for piece in stream]
    assert last.names[-1] == "A"
    llm.structured_predict(Strings, template, {"query_text": "Mine?"}, **filled)
    assert router.read == [QUESTION] * 4 + ["Mine?"]


def test_reranking(
    index: VectorStoreIndex, llm: BestRouteLLM, router: Any, chat_server: ChatServer
) -> None:
    def reply(body: Body) -> Reply:
        """Which of the documents is the fitting one; then what it says."""
        said = body["messages"][-1]["content"]
        if "Relevance:" not in said:
            return best_of_three(body)
        listed = said.rsplit("Document 1:", 1)[1].split("Document ")
        rank = next(number for number, text in enumerate(listed, 1) if CELLO in text)
        return Reply([f"Doc: {rank}, Relevance: 9"] * body["n"])

    chat_server.reply = reply
    engine = index.as_query_engine(
        llm=llm,
        similarity_top_k=3,
        node_postprocessors=[LLMRerank(llm=llm, choice_batch_size=3, top_n=1)],
    )
    response = engine.query(QUESTION)
    assert str(response) == "C, G, D and A"
    assert [(node.text, node.score) for node in response.source_nodes] == [(CELLO, 9.0)]
    assert router.read == [QUESTION, QUESTION]
