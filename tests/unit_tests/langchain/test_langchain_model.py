"""ChatBestRoute as an object: how it is built, described, written down and copied."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, HumanMessage, trim_messages
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from bestroute import Arm, BestRoute, Cascade, ModelPool, OneShot
from bestroute.errors import (
    ArtifactError,
    ConfigError,
    PoolMismatchError,
    RouterNotTrained,
    UnknownModelError,
)
from bestroute.rewards import FunctionReward
from bestroute.routers.features import FEATURE_NAMES
from bestroute.routers.heads import Heads
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.static import StaticEncoder
from langchain_bestroute import ChatBestRoute

KEY = "sk-never-to-be-seen"
POOL: dict[str, Any] = {
    "models": [
        {
            "model": "openai/small-one",
            "name": "small",
            "max_samples": 3,
            "price": {"input": 0.1, "output": 0.2},
            "params": {"api_key": KEY, "api_base": "http://127.0.0.1:9/v1"},
        },
        {
            "model": "openai/gpt-4o",
            "name": "big",
            "reference": True,
            "price": {"input": 2.5, "output": 10},
            "params": {"api_key": "os.environ/BIG_KEY", "extra_headers": {"x-key": KEY}},
        },
    ]
}


def _save_router(folder: Path, match: float, threshold: float = 0.6) -> Path:
    """A saved router to which every arm matches the reference with the same probability."""
    pool, encoder = ModelPool.from_dict(POOL), StaticEncoder()
    inputs, heads = encoder.dimension + len(FEATURE_NAMES), len(pool.arms) - 1
    bias = np.full(heads, np.log(match / (1 - match)))
    router = MultiHeadRouter(
        pool.arms,
        "big",
        encoder,
        Heads(np.zeros(inputs), np.ones(inputs), np.zeros((inputs, heads)), bias),
    )
    return BestRoute(pool, router=router, threshold=threshold).save_pretrained(folder)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return _save_router(tmp_path / "router", 0.8)


def _revived(llm: ChatBestRoute) -> ChatBestRoute:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load is in beta
        revived = load(
            dumpd(llm), allowed_objects=[ChatBestRoute], valid_namespaces=["langchain_bestroute"]
        )
    assert isinstance(revived, ChatBestRoute)
    return revived


@pytest.mark.parametrize("form", ["data", "pool", "path", "text of the path"])
def test_a_pool_alone_is_enough(form: str, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(json.dumps(POOL))  # JSON is YAML
    given: Any = {
        "data": POOL,
        "pool": ModelPool.from_dict(POOL),
        "path": path,
        "text of the path": str(path),
    }[form]
    engine = ChatBestRoute(pool=given).engine
    assert [str(arm) for arm in engine.pool.arms] == ["small:1", "small:2", "small:3", "big:1"]
    assert isinstance(engine.policy, Cascade)


def test_a_saved_router(artifact: Path) -> None:
    llm = ChatBestRoute.from_pretrained(artifact, pool=POOL, max_tokens=7)
    assert llm.engine.route("What is 2 + 2?").arm == Arm("small", 1)
    assert llm.max_tokens == 7
    assert ChatBestRoute.from_pretrained(str(artifact)).engine.pool.reference.name == "big"


def test_an_engine_built_by_hand() -> None:
    engine = BestRoute(ModelPool.from_dict(POOL), policy=Cascade(n=2))
    assert ChatBestRoute(engine=engine).engine is engine


def test_mistakes_show_when_it_is_built(tmp_path: Path, artifact: Path) -> None:
    with pytest.raises(ConfigError, match="from_pretrained"):
        ChatBestRoute()
    with pytest.raises(RouterNotTrained, match="bestroute fit"):
        ChatBestRoute(pool=POOL, threshold=0.5)
    with pytest.raises(ConfigError, match="threshold is -1"):
        ChatBestRoute.from_pretrained(artifact, threshold=-1)
    with pytest.raises(ConfigError, match="bestroute calibrate"):
        ChatBestRoute.from_pretrained(artifact, max_drop=0.02)
    with pytest.raises(ConfigError, match="threshold and target_cost"):
        ChatBestRoute.from_pretrained(artifact, threshold=0.5, target_cost=1)
    with pytest.raises(ArtifactError, match="not a whole saved router"):
        ChatBestRoute.from_pretrained(tmp_path)
    with pytest.raises(PoolMismatchError, match="huge"):
        ChatBestRoute.from_pretrained(
            artifact, pool={"models": [{"model": "huge", "reference": True}]}
        )
    with pytest.raises(ConfigError, match="not both"):
        ChatBestRoute(pool=POOL, engine=BestRoute(ModelPool.from_dict(POOL)))
    with pytest.raises(ValidationError, match="treshold"):
        ChatBestRoute(pool=POOL, treshold=0.5)
    with pytest.raises(UnknownModelError, match="'nope' in the pool; it holds: small, big"):
        ChatBestRoute(pool=POOL, models=("small", "nope"))
    with pytest.raises(UnknownModelError, match="'nope'"):
        ChatBestRoute(pool=POOL, cached_tokens={"nope": 1})
    with pytest.raises(ConfigError, match=r"query_pattern '\(' is no regular expression"):
        ChatBestRoute(pool=POOL, query_pattern="(")


def test_an_error_does_not_quote_the_key() -> None:
    wrong = {"models": [{**POOL["models"][0], "max_samples": "many"}]}
    with pytest.raises(ConfigError, match="max_samples") as caught:
        ChatBestRoute(pool=wrong)
    assert KEY not in str(caught.value)


def test_a_key_beside_the_pool_is_not_taken() -> None:
    with pytest.warns(UserWarning, match="keys belong to the models") as caught:
        llm = ChatBestRoute(pool=POOL, api_key=KEY)
    assert KEY not in f"{caught[0].message} {llm!r}"


def test_no_key_in_what_is_shown_or_written(artifact: Path) -> None:
    for llm in (ChatBestRoute(pool=POOL), ChatBestRoute.from_pretrained(artifact, pool=POOL)):
        chain = ChatPromptTemplate.from_template("{x}") | llm.bind(max_n=1)
        for shown in (repr(llm), str(llm), llm.model_dump_json(), llm.asdict(), dumps(chain)):
            assert KEY not in str(shown)
        assert KEY.encode() not in pickle.dumps(llm)
        assert "os.environ/BIG_KEY" in dumps(chain)


def test_serialised_and_revived(artifact: Path) -> None:
    for llm in (
        ChatBestRoute(pool=POOL, max_n=2, temperature=0.7, stop=["x"], max_retries=5),
        ChatBestRoute.from_pretrained(artifact, pool=POOL, threshold=0.9),
        ChatBestRoute.from_pretrained(artifact),
    ):
        revived = _revived(llm)
        assert dumpd(revived) == dumpd(llm)
        assert revived.asdict() == llm.asdict()
        assert revived.engine.sampler.retries == llm.engine.sampler.retries


def test_pickled(artifact: Path) -> None:
    llm = ChatBestRoute.from_pretrained(artifact, pool=POOL, threshold=0.9)
    copied = pickle.loads(pickle.dumps(llm))
    assert dumpd(copied) == dumpd(llm)
    assert copied.engine.route("Hi", threshold=0.7).arm == Arm("small", 1)


@pytest.mark.parametrize("changed", [{"match": 0.7}, {"match": 0.8, "threshold": 0.5}])
def test_a_retrained_router_is_another_model(artifact: Path, changed: Any) -> None:
    llm = ChatBestRoute.from_pretrained(artifact)
    pickled, again = pickle.dumps(llm), ChatBestRoute.from_pretrained(artifact)
    assert dumpd(again) == dumpd(llm)
    _save_router(artifact, **changed)
    assert dumpd(ChatBestRoute.from_pretrained(artifact)) != dumpd(llm)
    with pytest.raises(ArtifactError, match="trained or calibrated again"):
        _revived(llm)
    with pytest.raises(ArtifactError, match="trained or calibrated again"):
        _ = pickle.loads(pickled).engine


def test_where_the_router_lies_does_not_matter(artifact: Path, tmp_path: Path) -> None:
    moved = _save_router(tmp_path / "elsewhere", 0.8)
    digests = {ChatBestRoute.from_pretrained(path).source.digest for path in (artifact, moved)}
    assert len(digests) == 1


def test_an_engine_built_by_hand_is_not_written_down() -> None:
    pool = ModelPool.from_dict(POOL)
    one, other = (
        ChatBestRoute(engine=BestRoute(pool, reward=FunctionReward(score)))
        for score in (lambda query, text: 0.0, lambda query, text: 1.0)
    )
    assert dumpd(one) != dumpd(other)  # or they would share cached answers
    assert dumpd(one.model_copy()) == dumpd(one)
    with pytest.raises(ConfigError, match="engine="):
        _revived(one)
    with pytest.raises(ConfigError, match="engine="):
        pickle.dumps(one)


def test_copies_share_the_engine() -> None:
    llm = ChatBestRoute(pool=POOL, temperature=0.5)
    changed = llm.model_copy(update={"temperature": 0.9})
    assert dumpd(changed) != dumpd(llm)
    assert dumpd(changed)["kwargs"]["temperature"] == 0.9
    configurable: Any = llm.configurable_fields(max_n=ConfigurableField(id="n"))
    configured, _ = configurable.prepare({"configurable": {"n": 1}})
    assert configured.max_n == 1
    for copied in (changed, configured, copy.deepcopy(llm)):
        assert copied.engine is llm.engine


def test_what_traces_say(artifact: Path) -> None:
    llm = ChatBestRoute.from_pretrained(artifact, temperature=0.5, max_tokens=9, stop=["x"])
    assert llm._get_ls_params() == {
        "ls_provider": "bestroute",
        "ls_model_name": "bestroute:big",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["x"],
    }
    params = llm.asdict()
    assert params["models"] == ["small", "big"]
    assert params["digest"] == llm.source.digest is not None


class Add(BaseModel):
    """Add two numbers."""

    a: int
    b: int


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def divide(a: int, b: int) -> float:
    """Divide two numbers."""
    return a / b


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("multiply", {"type": "function", "function": {"name": "multiply"}}),
        ({"type": "function", "function": {"name": "Add"}},) * 2,
        ({"type": "any"}, "required"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "Add"}, {"type": "function", "function": {"name": "Add"}}),
    ],
)
def test_tools_of_every_form(choice: Any, sent: Any) -> None:
    schema = {"title": "subtract", "description": "", "type": "object", "properties": {}}
    bound = ChatBestRoute(pool=POOL).bind_tools([Add, multiply, divide, schema], tool_choice=choice)
    names = [each["function"]["name"] for each in bound.kwargs["tools"]]  # type: ignore[attr-defined]
    assert names == ["Add", "multiply", "divide", "subtract"]
    assert bound.kwargs.get("tool_choice") == sent  # type: ignore[attr-defined]


def test_an_unknown_tool_choice() -> None:
    with pytest.raises(ConfigError, match="'ad' is none of the tools \\(Add\\)"):
        ChatBestRoute(pool=POOL).bind_tools([Add], tool_choice="ad")
    with pytest.raises(ConfigError, match="'ad' is none of the tools \\(Add\\)"):
        ChatBestRoute(pool=POOL).bind_tools([Add], tool_choice={"type": "tool", "name": "ad"})


@pytest.mark.parametrize("choice", [None, "auto", "none", False, {"type": "auto"}])
def test_no_tools_are_no_parameters(choice: Any) -> None:
    llm = ChatBestRoute(pool=POOL)
    bound: Any = llm.bind_tools([], tool_choice=choice, parallel_tool_calls=False, max_n=1)
    assert bound.kwargs == {"max_n": 1}


@pytest.mark.parametrize("choice", ["any", "required", True, {"type": "any"}])
def test_a_call_of_no_tool_cannot_be_demanded(choice: Any) -> None:
    with pytest.raises(ConfigError, match="no tools are given"):
        ChatBestRoute(pool=POOL).bind_tools([], tool_choice=choice)


def test_a_policy_of_ones_own_keeps_deciding(artifact: Path) -> None:
    engine = BestRoute.from_pretrained(artifact, policy=OneShot(0.95))
    assert ChatBestRoute(engine=engine).engine.route("Hi").arm == Arm("big", 1)


def test_tokens_are_counted_without_a_hub() -> None:
    llm = ChatBestRoute(pool=POOL)
    assert llm.get_num_tokens("hello world " * 10) == pytest.approx(20, abs=2)
    assert llm.get_num_tokens("") == 0
    chat = [HumanMessage("word " * 50), AIMessage("word " * 50), HumanMessage("word " * 50)]
    assert llm.get_num_tokens_from_messages(chat) == pytest.approx(150 + 9, abs=6)
    kept = trim_messages(chat, max_tokens=70, token_counter=llm, strategy="last")
    assert kept == chat[-1:]
