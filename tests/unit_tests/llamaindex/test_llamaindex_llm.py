"""BestRouteLLM as an object: how it is built, described, written down and copied."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.tools import FunctionTool
from pydantic import ValidationError

from bestroute import Arm, BestRoute, Cascade, ModelPool, OneShot
from bestroute.artifact import update
from bestroute.calibration import CalibrationTable, CostRow, Promise
from bestroute.errors import (
    ArtifactError,
    ConfigError,
    NotCertifiedError,
    PoolMismatchError,
    RouterNotTrained,
    UnknownModelError,
)
from bestroute.routers.features import FEATURE_NAMES
from bestroute.routers.heads import Heads
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.static import StaticEncoder
from llamaindex_bestroute import BestRouteLLM

KEY = "sk-never-to-be-seen"
POOL: dict[str, Any] = {
    "models": [
        {
            "model": "openai/small-one",
            "name": "small",
            "max_samples": 3,
            "price": {"input": 0.1, "output": 0.2},
            "context_window": 4000,
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


EVERY_CALL: dict[str, Any] = {
    "models": ("small", "big"),
    "cached_tokens": {"big": 100},
    "max_n": 2,
    "streaming_max_n": 1,
    "max_cost": 0.5,
    "query_turns": 2,
    "query_pattern": "Question: (.*)",
    "max_tokens": 100,
    "timeout": 30.0,
}


def _yaml(folder: Path) -> Path:
    path = folder / "pool.yaml"
    path.write_text(json.dumps(POOL))  # JSON is YAML
    return path


def _save_router(folder: Path, bias: float = 2.0) -> Path:
    """A saved router to which every arm is as good as the reference."""
    pool, encoder = ModelPool.from_dict(POOL), StaticEncoder()
    inputs, heads = encoder.dimension + len(FEATURE_NAMES), len(pool.arms) - 1
    router = MultiHeadRouter(
        pool.arms,
        "big",
        encoder,
        Heads(np.zeros(inputs), np.ones(inputs), np.zeros((inputs, heads)), np.full(heads, bias)),
    )
    return BestRoute(pool, router=router, threshold=0.6).save_pretrained(folder)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return _save_router(tmp_path / "router")


@pytest.mark.parametrize("form", ["data", "pool", "path", "text of the path"])
def test_a_pool_alone_is_enough(form: str, tmp_path: Path) -> None:
    given: Any = {
        "data": POOL,
        "pool": ModelPool.from_dict(POOL),
        "path": _yaml(tmp_path),
        "text of the path": str(_yaml(tmp_path)),
    }[form]
    llm = BestRouteLLM(pool=given)
    assert [str(arm) for arm in llm.engine.pool.arms] == ["small:1", "small:2", "small:3", "big:1"]
    assert isinstance(llm.engine.policy, Cascade)


def test_a_saved_router(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "from-the-environment")
    llm = BestRouteLLM.from_pretrained(artifact, pool=POOL)
    assert llm.engine.policy.threshold == 0.6
    assert llm.engine.route("What is 2 + 2?").arm == Arm("small", 1)
    dear = BestRouteLLM.from_pretrained(str(artifact), pool=POOL, threshold=0.99, max_tokens=7)
    assert dear.to_payload()["threshold"] == 0.99
    assert llm.to_payload()["threshold"] == 0.6
    assert dear.metadata.num_output == 7


def test_the_pool_may_limit_answers() -> None:
    small, big = POOL["models"]
    params = {**small["params"], "max_tokens": 1000}
    pool = {"models": [{**small, "params": params}, big]}
    assert BestRouteLLM(pool).metadata.num_output == 1000
    assert BestRouteLLM(pool, max_tokens=7).metadata.num_output == 7
    assert BestRouteLLM(pool, models=["big"]).metadata.num_output == 256


def test_the_model_s_name_is_of_one_that_is_asked() -> None:
    assert BestRouteLLM(POOL, models=["small"]).metadata.model_name == "bestroute:small"
    assert BestRouteLLM(POOL, models=["big", "small"]).metadata.model_name == "bestroute:big"


def test_a_promise_instead_of_a_threshold(artifact: Path) -> None:
    table = CalibrationTable(
        n_queries=900,
        promises=(Promise(max_drop=0.02, confidence=0.95, threshold=0.9, cost_per_1k=5),),
        budgets=(CostRow(cost_per_1k=3, threshold=0.5),),
    )
    with pytest.raises(ConfigError, match="bestroute calibrate"):
        BestRouteLLM.from_pretrained(artifact, max_drop=0.02)
    update(artifact, calibration=table, policy=OneShot(0.6))
    llm = BestRouteLLM.from_pretrained(artifact, max_drop=0.05)
    shown = ("threshold", "max_drop", "confidence", "target_cost")
    assert [llm.to_payload()[name] for name in shown] == [0.9, 0.02, 0.95, None]
    cheap = BestRouteLLM.from_pretrained(artifact, target_cost=4)
    assert [cheap.to_payload()[name] for name in shown] == [0.5, None, None, 4]
    with pytest.raises(NotCertifiedError):
        BestRouteLLM.from_pretrained(artifact, max_drop=0.01)
    safe = BestRouteLLM.from_pretrained(artifact, max_drop=0.01, on_uncertified="reference")
    assert safe.to_payload()["threshold"] > 1
    assert pickle.loads(pickle.dumps(llm)).to_payload() == llm.to_payload()


def test_a_saved_router_brings_its_pool(artifact: Path) -> None:
    assert BestRouteLLM.from_pretrained(artifact).metadata.model_name == "bestroute:big"


def test_an_engine_built_by_hand() -> None:
    engine = BestRoute(ModelPool.from_dict(POOL), policy=Cascade(n=2))
    assert BestRouteLLM(engine=engine).engine is engine


def test_mistakes_show_when_it_is_built(tmp_path: Path, artifact: Path) -> None:
    with pytest.raises(ConfigError, match="from_pretrained"):
        BestRouteLLM()
    with pytest.raises(RouterNotTrained, match="bestroute fit"):
        BestRouteLLM(POOL, threshold=0.5)
    with pytest.raises(ArtifactError, match="not a whole saved router"):
        BestRouteLLM.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="not both"):
        BestRouteLLM(POOL, engine=BestRoute(ModelPool.from_dict(POOL)))
    with pytest.raises(ConfigError, match="threshold is -1"):
        BestRouteLLM.from_pretrained(artifact, threshold=-1)
    with pytest.raises(PoolMismatchError, match="huge"):
        BestRouteLLM.from_pretrained(
            artifact, pool={"models": [{"model": "huge", "reference": True}]}
        )
    with pytest.raises(ValidationError, match="treshold"):
        BestRouteLLM(POOL, treshold=0.5)


def test_an_error_does_not_quote_the_key() -> None:
    wrong = {"models": [{**POOL["models"][0], "max_samples": "many"}]}
    with pytest.raises(ConfigError) as caught:
        BestRouteLLM(wrong)
    assert "max_samples" in str(caught.value)
    assert KEY not in str(caught.value)


def test_what_it_was_built_from_is_frozen() -> None:
    llm = BestRouteLLM(POOL)
    with pytest.raises(ValidationError, match="frozen"):
        llm.source = BestRouteLLM(POOL).source
    llm.temperature = 0.2
    assert llm.to_payload()["temperature"] == 0.2


def test_metadata_holds_for_the_whole_pool() -> None:
    metadata = BestRouteLLM(POOL).metadata
    assert metadata.context_window == 4000  # gpt-4o has 128000
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.model_name == "bestroute:big"
    assert metadata.num_output == 256


def test_metadata_of_models_that_nobody_knows() -> None:
    unknown = {"models": [{"model": "openai/mystery", "reference": True, "tools": False}]}
    assert BestRouteLLM(unknown).metadata.context_window == 8192
    assert not BestRouteLLM(unknown).metadata.is_function_calling_model
    told = BestRouteLLM(unknown, context_window=999, is_function_calling_model=True).metadata
    assert (told.context_window, told.is_function_calling_model) == (999, True)


def test_no_key_in_what_is_shown_or_sent() -> None:
    llm = BestRouteLLM(POOL)
    for shown in (repr(llm), str(llm), llm.to_json(), llm.model_dump_json(), llm.to_payload()):
        assert KEY not in str(shown)
    assert KEY.encode() not in pickle.dumps(llm)
    assert llm.to_dict()["class_name"] == "BestRouteLLM"
    assert llm.to_payload()["models"] == ["small", "big"]


def test_it_comes_back_from_plain_data() -> None:
    llm = BestRouteLLM(POOL, **EVERY_CALL, temperature=0.5, system_prompt="Be brief.")
    again = BestRouteLLM.from_json(llm.to_json())
    assert again.to_dict() == llm.to_dict()
    assert (again.temperature, again.system_prompt) == (0.5, "Be brief.")
    assert {name: getattr(again, name) for name in EVERY_CALL} == EVERY_CALL
    assert again.engine.pool["small"].max_samples == 3
    copied = pickle.loads(pickle.dumps(llm))
    assert {name: getattr(copied, name) for name in EVERY_CALL} == EVERY_CALL
    assert copied.to_payload() == llm.to_payload()


def test_what_is_out_of_range_or_unknown_is_refused() -> None:
    for wrong in ({"max_n": 0}, {"max_cost": -1}, {"timeout": 0}, {"query_turns": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            BestRouteLLM(POOL, **wrong)
    with pytest.raises(UnknownModelError, match="huge"):
        BestRouteLLM(POOL, models=("huge",))


def test_it_comes_back_from_a_pickle(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BIG_KEY", "from-the-environment")
    llm = BestRouteLLM(POOL, max_n=2, max_retries=5)
    with caplog.at_level(logging.WARNING):
        again = pickle.loads(pickle.dumps(llm))
    assert not caplog.records  # LlamaIndex warns of what it drops
    assert again.to_dict() == llm.to_dict()
    assert again.max_n == 2
    assert again.engine.sampler.retries == 5
    assert again.engine.pool["small"].call_params() == {"api_base": "http://127.0.0.1:9/v1"}
    assert again.engine.pool["big"].call_params()["api_key"] == "from-the-environment"
    assert llm.engine.pool["small"].call_params()["api_key"] == KEY  # the first one keeps its own


def test_a_pickled_router_is_loaded_when_asked_for(artifact: Path, tmp_path: Path) -> None:
    pickled = pickle.dumps(BestRouteLLM.from_pretrained(artifact))
    elsewhere = artifact.rename(tmp_path / "moved")
    again = pickle.loads(pickled)
    with pytest.raises(ArtifactError, match="router"):
        _ = again.engine
    elsewhere.rename(artifact)
    assert again.engine.policy.threshold == 0.6


def test_a_retrained_router_is_another_model(artifact: Path) -> None:
    llm = BestRouteLLM.from_pretrained(artifact)
    pickled, again = pickle.dumps(llm), BestRouteLLM.from_pretrained(artifact)
    assert again.to_dict() == llm.to_dict()  # what an ingestion cache goes by
    _save_router(artifact, bias=1.0)
    assert BestRouteLLM.from_pretrained(artifact).to_dict() != llm.to_dict()
    with pytest.raises(ArtifactError, match="trained or calibrated again"):
        BestRouteLLM.from_dict(llm.to_dict())
    with pytest.raises(ArtifactError, match="trained or calibrated again"):
        _ = pickle.loads(pickled).engine


def test_an_engine_built_by_hand_is_not_written_down() -> None:
    pool = ModelPool.from_dict(POOL)
    one, other = (BestRouteLLM(engine=BestRoute(pool, policy=Cascade(n=n))) for n in (2, 3))
    assert one.to_dict() != other.to_dict()
    with pytest.raises(ConfigError, match="engine="):
        BestRouteLLM.from_dict(one.to_dict())
    with pytest.raises(ConfigError, match="engine="):
        pickle.dumps(one)


def test_copies_share_the_engine(artifact: Path) -> None:
    llm = BestRouteLLM.from_pretrained(artifact, pool=POOL)
    dear = llm.model_copy(update={"threshold": 0.99})
    assert dear.to_payload()["threshold"] == 0.99
    assert llm.to_payload()["threshold"] == 0.6
    assert dear.engine is copy.deepcopy(llm).engine is llm.engine


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)


def test_tools_become_openai_parameters() -> None:
    llm = BestRouteLLM(POOL)
    history = [ChatMessage("Hello")]
    prepared = llm._prepare_chat_with_tools([ADD], "2 + 3?", history, stop=["x"])
    assert [message.content for message in prepared["messages"]] == ["Hello", "2 + 3?"]
    assert [tool["function"]["name"] for tool in prepared["tools"]] == ["add"]
    assert prepared["tool_choice"] is None
    assert prepared["stop"] == ["x"]
    assert len(history) == 1


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({"tool_required": True}, "required"),
        ({"tool_required": True, "tool_choice": "auto"}, "auto"),
        ({"tool_choice": "any"}, "required"),
        ({"tool_choice": "add"}, {"type": "function", "function": {"name": "add"}}),
        ({"tool_choice": {"type": "function"}}, {"type": "function"}),
    ],
)
def test_which_tool_must_be_called(options: dict[str, Any], choice: Any) -> None:
    assert BestRouteLLM(POOL)._prepare_chat_with_tools([ADD], "?", **options)["tool_choice"] == (
        choice
    )


def test_without_tools_none_is_required() -> None:
    prepared = BestRouteLLM(POOL)._prepare_chat_with_tools([], "?", tool_required=True)
    assert "tools" not in prepared
    assert "tool_choice" not in prepared


def _response(*calls: ToolCallBlock) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", blocks=list(calls)))


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1, "b": [2', {"a": 1, "b": [2]}),
        ("", {}),
        ("[1]", {}),
        ("}{", {}),
    ],
)
def test_tool_calls_are_read_as_far_as_they_go(arguments: Any, read: dict[str, Any]) -> None:
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs=arguments)
    [call] = BestRouteLLM(POOL).get_tool_calls_from_response(_response(block))
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c1", "add", read)


def test_a_response_without_tool_calls() -> None:
    llm = BestRouteLLM(POOL)
    assert llm.get_tool_calls_from_response(_response(), error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="expected a tool call"):
        llm.get_tool_calls_from_response(_response())


_WITHOUT_LLAMA_INDEX = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "llama_index":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import bestroute
try:
    import llamaindex_bestroute
except bestroute.errors.MissingExtraError as error:
    assert isinstance(error, ImportError)
    sys.stdout.write(f"{error.extra}: {error}")
"""

_WITHOUT_LITELLM = """
import sys
from llamaindex_bestroute import BestRouteLLM
llm = BestRouteLLM({"models": [{"model": "openai/gpt-4o", "reference": True}]})
llm.to_payload(), llm.to_dict()
sys.stdout.write(str("litellm" in sys.modules))
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_llama_index_the_error_names_the_extra() -> None:
    said = _run(_WITHOUT_LLAMA_INDEX)
    assert said.startswith("llamaindex: ")
    assert 'pip install "bestroute[llamaindex]"' in said


def test_building_one_does_not_wait_for_litellm() -> None:
    assert _run(_WITHOUT_LITELLM) == "False"
