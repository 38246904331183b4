"""Short pages: their Python runs, block after block, against models on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from langchain_core.language_models import FakeListChatModel

from bestroute import BestRoute, ModelPool, PooledModel
from bestroute.calibration import CalibrationTable, CostRow, Promise
from bestroute.learning.samples import write_samples
from bestroute.policy import Adaptive, EarlyStop
from langchain_bestroute import ChatBestRoute
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer
from tests.small_belief import small_belief
from tests.small_router import routed

DOCS = Path(__file__).parents[2] / "docs"
PAGES: dict[str, dict[str, Any]] = {
    "../README": {},
    "adaptive": {"threshold": 0.7, "belief": small_belief()},
    "index": {},
    "litellm": {},
    "migration": {},
    "money": {},
    "pool": {
        "ChatOpenAI": lambda **options: FakeListChatModel(responses=["42"]),
        "chat_model": FakeListChatModel(responses=["42"]),
    },
    "promises": {},
    "reliability": {},
    "rewards": {},
    "samples": {},
    "security": {},
    "train": {},
}
"""And what the reader of a page has at hand beside the fixture's names."""
LINKED = ("index", "litellm", "migration", "faq", "rewards")
ASKS = PAGES.keys() - {"adaptive", "pool", "samples", "security"}
TAKES_MINUTES = "fit_prompts("
"""Fitting from prompts is tested by tests/unit_tests/learning/test_pipeline.py."""


def python_of(page: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def names(
    tmp_path: Path, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the pages take as given: a pool, a calibrated router, an engine, messages, samples."""
    chat_server.reply = FaithfulModel()
    models: list[dict[str, Any]] = [
        {"name": "small", "model": "openai/small", "max_samples": 3},
        {"name": "big", "model": "openai/big", "reference": True},
    ]
    for member, price in zip(models, (0.1, 10), strict=True):
        member |= {"price": {"input": price, "output": price}, "params": chat_server.params}
        member |= {"context_window": 8000}
    pool = {"models": models}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    router = routed(pool)
    kept = {"confidence": 0.95, "threshold": 0.5, "cost_per_1k": 0.3}
    router.calibration = CalibrationTable(
        n_queries=1000,
        promises=tuple(Promise(max_drop=drop, **kept) for drop in (0.02, 0.05, 0.1, 0.15)),
        budgets=(CostRow(cost_per_1k=0.3, threshold=0.5),),
    )
    router.save_pretrained(tmp_path / "router")
    sample = {"query_id": "q", "query": "q?", "split": "train", "model": "recorded/small"}
    counts = {"sample": 0, "prompt_tokens": 1, "completion_tokens": 1, "oracle_score": 1.0}
    said = {"messages": json.dumps([{"role": "user", "content": "q?"}]), "sampling": "{}"}
    write_samples([{**sample, **counts, **said, "response": "42"}], tmp_path / "samples.parquet")
    monkeypatch.chdir(tmp_path)
    messages = [{"role": "user", "content": "Name a prime number above 100."}]
    engine = BestRoute("pool.yaml")
    return {
        **{"engine": engine, "router": engine, "pool": ModelPool.read(pool), "messages": messages},
        **{"Adaptive": Adaptive, "EarlyStop": EarlyStop, "PooledModel": PooledModel},
        **{"BestRoute": BestRoute, "ChatBestRoute": ChatBestRoute},
    }


@pytest.mark.parametrize("page", PAGES)
def test_its_python_runs(page: str, names: dict[str, Any], chat_server: ChatServer) -> None:
    blocks = python_of(page)
    assert blocks
    names |= PAGES[page]
    for number, block in enumerate(blocks, start=1):
        program = compile(block, f"{page}.md, block {number}", "exec")
        if TAKES_MINUTES not in block:
            exec(program, names)
    assert bool(chat_server.requests) == (page in ASKS)


@pytest.mark.parametrize("page", LINKED)
def test_its_links_lead_somewhere(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert targets
    for target in targets:
        assert (DOCS / target).exists(), target


def test_the_quickstart_is_short() -> None:
    """From nothing to a routed answer on one's own keys in at most twelve lines."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    commands, code = re.findall(r"^```(?:bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in (commands + code).splitlines() if line.strip()]
    assert len(lines) <= 12
