"""What the router reads, and who says so: the template, the call, the field, or the text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate, RichPromptTemplate
from llama_index.core.prompts.chat_prompts import CHAT_REFINE_PROMPT, CHAT_TEXT_QA_PROMPT
from llama_index.core.selectors.prompts import DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL

from bestroute import BestRoute, ModelPool
from bestroute.calibration import CalibrationTable, Promise
from llamaindex_bestroute import BestRouteLLM
from llamaindex_bestroute._reading import query_of
from tests.integration_tests.llamaindex.conftest import TEXTS
from tests.servers import Body, ChatServer

QUESTION = "Which strings does a cello have?"
STUFFED = f"Context: {TEXTS[4]}\nQuestion: {QUESTION}"


def _answer(body: Body) -> str:
    """What a model would find in its context."""
    said = body["messages"][-1]["content"]
    return "C, G, D and A" if "tuned in fifths" in said and QUESTION in said else "I do not know"


def test_a_query_engine(
    counter: TokenCountingHandler,
    index: VectorStoreIndex,
    llm: BestRouteLLM,
    router: Any,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = _answer
    response = index.as_query_engine(llm=llm, similarity_top_k=1).query(QUESTION)
    assert str(response) == "C, G, D and A"
    assert [node.text for node in response.source_nodes] == [TEXTS[4]]
    assert router.read == [QUESTION]
    [body] = chat_server.requests
    assert all(set(message) == {"role", "content"} for message in body["messages"])
    words = [word for message in body["messages"] for word in message["content"].split()]
    assert counter.prompt_llm_token_count == len(words)  # as the server counts
    assert counter.completion_llm_token_count == 3 * 5


CHAT = ChatPromptTemplate([ChatMessage("{context_str}", role="system"), ChatMessage("{query_str}")])
RICH = RichPromptTemplate("{{ context_str }}\n{{ query_str }}")


@pytest.mark.parametrize("template", [PromptTemplate("{context_str} {query_str}"), CHAT, RICH])
async def test_a_template_s_variable_is_read(template: Any, llm: BestRouteLLM, router: Any) -> None:
    filled: dict[str, Any] = {"context_str": TEXTS[4], "query_str": QUESTION}
    llm.predict(template, **filled)
    await llm.apredict(template, **filled)
    list(llm.stream(template, **filled))
    [_ async for _ in await llm.astream(template, **filled)]
    llm.predict(template.partial_format(query_str=QUESTION), context_str=TEXTS[4])
    assert router.read == [QUESTION] * 5


def test_a_template_without_a_question_is_read_whole(llm: BestRouteLLM, router: Any) -> None:
    llm.predict(PromptTemplate("Summarize: {context_str}"), context_str="Rain.", query_str=None)
    assert router.read == ["Summarize: Rain."]


PICK = PromptTemplate(DEFAULT_SINGLE_PYD_SELECT_PROMPT_TMPL)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        (CHAT_TEXT_QA_PROMPT, {"context_str": STUFFED}),
        (CHAT_REFINE_PROMPT, {"context_msg": STUFFED, "existing_answer": "None."}),
        (PICK, {"num_choices": 2, "context_list": STUFFED}),
    ],
)
def test_llamaindex_s_templates_are_known_by_their_text(
    template: Any, filled: dict[str, Any], llm: BestRouteLLM, router: Any
) -> None:
    """Programs fill them before the LLM hears of it; then nobody says which part is what."""
    question = "Which strings\ndoes a 'cello' have?"
    llm.chat(template.format_messages(query_str=question, **filled))
    llm.complete(template.format(query_str=question, **filled))
    assert router.read[0] == question
    assert question in router.read[1]  # roles are part of the text of a formatted chat template


def test_the_caller_knows_best(llm: BestRouteLLM, router: Any) -> None:
    llm.complete(STUFFED, query_text="Mine?")
    llm.complete(STUFFED, query_pattern="Question: (.*)")
    llm.chat([ChatMessage("One?"), ChatMessage("1", role="assistant"), ChatMessage("Two?")])
    llm.chat([ChatMessage("One?"), ChatMessage("Two?")], query_turns=2)
    assert router.read == ["Mine?", QUESTION, "Two?", "One?\nTwo?"]


def test_fields_do_not_hide_the_question(llm: BestRouteLLM, router: Any) -> None:
    """Where the pattern finds nothing, what LlamaIndex filled is known as ever."""
    llm.query_pattern, llm.query_turns = "Ask: (.*)", 2
    filled = CHAT_TEXT_QA_PROMPT.format_messages(query_str=QUESTION, context_str=STUFFED)
    llm.chat([ChatMessage("One?"), ChatMessage("1", role="assistant"), *filled])
    act = ChatMessage("Thought: so.\nAction: look", role="assistant")
    llm.chat([ChatMessage("Ask: Why?"), act, ChatMessage("Observation: Ask: nothing")])
    assert router.read == [f"One?\n{QUESTION}", "Why?"]


def test_what_a_user_writes_is_read_at_once(llm: BestRouteLLM, router: Any) -> None:
    """A megabyte of what LlamaIndex's templates have around the question."""
    for text in ("Query: x\n" * 110_000, "\nQuery: x\nOriginal Answer: " * 40_000):
        began = time.process_time()
        filled = CHAT_REFINE_PROMPT.format_messages(
            query_str=QUESTION, context_msg="c", existing_answer=text
        )
        assert query_of(filled)
        assert query_of(filled[:-1] + [ChatMessage(text)]) == text
        assert time.process_time() - began < 0.5


def test_a_prompt_is_read_before_it_is_wrapped(llm: BestRouteLLM, router: Any) -> None:
    llm.completion_to_prompt = "<user> {} <assistant>".format
    llm.complete(QUESTION)
    assert router.read == [QUESTION]


def test_a_user_may_observe_things(llm: BestRouteLLM, router: Any) -> None:
    """Only where an agent has acted is an observation not the user's."""
    observed = ChatMessage("Observation: it rains. Why?")
    llm.chat([ChatMessage("Hello"), ChatMessage("Hi", role="assistant"), observed])
    assert router.read == [observed.content]


def test_a_call_may_ask_for_a_promise(pool: Any, router: Any) -> None:
    kept = Promise(max_drop=0.02, confidence=0.95, threshold=1.01, cost_per_1k=5)
    table = CalibrationTable(n_queries=900, promises=(kept,))
    engine = BestRoute(ModelPool.read(pool), router=router, threshold=0.5, calibration=table)
    llm = BestRouteLLM(engine=engine, threshold=0.1)
    made = [llm.complete("Hi", **asked).raw["bestroute"] for asked in ({}, {"max_drop": 0.05})]
    assert [each["arm"] for each in made] == ["openai/small:3", "openai/big:1"]
    assert [each["max_drop"] for each in made] == [None, 0.02]
