"""`bestroute chat`, driven as a script drives it: over HTTP, and over the recorded samples."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from bestroute import BestRoute, ModelPool
from bestroute.cli.app import app
from bestroute.errors import ConfigError
from bestroute.ledger import summarise
from tests.servers import Body, ChatServer, Reply
from tests.small_router import EASY, HARD, routed


@pytest.fixture
def pool(chat_server: ChatServer, tmp_path: Path) -> Path:
    """A cheap model and the reference, on loopback."""
    both = {"context_window": 8000, "params": chat_server.params, "native_n": True}
    models = [
        {"model": "openai/small", "max_samples": 3, "price": {"input": 1, "output": 1}, **both},
        {"model": "openai/big", "reference": True, "price": {"input": 10, "output": 10}, **both},
    ]
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
    return path


@pytest.fixture
def router(pool: Path, tmp_path: Path) -> Path:
    return routed(yaml.safe_load(pool.read_text())).save_pretrained(tmp_path / "router")


def invoke(*options: object, lines: tuple[str, ...]) -> Result:
    given = "".join(f"{line}\n" for line in lines)
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(app, ["chat", *map(str, options)], input=given)


def talked(folder: Path, *options: object, lines: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    done = invoke(*options, "--json", folder / "out.json", lines=lines)
    assert done.exit_code == 0, (done.output, done.exception)
    numbers: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return done.output, numbers


def test_history_is_kept_until_it_is_reset(
    router: Path, pool: Path, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = lambda body: f"I heard {body['messages'][-1]['content']}"
    lines = (EASY[0], "and then", "/reset", EASY[1])
    output, _ = talked(tmp_path, "--router", router, "--pool", pool, lines=lines)
    said = [[m["content"] for m in body["messages"]] for body in chat_server.requests]
    assert said == [
        [EASY[0]],
        [EASY[0], f"I heard {EASY[0]}", "and then"],
        [EASY[1]],
    ]
    assert "I heard and then" in output


def test_costs_and_savings_are_the_engine_s(
    router: Path, pool: Path, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = "one two three"
    lines = (EASY[0], "/reset", HARD[0])
    output, found = talked(tmp_path, "--router", router, "--pool", pool, lines=lines)
    engine = BestRoute.from_pretrained(router, pool=ModelPool.from_yaml(pool))
    alone = [engine.complete(query) for query in (EASY[0], HARD[0])]
    assert [turn["arm"] for turn in found["turns"]] == ["openai/small:1", "openai/big:1"]
    assert [turn["cost"] for turn in found["turns"]] == pytest.approx([r.cost for r in alone])
    assert found["cost"] == pytest.approx(sum(r.cost or 0 for r in alone))
    saved = sum(r.estimated_savings or 0 for r in alone)
    assert saved > 0
    assert found["estimated_savings"] == pytest.approx(saved)
    assert "openai/small:1: cost $0.00000900, saved $0.0000810 (90%)" in output
    assert "In all (2 turns): cost " in output.splitlines()[-1]


def test_a_turn_that_fails_says_what_it_cost_and_ends_nothing(
    router: Path, pool: Path, chat_server: ChatServer, tmp_path: Path
) -> None:
    def reply(body: Body) -> Reply | str:
        said = body["messages"][-1]["content"]
        if "refuse" in said:
            return Reply("no such thing", status=400)
        return Reply("a b c d e", cut_after=4) if "break" in said else "fine"

    chat_server.reply = reply
    lines = (HARD[0], f"refuse: {HARD[0]}", f"break: {HARD[0]}", HARD[1])
    output, found = talked(tmp_path, "--router", router, "--pool", pool, lines=lines)
    first, refused, broken, last = found["turns"]
    assert "no such thing" in refused["error"]
    assert refused["cost"] == 0
    assert "broke off" in broken["error"]
    assert broken["cost"] > 0
    assert found["cost"] == pytest.approx(first["cost"] + broken["cost"] + last["cost"])
    assert found["unanswered_cost"] == pytest.approx(broken["cost"])
    assert found["estimated_savings"] == pytest.approx(0)  # the reference answered what it did
    assert "no such thing" in output and "SamplingError: openai/big broke off" in output
    assert output.count("That turn cost") == 2
    roles = [message["role"] for message in chat_server.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]  # what failed was not said


def test_commands(router: Path, pool: Path, chat_server: ChatServer, tmp_path: Path) -> None:
    lines = ("/why", HARD[0], "/threshold 0.1", "/reset", HARD[0], "/why")
    lines += ("/threshold x", "/threshold -1", "/nonsense", "/threshold", "/exit", "not read")
    output, found = talked(tmp_path, "--router", router, "--pool", pool, lines=lines)
    assert [turn["arm"] for turn in found["turns"]] == ["openai/big:1", "openai/small:1"]
    assert "nothing was answered yet" in output
    assert "│ openai/small:1 │" in output  # the table of `route`
    assert "'x' is no threshold" in output
    assert "threshold is -1.0" in output
    assert "there is no command /nonsense" in output
    assert "one-shot, threshold 0.5" in output  # the router's own again
    assert not any(b["messages"][-1]["content"] == "not read" for b in chat_server.requests)


@pytest.mark.parametrize(("answers", "end"), [(("42",) * 3, "accepted"), (("1", "2", "3"), "big")])
def test_the_waves_are_drawn(
    answers: tuple[str, ...], end: str, pool: Path, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = lambda body: Reply(answers) if body["model"] == "small" else "42"
    output, found = talked(tmp_path, "--pool", pool, lines=("What is six times seven?",))
    tree = output[output.index("\ncascade\n") :]
    assert "wave 1: 3 of openai/small" in tree
    agree = max(map(answers.count, answers))
    assert f"{agree} of 3 agree" in tree
    if end == "accepted":
        assert "accepted: " in tree and "wave 2" not in tree
    else:
        assert "wave 2: 1 of openai/big" in tree and "escalated to the reference" in tree
        assert "openai/small:3, then openai/big: cost" in output
        assert found["estimated_savings"] < 0  # the samples were paid beside the reference
        assert " lost $" in output


def test_an_answer_cannot_drive_the_terminal(pool: Path, chat_server: ChatServer) -> None:
    chat_server.reply = "\x1b]0;title\x07\x1b[2Jred\u009b31m [bold]plain[/bold]"
    output = invoke("--pool", pool, lines=("hi",)).output
    assert "red" in output and "[bold]plain[/bold]" in output
    assert not {"\x1b", "\x07", "\u009b"} & set(output)


def test_recorded_samples_can_be_talked_to(tmp_path: Path) -> None:
    lines, file = ("/example", "/example", "What nobody recorded"), tmp_path / "calls.sqlite"
    output, found = talked(tmp_path, "--demo", "--ledger", file, lines=lines)
    end = time.monotonic() + 30
    while (kept := summarise(file)).ok + kept.errors < 3 and time.monotonic() < end:
        time.sleep(0.05)  # nobody waits for the row of a call that failed
    assert (kept.ok, kept.errors) == (2, 1)
    assert kept.cost == pytest.approx(found["cost"])
    assert kept.savings == pytest.approx(found["estimated_savings"])
    one, two, unknown = found["turns"]
    assert one["cost"] > 0 and two["cost"] > 0
    assert unknown["error"].startswith("UnrecordedError")
    assert "wave 1: 3 of smollm2-135m" in output


def test_without_anybody_to_ask() -> None:
    assert isinstance(invoke(lines=("hi",)).exception, ConfigError)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a POSIX signal here")
def test_ctrl_c_ends_it_with_the_totals(pool: Path, chat_server: ChatServer) -> None:
    chat_server.reply = Reply("too late", delay=30)
    code = "from bestroute.cli import main; main()"
    command = [sys.executable, "-c", code, "chat", "--pool", str(pool)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write("hi\n")
        process.stdin.flush()
        end = time.monotonic() + 60
        while not chat_server.requests and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "In all (0 turns)" in output
    assert "Traceback" not in errors
