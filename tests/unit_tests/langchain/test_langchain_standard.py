"""LangChain's own unit suite for chat models, and what `load` needs of us."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from langchain_core.load import dumpd, load, loads
from langchain_core.load.dump import dumps
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_bestroute import ChatBestRoute
from langchain_bestroute._serialization import register

POOL: dict[str, Any] = {
    "models": [
        {
            "model": "groq/llama-3.1-8b-instant",
            "max_samples": 3,
            "params": {"api_key": "os.environ/GROQ_API_KEY"},
        },
        {"model": "openai/gpt-4o", "reference": True},
    ]
}
OURS = ["langchain_bestroute"]


@pytest.mark.filterwarnings("ignore:api_key is ignored")  # the suite gives one
class TestChatBestRouteUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatBestRoute]:
        return ChatBestRoute

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": POOL}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"GROQ_API_KEY": "a key"}, {"pool": POOL, "max_n": 2}, {"max_n": 2}


def test_all_objects_of_our_namespace_are_loaded() -> None:
    llm = ChatBestRoute(pool=POOL, max_n=2)
    for revived in (
        load(dumpd(llm), allowed_objects="all", valid_namespaces=OURS),
        loads(dumps(llm), allowed_objects="all", valid_namespaces=OURS),
    ):
        assert isinstance(revived, ChatBestRoute)
        assert dumpd(revived) == dumpd(llm)


def test_nothing_is_loaded_by_default() -> None:
    written = dumpd(ChatBestRoute(pool=POOL))
    with pytest.raises(ValueError, match="Invalid namespace"):
        load(written, allowed_objects="all")
    for kind in ("core", "messages"):
        with pytest.raises(ValueError, match="not allowed"):
            load(written, allowed_objects=kind, valid_namespaces=OURS)  # type: ignore[arg-type]


def test_asked_before_we_were_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("langchain_core.load.load")
    path = tuple(ChatBestRoute.lc_id())
    written = dumpd(ChatBestRoute(pool=POOL))
    monkeypatch.setattr(module, "_default_class_paths_cache", {})
    for name in ("SERIALIZABLE_MAPPING", "ALL_SERIALIZABLE_MAPPINGS"):
        mapping = {key: value for key, value in getattr(module, name).items() if key != path}
        monkeypatch.setattr(module, name, mapping)
    with pytest.raises(ValueError, match="not allowed"):  # and "all" is remembered without us
        load(written, allowed_objects="all", valid_namespaces=OURS)
    register(ChatBestRoute)
    assert isinstance(load(written, allowed_objects="all", valid_namespaces=OURS), ChatBestRoute)


def test_a_version_without_these_names(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("langchain_core.load.load")
    written = dumpd(ChatBestRoute(pool=POOL))
    monkeypatch.delattr(module, "_default_class_paths_cache")
    register(ChatBestRoute)  # does not raise
    revived = load(written, allowed_objects=[ChatBestRoute], valid_namespaces=OURS)
    assert isinstance(revived, ChatBestRoute)
