"""Short pages: their Python runs, block after block, against models on loopback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bestroute import BestRoute
from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer
from tests.small_router import routed

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("index", "litellm", "migration", "money", "rewards")
LINKED = ("index", "litellm", "migration", "faq", "rewards")


def python_of(page: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def names(
    tmp_path: Path, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the pages take as given: a pool, a saved router, an engine, messages."""
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
    routed(pool).save_pretrained(tmp_path / "router")
    monkeypatch.chdir(tmp_path)
    messages = [{"role": "user", "content": "Name a prime number above 100."}]
    return {"engine": BestRoute("pool.yaml"), "messages": messages}


@pytest.mark.parametrize("page", PAGES)
def test_its_python_runs(page: str, names: dict[str, Any], chat_server: ChatServer) -> None:
    blocks = python_of(page)
    assert blocks
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}.md, block {number}", "exec"), names)
    assert chat_server.requests


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
