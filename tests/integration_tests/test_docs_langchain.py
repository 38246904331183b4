"""The page on LangChain does what it says: its code runs, block after block, in one program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faithful_model import FaithfulModel
from tests.servers import ChatServer
from tests.small_router import routed

PAGE = Path(__file__).parents[2] / "docs" / "langchain.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def program(
    tmp_path: Path,
    chat_server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    """All names of the page's Python, after it ran, and what it `printed`.

    The pool's models answer on loopback; the router was saved for that pool.
    """
    model = chat_server.reply = FaithfulModel()
    (written,) = blocks("yaml")
    pool: dict[str, Any] = yaml.safe_load(written)
    for member, price in zip(pool["models"], (0.1, 10), strict=True):
        member |= {"model": f"openai/{member['name']}", "params": chat_server.params}
        member |= {"context_window": 8000, "price": {"input": price, "output": price}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    routed(pool).save_pretrained(tmp_path / "router")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    assert model.refused == []
    return {**names, "printed": capsys.readouterr().out}


def test_every_block_runs_and_does_what_the_text_says(program: dict[str, Any]) -> None:
    assert program["translated"] == ["This is the answer to: I love programming."] * 2
    assert program["asked"].tool_calls[0]["args"] == {"city": "Oslo"}
    assert (program["movie"].title, program["movie"].year) == ("Inception", 2010)
    assert program["usage"].usage_metadata.keys() == {"openai/small"}
    about = program["answer"].response_metadata["bestroute"]
    assert about["model"] == "small"  # of the stuffed prompt, it read the question
    assert program["decision"].match_probability == 0.75
    assert "small:3 ['draw 3 of small: uncalibrated cascade" in program["printed"]
    assert "Ahoy!" in program["printed"]


def test_every_section_of_langchain_s_format_is_there() -> None:
    sections = re.findall(r"^## (.*)", TEXT, flags=re.MULTILINE)
    first = ["Overview", "Setup", "Instantiation", "Invocation", "Chaining"]
    assert sections[: len(first)] == first
    assert sections[-1] == "API reference"


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", TEXT)
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", TEXT, flags=re.MULTILINE)
    }
    assert len(targets) > 10
    for path, anchor in targets:
        assert (PAGE.parent / path).exists(), path
        assert path or anchor in anchors, anchor
