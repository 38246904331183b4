"""The page on LlamaIndex does what it says: its code runs, block after block, in one program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from llama_index.core import Settings
from llama_index.core.instrumentation import get_dispatcher

from tests.faithful_model import FaithfulModel
from tests.servers import Body, ChatServer, Reply
from tests.small_router import routed
from tests.static_embedding import StaticEmbedding

PAGE = Path(__file__).parents[2] / "docs" / "llamaindex.md"
TEXT = PAGE.read_text(encoding="utf-8")

SUB_QUESTIONS = [
    {"sub_question": "Who founded the Harbour Library?", "tool_name": "library"},
    {"sub_question": "How much does a library card cost per year?", "tool_name": "summary"},
]


def blocks(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def settings() -> Iterator[None]:
    """What the page sets for all, put back."""
    root = get_dispatcher()
    before, handlers = (Settings._llm, Settings._embed_model), list(root.event_handlers)
    Settings.embed_model = StaticEmbedding()
    yield
    Settings._llm, Settings._embed_model = before
    root.event_handlers[:] = handlers


@pytest.fixture
def program(
    tmp_path: Path,
    chat_server: ChatServer,
    settings: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    """All names of the page's Python, after it ran, and what it `printed`."""
    model = FaithfulModel()

    def reply(body: Body) -> Reply:
        if "<Tools>" in str(body["messages"][-1]["content"]):  # sub-questions, asked for in text
            return Reply([json.dumps({"items": SUB_QUESTIONS})] * (body.get("n") or 1))
        return model(body)

    chat_server.reply = reply
    (written,) = blocks("yaml")
    pool: dict[str, Any] = yaml.safe_load(written)
    for member, price in zip(pool["models"], (0.1, 10), strict=True):
        member |= {"model": f"openai/{member['name']}", "params": chat_server.params}
        member |= {"context_window": 8000, "tools": True}
        member |= {"price": {"input": price, "output": price}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    routed(pool).save_pretrained(tmp_path / "router")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    assert model.refused == []
    return {**names, "printed": capsys.readouterr().out}


def test_every_block_runs_and_does_what_the_text_says(program: dict[str, Any]) -> None:
    assert program["response"].message.content.startswith("This is the answer to: What is the cap")
    assert program["about"]["arm"] == "small:3"
    assert "small:3 ['draw 3 of small: uncalibrated cascade" in program["printed"]
    assert "Clara Winterberg" in str(program["answered"].source_nodes[0].text)
    assert [call.tool_kwargs for call in program["calls"]] == [{"city": "Oslo"}]
    assert "It is sunny in Oslo." in program["printed"]
    assert program["sunny"] == "This is the answer to: It is sunny in Oslo."
    assert program["in_text"].startswith("This is the answer to: Say hello.")
    assert program["movie"] == program["same"]
    assert (program["movie"].title, program["movie"].year) == ("Inception", 2010)
    assert set(program["nodes"][0].metadata) == {"document_title", "excerpt_keywords"}
    assert program["verdict"].score == 1.0  # it says all of the prompt, so "YES" as well
    assert program["counter"].completion_llm_token_count > 3
    assert program["decisions"].seen[0]["arm"] == "small:1"
    assert "\ntext text text text text\n" in program["printed"]  # the member of LlamaIndex's own
    assert program["found"].raw["bestroute"]["model"] == "small"  # it read the question


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", TEXT)
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", TEXT, flags=re.MULTILINE)
    }
    assert len(targets) > 5
    for path, anchor in targets:
        assert (PAGE.parent / path).exists(), path
        assert path or anchor in anchors, anchor
