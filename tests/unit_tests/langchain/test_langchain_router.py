"""BestRouteRouter: what it takes, what it decides, how it is traced and chained."""

from __future__ import annotations

import asyncio
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import ValidationError

from bestroute import Arm, Decision
from bestroute.errors import ConfigError, NoEligibleArmError, RequestError
from langchain_bestroute import BestRouteRouter, ChatBestRoute
from tests.small_router import EASY, HARD, routed

KEY = "sk-never-to-be-seen"
POOL: dict[str, Any] = {
    "models": [
        {
            "model": "openai/small-one",
            "name": "small",
            "max_samples": 3,
            "price": {"input": 0.1, "output": 0.2},
            "context_window": 500,
            "tools": False,
            "params": {"api_key": KEY},
        },
        {
            "model": "openai/gpt-4o",
            "name": "big",
            "reference": True,
            "price": {"input": 2.5, "output": 10},
            "context_window": 2000,
        },
    ]
}
SMALL, BIG = Arm("small", 1), Arm("big", 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return routed(POOL).save_pretrained(tmp_path_factory.mktemp("router"))


@pytest.fixture(scope="module")
def router(saved: Path) -> BestRouteRouter:
    return BestRouteRouter.from_pretrained(saved, pool=POOL)


class Runs(BaseTracer):
    """Every top-level run, with its children."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.seen.append(run)


# What it takes, and gives


@pytest.mark.parametrize(
    "form",
    [
        str,
        lambda text: [HumanMessage(text)],
        lambda text: [SystemMessage("Be brief."), HumanMessage(text)],
        lambda text: [("system", "Be brief."), ("human", text)],
        lambda text: [{"role": "user", "content": text}],
        lambda text: StringPromptValue(text=text),
        lambda text: ChatPromptValue(messages=[HumanMessage(text)]),
    ],
)
async def test_it_takes_what_a_chat_model_takes(form: Any, router: BestRouteRouter) -> None:
    for question, arm in ((EASY[0], SMALL), (HARD[0], BIG)):
        decision = router.invoke(form(question))
        assert isinstance(decision, Decision)
        assert decision.arm == arm
        assert await router.ainvoke(form(question)) == decision


async def test_batches(router: BestRouteRouter) -> None:
    asked: list[Any] = [*EASY, *HARD]
    arms = [SMALL] * 3 + [BIG] * 3
    assert [decision.arm for decision in router.batch(asked)] == arms
    assert [decision.arm for decision in await router.abatch(asked)] == arms


def test_it_stands_behind_a_prompt(router: BestRouteRouter) -> None:
    chain = ChatPromptTemplate.from_messages([("system", HARD[0]), ("human", "{ask}")]) | router
    assert [chain.invoke({"ask": ask}).arm for ask in (EASY[1], HARD[1])] == [SMALL, BIG]


def test_what_cannot_be_routed(router: BestRouteRouter) -> None:
    with pytest.raises(RequestError):
        router.invoke([])
    with pytest.raises(NoEligibleArmError, match="do not fit"):
        router.invoke("word " * 10_000)
    with pytest.raises(ConfigError, match="not both|give one of"):
        router.invoke(EASY[0], threshold=0.5, max_drop=0.1)


async def test_routing_does_not_block_the_event_loop(monkeypatch: Any) -> None:
    engine = routed(POOL)
    assert engine.router is not None
    entered, leave = threading.Event(), threading.Event()
    predict = engine.router.predict

    def slowly(queries: Any) -> Any:
        entered.set()
        assert leave.wait(10), "the event loop never got its turn"
        return predict(queries)

    monkeypatch.setattr(engine.router, "predict", slowly)
    deciding = asyncio.create_task(BestRouteRouter(engine=engine).ainvoke(EASY[0]))
    while not entered.is_set():
        await asyncio.sleep(0.01)
    leave.set()
    assert (await deciding).arm == SMALL


# Options


def test_options_of_a_call_win_over_fields(saved: Path) -> None:
    router = BestRouteRouter.from_pretrained(saved, pool=POOL, threshold=0.9, max_n=2)
    assert router.invoke(EASY[0]).arm == BIG
    assert router.invoke(EASY[0], threshold=0.1).arm == SMALL
    assert router.bind(threshold=0.1).invoke(HARD[0]).arm == SMALL
    assert router.invoke(EASY[0], model="small").arm == SMALL
    excluded = router.invoke(EASY[0]).excluded
    assert set(excluded) == {"small:3"}
    assert set(router.invoke(EASY[0], max_n=1).excluded) == {"small:2", "small:3"}
    with_tools = router.invoke(EASY[0], tools=[{"type": "function", "function": {"name": "f"}}])
    assert "tools" in with_tools.excluded["small:1"]


def test_configurable_fields(router: BestRouteRouter) -> None:
    chain = router.configurable_fields(threshold=ConfigurableField(id="t"))
    assert chain.invoke(EASY[0]).arm == SMALL
    assert chain.with_config(configurable={"t": 0.9}).invoke(EASY[0]).arm == BIG
    batch: Any = [{"configurable": {"t": threshold}} for threshold in (0.1, 0.9)]
    assert [each.arm for each in chain.batch([HARD[0], EASY[0]], batch)] == [SMALL, BIG]


async def test_configurable_values_need_no_declaration(router: BestRouteRouter) -> None:
    config: Any = {"configurable": {"bestroute_threshold": 0.9, "threshold": "theirs"}}
    assert router.invoke(EASY[0], config).arm == BIG
    assert (await router.ainvoke(EASY[0], config)).arm == BIG
    chain = RunnableLambda(lambda text: text) | router
    assert chain.invoke(EASY[0], config).arm == BIG
    assert router.invoke(EASY[0], config, threshold=0.5).arm == SMALL


def test_mistakes_show_when_it_is_built(saved: Path) -> None:
    with pytest.raises(ConfigError, match="from_pretrained"):
        BestRouteRouter()
    with pytest.raises(ValidationError, match="treshold"):
        BestRouteRouter.from_pretrained(saved, treshold=0.5)
    with pytest.raises(ConfigError, match="threshold is -1"):
        BestRouteRouter.from_pretrained(saved, threshold=-1)


def test_the_router_of_a_chat_model(saved: Path) -> None:
    llm = ChatBestRoute.from_pretrained(
        saved, pool=POOL, threshold=0.9, max_n=2, query_turns=2, query_pattern="Q: (.*)"
    )
    router = llm.router
    assert router.engine is llm.engine
    assert router.invoke(EASY[0]).arm == BIG
    assert router.invoke("Q: " + EASY[0], threshold=0.5).arm == SMALL
    assert (router.max_n, router.query_turns, router.query_pattern) == (2, 2, "Q: (.*)")


def test_it_is_written_down_and_pickled_without_keys(router: BestRouteRouter) -> None:
    plain = dumpd(router)
    assert KEY not in f"{plain} {router!r} {router.model_dump_json()}"
    assert KEY.encode() not in pickle.dumps(router)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load is in beta
        loaded = load(
            plain, allowed_objects=[BestRouteRouter], valid_namespaces=["langchain_bestroute"]
        )
    for revived in (loaded, pickle.loads(pickle.dumps(router))):
        assert isinstance(revived, BestRouteRouter)
        assert revived.invoke(HARD[0]).arm == BIG


def test_it_says_what_goes_in_and_out(router: BestRouteRouter) -> None:
    assert router.OutputType is Decision
    assert router.get_name() == "BestRouteRouter"
    assert router.get_input_schema().model_validate(EASY[0])
    assert "match_probabilities" in router.get_output_jsonschema()["properties"]


# Tracing


@pytest.mark.parametrize("door", ["sync", "async"])
async def test_a_decision_is_traced_as_plain_data(door: str, router: BestRouteRouter) -> None:
    runs = Runs()
    config: Any = {"callbacks": [runs], "run_name": "which model", "tags": ["mine"]}
    if door == "sync":
        decision = router.invoke(EASY[0], config)
    else:
        decision = await router.ainvoke(EASY[0], config)
    (run,) = runs.seen
    assert (run.run_type, run.name, run.tags, run.error) == ("chain", "which model", ["mine"], None)
    assert run.inputs == {"input": EASY[0]}
    assert run.outputs is not None
    outputs = run.outputs.get("output", run.outputs)
    assert outputs["arm"] == "small:1"
    assert outputs["match_probabilities"] == decision.match_probabilities
    assert outputs["reason"] == decision.reason
    assert not run.child_runs


def test_a_failure_is_traced(router: BestRouteRouter) -> None:
    runs = Runs()
    with pytest.raises(NoEligibleArmError):
        router.invoke("word " * 10_000, {"callbacks": [runs]})
    assert "do not fit" in str(runs.seen[0].error)


# Branches


def _big(made: dict[str, Any]) -> bool:
    return bool(made["decision"].arm.model == "big")


async def test_branches_of_one_s_own(router: BestRouteRouter) -> None:
    chain = router.with_decision() | RunnableBranch(
        (_big, lambda made: f"slowly: {made['input']}"),
        lambda made: f"at once: {made['input']}",
    )
    assert chain.invoke(HARD[0]) == f"slowly: {HARD[0]}"
    assert await chain.ainvoke(EASY[0]) == f"at once: {EASY[0]}"
    messages = [HumanMessage(EASY[0])]
    made = router.with_decision().invoke(messages)
    assert made["input"] is messages
    assert made["decision"] == router.invoke(EASY[0])


async def test_a_decision_beside_other_inputs(router: BestRouteRouter) -> None:
    chain = RunnablePassthrough.assign(decision=(lambda asked: asked["question"]) | router)
    made = await chain.ainvoke({"question": HARD[0], "context": "long"})
    assert (made["decision"].arm, made["context"]) == (BIG, "long")


def _words(name: str) -> Any:
    """A branch that streams."""

    def words(inputs: Any) -> Any:
        for value in inputs:
            yield from (name, *value.to_string().split())

    async def awords(inputs: Any) -> Any:
        async for value in inputs:
            for word in words([value]):
                yield word

    return RunnableGenerator(words, awords)


async def test_a_branch_for_every_model(router: BestRouteRouter) -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "{ask}")])
    branches = {"small": _words("small"), "big": _words("big") | StrOutputParser()}
    chain = prompt | router.branch(branches)
    assert chain.invoke({"ask": EASY[0]}).startswith("smallHuman:What")
    assert (await chain.ainvoke({"ask": HARD[0]})).startswith("bigHuman:Prove")
    assert [text[:3] for text in chain.batch([{"ask": EASY[0]}, {"ask": HARD[0]}])] == [
        "sma",
        "big",
    ]
    pieces = ["big", "Human:", *HARD[0].split()]
    assert list(chain.stream({"ask": HARD[0]})) == pieces
    assert [piece async for piece in chain.astream({"ask": HARD[0]})] == pieces


def test_branches_may_be_functions(router: BestRouteRouter) -> None:
    chain = router.branch({"small": lambda text: len(text), "big": RunnableLambda(str.upper)})
    assert chain.invoke(EASY[0]) == len(EASY[0])
    assert chain.invoke(HARD[0]) == HARD[0].upper()


@pytest.mark.parametrize("names", [["small"], ["small", "big", "huge"], []])
def test_branches_must_fit_the_pool(names: list[str], router: BestRouteRouter) -> None:
    with pytest.raises(ConfigError, match="one branch for each of small, big"):
        router.branch(dict.fromkeys(names, str.upper))
