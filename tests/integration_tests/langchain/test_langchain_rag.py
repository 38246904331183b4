"""A RAG chain over a vector store: the router reads the question, the costs see the prompt."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from bestroute.errors import NoEligibleArmError
from bestroute.routers import StaticEncoder
from langchain_bestroute import BestRouteRouter, ChatBestRoute
from tests.scenarios import LIBRARY, QUESTIONS
from tests.servers import Body, ChatServer
from tests.small_router import EASY, HARD, routed

IN_SYSTEM = ChatPromptTemplate.from_messages(
    [("system", "Answer from this context only:\n{context}"), ("human", "{question}")]
)
STUFFED = ChatPromptTemplate.from_messages(
    [("human", "Context:\n{context}\n\nQuestion: {question}\nAnswer in a few words.")]
)
PATTERN = r"Question: (.*)"
ANSWERS = dict(zip(QUESTIONS, (LIBRARY[4], LIBRARY[1], LIBRARY[2]), strict=True))


class StaticEmbeddings(Embeddings):
    """Static word embeddings: small, deterministic, on this machine."""

    def __init__(self) -> None:
        self.encoder = StaticEncoder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture(scope="module")
def store() -> InMemoryVectorStore:
    store = InMemoryVectorStore(StaticEmbeddings())
    store.add_texts(list(LIBRARY))
    return store


def _joined(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def rag(
    store: InMemoryVectorStore, prompt: ChatPromptTemplate, llm: Runnable[Any, AIMessage], k: int
) -> Runnable[str, AIMessage]:
    """Retrieve, fill the prompt, ask."""
    retriever = store.as_retriever(search_kwargs={"k": k})
    filled = {"context": retriever | _joined, "question": RunnablePassthrough()} | prompt
    return filled | llm


def _from_context(body: Body) -> str:
    """What a model would find in its context."""
    said = "\n".join(message["content"] for message in body["messages"])
    found = [text for ask, text in ANSWERS.items() if ask in said and text in said]
    return found[0] if found else "I do not know"


def _arm(message: AIMessage) -> str:
    arm: str = message.response_metadata["bestroute"]["arm"]
    return arm


async def test_a_chain_answers_from_what_it_retrieved(
    store: InMemoryVectorStore, pool: Any, chat_server: ChatServer
) -> None:
    chat_server.reply = _from_context
    chain = rag(store, IN_SYSTEM, ChatBestRoute(engine=routed(pool)), 2) | StrOutputParser()
    answers = list(ANSWERS.values())
    assert [chain.invoke(question) for question in QUESTIONS] == answers
    assert await chain.abatch(list(QUESTIONS)) == answers
    assert "".join([piece async for piece in chain.astream(QUESTIONS[0])]) == answers[0]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [(IN_SYSTEM, {}), (STUFFED, {"query_pattern": PATTERN})],
    ids=["in the system message", "stuffed into the human turn"],
)
def test_the_router_reads_the_question_and_not_the_context(
    prompt: ChatPromptTemplate,
    options: dict[str, Any],
    store: InMemoryVectorStore,
    pool: Any,
    chat_server: ChatServer,
) -> None:
    chat_server.reply = _from_context
    chain = rag(store, prompt, ChatBestRoute(engine=routed(pool), **options), len(LIBRARY))
    arms = {question: _arm(chain.invoke(question)) for question in (*EASY, *HARD)}
    assert {arms[question] for question in EASY} == {"openai/small:1"}
    assert {arms[question] for question in HARD} == {"openai/big:1"}
    for body in chat_server.requests:  # whatever it read, the model gets all
        said = "".join(message["content"] for message in body["messages"])
        assert all(text in said for text in LIBRARY)


def test_without_a_pattern_the_context_drowns_the_question(
    store: InMemoryVectorStore, pool: Any
) -> None:
    chain = rag(store, STUFFED, ChatBestRoute(engine=routed(pool)), len(LIBRARY))
    assert {_arm(chain.invoke(question)) for question in HARD} == {"openai/small:1"}


def test_a_call_may_say_what_the_router_reads(store: InMemoryVectorStore, pool: Any) -> None:
    llm = ChatBestRoute(engine=routed(pool))
    for question, model in ((EASY[0], "openai/small"), (HARD[0], "openai/big")):
        chain = rag(store, STUFFED, llm.bind(query_text=question), len(LIBRARY))
        assert chain.invoke(question).response_metadata["model_name"] == model


def test_the_cost_estimate_sees_the_whole_prompt(store: InMemoryVectorStore, pool: Any) -> None:
    router = BestRouteRouter(engine=routed(pool))
    found = store.similarity_search(EASY[1], k=1)[0].page_content
    one, all_ = (rag(store, IN_SYSTEM, router, k).invoke(EASY[1]) for k in (1, len(LIBRARY)))
    more = "\n".join(LIBRARY).replace(found, "")
    price = pool["models"][0]["price"]["input"] / 1e6
    assert one.match_probabilities == all_.match_probabilities
    assert all_.estimated_cost - one.estimated_cost == pytest.approx(len(more) / 4 * price)


def test_a_model_that_cannot_hold_the_context_is_never_asked(
    store: InMemoryVectorStore, pool: Any, chat_server: ChatServer
) -> None:
    pool["models"][0]["context_window"] = 60
    engine = routed(pool)
    router, llm = BestRouteRouter(engine=engine), ChatBestRoute(engine=engine)
    assert rag(store, IN_SYSTEM, router, 1).invoke(EASY[1]).arm.model == "openai/small"
    decision = rag(store, IN_SYSTEM, router, len(LIBRARY)).invoke(EASY[1])
    assert decision.arm.model == "openai/big"
    small = [f"openai/small:{n}" for n in (1, 2, 3)]
    assert {name: "context window of 60" in why for name, why in decision.excluded.items()} == (
        dict.fromkeys(small, True)
    )
    rag(store, IN_SYSTEM, llm, len(LIBRARY)).invoke(EASY[1])
    assert [body["model"] for body in chat_server.requests] == ["big"]


def test_a_prompt_that_nobody_can_hold_is_one_clear_error(
    store: InMemoryVectorStore, pool: Any, chat_server: ChatServer
) -> None:
    for member in pool["models"]:
        member["context_window"] = 60
    chain = rag(store, IN_SYSTEM, ChatBestRoute(engine=routed(pool)), len(LIBRARY))
    with pytest.raises(NoEligibleArmError, match="context window of 60"):
        chain.invoke(EASY[1])
    assert chat_server.requests == []
