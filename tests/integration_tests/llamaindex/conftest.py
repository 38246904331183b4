"""A routed LLM whose router notes what it reads, and what was said, asked and paid around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent

from bestroute import Arm, BestRoute, ModelPool, Prediction
from llamaindex_bestroute import BestRouteDecisionEvent, BestRouteLLM
from tests.static_embedding import StaticEmbedding

TEXTS = (
    "The Nile flows through Egypt into the Mediterranean Sea.",
    "Photosynthesis turns sunlight, water and carbon dioxide into sugar.",
    "Johannes Gutenberg printed the Bible with movable type in Mainz.",
    "Basalt is a dark rock that forms when lava cools quickly.",
    "The cello is tuned in fifths: C, G, D and A.",
)


class ReadingRouter:
    """Notes what it is given to read; takes the small model, three times, for every question."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        self.arms = tuple(arms)
        self.read: list[str] = []

    def predict(self, queries: Sequence[str]) -> Prediction:
        self.read += queries
        match = [float(str(arm) in ("openai/small:3", "openai/big:1")) for arm in self.arms]
        return Prediction(self.arms, np.array([match] * len(queries)))


@pytest.fixture
def router(pool: dict[str, Any]) -> ReadingRouter:
    """Every question goes to three samples of the small model."""
    return ReadingRouter(ModelPool.read(pool).arms)


@pytest.fixture
def llm(pool: dict[str, Any], router: ReadingRouter) -> BestRouteLLM:
    """Routed by `router`; offers tools."""
    for member in pool["models"]:
        member["tools"] = True
    engine = BestRoute(ModelPool.read(pool), router=router, threshold=0.5)
    return BestRouteLLM(engine=engine)


@pytest.fixture
def settings(llm: BestRouteLLM) -> Iterator[None]:
    """The same as `Settings.llm`."""
    before, Settings.llm = Settings._llm, llm
    yield
    Settings._llm = before


@pytest.fixture
def index() -> VectorStoreIndex:
    """Five sentences."""
    documents = [Document(text=text) for text in TEXTS]
    return VectorStoreIndex.from_documents(documents, embed_model=StaticEmbedding())


@pytest.fixture
def counter() -> Iterator[TokenCountingHandler]:
    """Counts the tokens of query engines, which take the callbacks of `Settings` only."""
    before, counter = Settings.callback_manager, TokenCountingHandler()
    Settings.callback_manager = CallbackManager([counter])
    yield counter
    Settings.callback_manager = before


class _Keeping(BaseEventHandler):
    """Keeps the events of these kinds."""

    kinds: tuple[type[BaseEvent], ...]
    keep: Callable[[Any], None]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if isinstance(event, self.kinds):
            self.keep(event)


@contextmanager
def _kept(keep: Callable[[Any], None], *kinds: type[BaseEvent]) -> Iterator[None]:
    root, handler = get_dispatcher(), _Keeping(kinds=kinds, keep=keep)
    root.add_event_handler(handler)
    yield
    root.event_handlers.remove(handler)


@pytest.fixture
def answers() -> Iterator[list[dict[str, Any]]]:
    """The `raw` of each of the LLM's answers, as the instrumentation tells it."""
    seen: list[dict[str, Any]] = []

    def keep(event: LLMChatEndEvent | LLMCompletionEndEvent) -> None:
        if event.response and "bestroute" in (event.response.raw or {}):
            seen.append(event.response.raw)

    with _kept(keep, LLMChatEndEvent, LLMCompletionEndEvent):
        yield seen


@pytest.fixture
def decisions() -> Iterator[list[dict[str, Any]]]:
    """What the router decided, as the instrumentation tells it."""
    seen: list[dict[str, Any]] = []
    with _kept(lambda event: seen.append(event.decision), BestRouteDecisionEvent):
        yield seen
