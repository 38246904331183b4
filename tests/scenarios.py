"""A chain, a query engine and an agent that the tests run on recorded and on live models.

`shared/scripts/record_cassette.py` runs the very same, so that what it records is what they ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from llama_index.core.agent.workflow import ReActAgent
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.llms import LLM

MODELS = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
"""The cheap model and the reference."""

COUNTRIES = ("France", "Japan", "Australia", "Kazakhstan")

LIBRARY = (
    "The Harbour Library opens at nine in the morning and closes at six, except on Sundays.",
    "A library card costs twelve euros a year. Children under sixteen pay nothing.",
    "Books may be kept for four weeks. A reminder is sent three days before they are due.",
    "The reading room on the second floor has forty seats and a view of the old lighthouse.",
    "The library was founded in 1908 by the ship owner Clara Winterberg.",
)
QUESTIONS = (
    "Who founded the Harbour Library?",
    "How much does a library card cost per year?",
    "How long may books be kept?",
)

_ROOT = Path(__file__).parents[1]
DOCUMENTS = (_ROOT / "LICENSE", _ROOT / "shared" / "bestroute" / "data" / "DATA_CARD.md")
"""Real documents that we may ship: our own. Where they change, record again."""

DOCUMENT_QUESTIONS = (
    "How many rows do the recorded samples have?",
    "On which date were the samples recorded?",
    "What happens to a patent license if You institute patent litigation?",
)

TICKETS = "What do 143 tickets cost together? Look up the price of a ticket, then multiply."
"""The answer, 5291, takes both tools of the agent."""

REACT = """Answer the question step by step with these tools:
{tool_desc}

Each time, reply in one of these two forms, and stop. To use one of the tools {tool_names}:

Thought: what is to be done next
Action: name of the tool
Action Input: its arguments as JSON, for example {{"a": 1, "b": 2}}

Once nothing is left to be done:

Thought: I can answer.
Answer: the answer
"""
"""Shorter than LlamaIndex's own: small models follow it better, and sooner."""


def pool(bases: Mapping[str, str]) -> dict[str, Any]:
    """A pool for a cascade; `bases` says where each model answers, recorded ones nowhere."""
    cheap, reference = MODELS
    return {
        "models": [
            _member(cheap, bases, price={"input": 3, "output": 6}, max_samples=3),
            _member(reference, bases, price={"input": 5, "output": 15}, reference=True),
        ]
    }


def _member(name: str, bases: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 96}
    if name in bases:
        params.update(api_base=bases[name], api_key="none")
    model = f"openai/{name}" if name in bases else f"recorded/{name}"
    return {
        "name": name,
        "model": model,
        "native_n": True,
        "max_native_n": 5,
        "context_window": 4096,
        "params": params,
        **fields,
    }


def chain(llm: BaseChatModel) -> Runnable[dict[str, str], str]:
    """prompt | model | parser."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You answer with the name of the city only."),
            ("human", "What is the capital of {country}?"),
        ]
    )
    return prompt | llm | StrOutputParser()


def query_engine(llm: LLM) -> BaseQueryEngine:
    """A vector index over real documents, embedded on this machine."""
    from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter

    from tests.static_embedding import StaticEmbedding

    reader = SimpleDirectoryReader(
        input_files=list(DOCUMENTS), file_metadata=lambda path: {"file": Path(path).name}
    )
    index = VectorStoreIndex.from_documents(
        reader.load_data(),
        embed_model=StaticEmbedding(),
        transformations=[SentenceSplitter(chunk_size=160, chunk_overlap=20)],
    )
    return index.as_query_engine(llm=llm, similarity_top_k=2)


def agent(llm: LLM) -> ReActAgent:
    """An agent with two tools, which it calls in text: so small models can."""
    from llama_index.core.agent.react import ReActChatFormatter
    from llama_index.core.agent.workflow import ReActAgent
    from llama_index.core.tools import FunctionTool

    def price(item: str) -> str:
        """Tell what one item costs."""
        return f"One {item} costs 37 euros. Use multiply for several."

    def multiply(a: int, b: int) -> int:
        """Multiply two integers."""
        return a * b

    tools = [FunctionTool.from_defaults(each) for each in (price, multiply)]
    formatter = ReActChatFormatter.from_defaults(system_header=REACT)
    return ReActAgent(tools=tools, llm=llm, formatter=formatter)
