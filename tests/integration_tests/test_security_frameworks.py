"""Through LangChain and LlamaIndex secrets reach the provider, and no dump, trace or event."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from llama_index.core.base.llms.types import ChatMessage

from bestroute.errors import BestRouteError
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.canaries import Cage, assert_free, cage, canary, shown
from tests.llamaindex_suite.listening import Callbacks, listening

__all__ = ["cage"]

ASK = "What is 17 * 3?"
REFUSED = pytest.mark.parametrize("refuses", [(), ("small",), ("small", "big")], ids=str)


class Tracer(BaseTracer):
    """Keeps finished runs as they would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(f"{run!r}{run.model_dump_json()}{run.serialized}{run.error}{run.inputs}")


@REFUSED
def test_langchain(cage: Cage, refuses: tuple[str, ...]) -> None:
    cage.refuses = set(refuses)
    llm, tracer, found = ChatBestRoute(pool=cage.pool, max_retries=0), Tracer(), []
    for door in (llm.invoke, lambda *given: list(llm.stream(*given))):
        try:
            found.append(door(ASK, {"callbacks": [tracer]}))
        except BestRouteError as error:
            found.append(error)
    assert canary("key") in cage.served() and canary("nested") in cage.served()
    assert tracer.runs
    places = {"traces": "".join(tracer.runs), "answers": repr(found), "logs": "".join(cage.logged)}
    places |= {"dumps": dumps(llm), "dumpd": repr(dumpd(llm)), "pickle": repr(pickle.dumps(llm))}
    places |= shown(*(each for each in found if isinstance(each, BestRouteError)))
    places |= {"repr": repr(llm), "dict": repr(llm.model_dump()), "json": llm.model_dump_json()}
    places |= {"identity": f"{llm._identifying_params}{llm._get_llm_string()}"}
    assert_free(places)


@REFUSED
def test_llamaindex(cage: Cage, refuses: tuple[str, ...]) -> None:
    cage.refuses = set(refuses)
    callbacks, found = Callbacks(), []
    llm: Any = BestRouteLLM(pool=cage.pool, max_retries=0, callback_manager=callbacks.manager)
    with listening() as heard:
        for door in (llm.chat, lambda *given: list(llm.stream_chat(*given))):
            try:
                found.append(door([ChatMessage(content=ASK)]))
            except BestRouteError as error:
                found.append(error)
    assert canary("key") in cage.served() and heard.events
    places = {"events": repr(heard.events), "spans": repr(heard.spans), "answers": repr(found)}
    places |= {"callbacks": f"{callbacks.starts}{callbacks.ends}", "logs": "".join(cage.logged)}
    places |= {"dict": repr(llm.to_dict()), "json": llm.to_json(), "repr": repr(llm)}
    places |= {"payload": repr(llm.to_payload()), "dump": repr(llm.model_dump())}
    places |= shown(*(each for each in found if isinstance(each, BestRouteError)))
    assert_free(places)
