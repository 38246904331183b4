"""The page on what people look at: its commands run, one after the other, in an empty directory."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bestroute.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def commands() -> Iterator[tuple[list[str], str]]:
    """Arguments of every `bestroute` on the page, and what is piped into it."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            before, _, after = line.rpartition("|")
            words = shlex.split(after, comments=True)
            if words[0] == "bestroute":
                yield words[1:], " ".join(shlex.split(before)[1:]) + "\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The directory afterwards, and what each command printed last; on a tenth of the prompts."""
    folder, runner, printed = tmp_path_factory.mktemp("docs"), CliRunner(env={"COLUMNS": "120"}), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words, stdin in commands():
            done = runner.invoke(app, words, input=stdin)
            assert done.exit_code == 0, (words, done.output, done.exception)
            printed[words[0]] = done.output
            if words[0] == "demo":
                prompts = (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines(True)
                few = [line for line in prompts if json.loads(line)["id"][-1] in "1"]
                (folder / "prompts.jsonl").write_text("".join(few), encoding="utf-8")
        yield folder, printed


def test_the_page_s_commands_do_what_it_says(ran: tuple[Path, dict[str, str]]) -> None:
    folder, printed = ran
    assert printed.keys() == {"demo", "fit", "route", "chat", "report"}
    decision = json.loads((folder / "decision.json").read_text())["decision"]
    assert decision["threshold"] == 0.6
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Queries of the largest regret" in page and "matrix-factorization" in page
    assert "What it saved so far" in page
    assert "Queries of the largest regret" not in (folder / "router" / "report.html").read_text()


def test_what_the_chat_shows_is_on_the_page(ran: tuple[Path, dict[str, str]]) -> None:
    shown = re.sub(r"\s+|\d\.\d s", "", ran[1]["chat"])
    text = re.sub(r"\s+|\d\.\d s", "", PAGE.read_text(encoding="utf-8"))
    start = text.index(">/example")
    assert text[start : text.index("```", start)] in shown
