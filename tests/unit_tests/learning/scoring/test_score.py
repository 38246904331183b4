"""Scoring a samples table: every kind of scorer, resumed, paid once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bestroute import Price, asking
from bestroute.errors import ConfigError, DataError, ScoreError
from bestroute.learning.samples import read_samples, schema
from bestroute.learning.scoring.score import plan_scores, score
from bestroute.learning.scoring.scorers import scorer
from bestroute.learning.scoring.verifiers import NumberCheck, TextCheck
from bestroute.rewards import FunctionReward, JudgeReward, RewardModel, SelfConsistency
from tests.servers import Body, ChatServer, Reply

DEMO = Path(asking.__file__).parent / "data" / "demo_samples.parquet"
PARIS = TextCheck(accept=("Paris",)).model_dump_json()
FOUR = NumberCheck(value=4).model_dump_json()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


def table(**answers: Sequence[str]) -> pa.Table:
    """Two queries; the responses to each."""
    truths = {"capital": (PARIS, "Paris"), "sum": (FOUR, '["4","four"]')}
    return pa.Table.from_pylist(
        [
            {"query_id": query, "query": f"{query}?", "model": "m", "sample": i, "response": text,
             "check": truths[query][0], "reference_answer": truths[query][1]}
            for query, texts in answers.items()
            for i, text in enumerate(texts)
        ],
        schema=schema(),
    )  # fmt: skip


TABLE = table(capital=["Paris", "It is Paris.", "Rome", ""], sum=["4", "Four.", "The answer is 5"])


def scores(path: Path, column: str = "oracle_score") -> list[float | None]:
    return read_samples(path)[column].to_pylist()


def test_by_check_and_by_reference(tmp_path: Path) -> None:
    out = tmp_path / "scored.parquet"
    report = score(TABLE, out, oracle="check", proxy="references")
    assert scores(out) == [1, 1, 0, 0, 1, 1, 0]
    assert scores(out, "proxy_score") == [1, 1, 0, 0, 1, 1, 0]
    assert (report.rows, report.cost) == (7, 0)
    assert report.missing == {"oracle_score": 0, "proxy_score": 0}
    assert (
        read_samples(out)
        .drop_columns(["oracle_score", "proxy_score"])
        .equals(TABLE.drop_columns(["oracle_score", "proxy_score"]))
    )


def test_the_shipped_samples_get_the_scores_that_they_ship_with(tmp_path: Path) -> None:
    shipped = read_samples(DEMO)
    some = shipped.filter(pa.compute.is_in(shipped["task"], pa.array(["facts", "arithmetic"])))
    blank = some.set_column(
        some.column_names.index("oracle_score"), "oracle_score", pa.nulls(len(some), pa.float64())
    )
    steps: list[tuple[str, int, int]] = []
    score(blank, tmp_path / "s.parquet", oracle="check", progress=lambda *s: steps.append(s))
    assert scores(tmp_path / "s.parquet") == some["oracle_score"].to_pylist()
    assert steps[-1][0] == "oracle score" and steps[-1][1] == steps[-1][2] <= len(some)


def test_a_query_without_truth_is_named(tmp_path: Path) -> None:
    bare = TABLE.drop_columns(["reference_answer"])
    with pytest.raises(DataError, match="7 of 7 rows have no reference_answer.*'capital'"):
        score(bare, tmp_path / "s.parquet", oracle="references")
    for source, name, value, reason in (
        ("check", "check", "{}", "cannot be read"),
        ("references", "reference_answer", "", "nothing to compare"),
    ):
        broken = TABLE.set_column(TABLE.column_names.index(name), name, pa.array([value] * 7))
        with pytest.raises(DataError, match=reason):
            score(broken, tmp_path / "s.parquet", oracle=source)
    assert not (tmp_path / "s.parquet").exists()


def judged(server: ChatServer, **options: Any) -> JudgeReward:
    given = {"params": server.params, "price": Price(input=1, output=2)}
    return JudgeReward("openai/judge", **{**given, **options})


def grade(body: Body) -> Reply:
    asked = body["messages"][1]["content"]
    return Reply("Score: 9" if "Paris" in asked else "Score: 2")


def test_a_judge_is_paid_once_for_equal_responses_and_never_again(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = grade
    double = table(capital=["Paris", "Rome", "Paris"], sum=["Rome"])
    out = tmp_path / "s.parquet"
    planned = plan_scores(double, out, oracle=judged(chat_server))
    assert (planned.scores, planned.calls) == (3, 3)
    expected = planned.prompt_tokens * 1 + planned.completion_tokens * 2
    assert planned.cost == pytest.approx(expected / 1e6)
    assert not chat_server.requests and not list(tmp_path.iterdir())
    report = score(double, out, oracle=judged(chat_server))
    assert scores(out) == [9, 2, 9, 2]
    assert len(chat_server.requests) == 3
    assert report.cost == pytest.approx(
        sum(len(str(b["messages"][0]["content"]).split()) for b in chat_server.requests) / 1e6
        + sum(len(str(b["messages"][1]["content"]).split()) for b in chat_server.requests) / 1e6
        + 3 * 2 * 2 / 1e6
    )
    more = table(capital=["Paris", "Rome", "Oslo"], sum=["Rome"])
    assert plan_scores(more, out, oracle=judged(chat_server)).calls == 1
    score(more, out, oracle=judged(chat_server))
    assert scores(out) == [9, 2, 2, 2]
    assert len(chat_server.requests) == 4
    score(more, out, oracle=judged(chat_server, scale=(0, 9)))  # another scale, other scores
    assert len(chat_server.requests) == 8


def test_what_a_judge_leaves_open_is_null_and_tried_again(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = lambda body: (
        Reply("cannot say") if "Rome" in str(body["messages"][1]) else Reply("8")
    )
    out = tmp_path / "s.parquet"
    report = score(TABLE, out, oracle=judged(chat_server))
    assert scores(out) == [8, 8, None, 8, 8, 8, 8]
    assert report.missing == {"oracle_score": 1}
    assert report.failure is not None and "no grade" in report.failure
    chat_server.requests.clear()
    chat_server.reply = "3"
    report = score(TABLE, out, oracle=judged(chat_server))
    assert scores(out) == [8, 8, 3, 8, 8, 8, 8]
    assert (len(chat_server.requests), report.failure) == (1, None)


def test_a_judge_that_fails_for_everyone_ends_the_run(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.reply = Reply("bad key", status=401)
    many = table(capital=[f"answer {i}" for i in range(50)])
    with pytest.raises(ScoreError, match="10 scores failed in a row: .*bad key"):
        score(many, tmp_path / "s.parquet", oracle=judged(chat_server))
    assert len(chat_server.requests) < 20
    assert not (tmp_path / "s.parquet").exists()


VERIFIER = """
def shorter(query, response):
    return -len(response)

def broken(query, response):
    raise KeyError(response)
"""


def test_by_a_users_function(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "s.parquet"
    file.write_text(VERIFIER)
    score(TABLE, out, oracle=f"function:{file}:shorter", proxy="function:operator:eq")
    assert scores(out) == [-len(text) for text in TABLE["response"].to_pylist()]
    assert scores(out, "proxy_score") == [0] * 7
    file.write_text(VERIFIER.replace("-len", "2 * len"))  # a verifier that was mended
    score(TABLE, out, oracle=f"function:{file}:shorter")
    assert scores(out) == [2 * len(text) for text in TABLE["response"].to_pylist()]
    with pytest.raises(ScoreError, match="broken raised KeyError"):
        score(TABLE, out, oracle=f"function:{file}:broken")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("truth", "names nothing that scores; known: check, references, judge:MODEL"),
        ("judge:", "names nothing"),
        ("function:mine", "names nothing"),
        ("function:absent.py:f", "no file 'absent.py'"),
        ("function:no_such_module:f", "no module 'no_such_module'"),
        ("function:operator:no_such", "no function 'no_such'"),
        ("consistency", "by the others drawn with it"),
        (SelfConsistency(), "SelfConsistency scores a response by the others"),
    ],
)
def test_what_cannot_score(tmp_path: Path, source: str | RewardModel, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        score(TABLE, tmp_path / "s.parquet", proxy=source)


def test_a_column_must_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="oracle=, proxy="):
        score(TABLE, tmp_path / "s.parquet")


class Named(RewardModel):
    """Counts what it is asked; knows itself by a version."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.asked: Counter[str] = Counter()

    def score(self, query: str, responses: Sequence[str]) -> np.ndarray[Any, Any]:
        self.asked.update(responses)
        return np.full(len(responses), float(self.version))

    def config(self) -> dict[str, Any]:
        return {"kind": "named", "version": self.version}


def test_a_local_reward_model_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    class Stops(Named):
        def score(self, query: str, responses: Sequence[str]) -> np.ndarray[Any, Any]:
            if query == "sum?":
                raise ScoreError("out of memory")
            return super().score(query, responses)

    out = tmp_path / "s.parquet"
    with pytest.raises(ScoreError, match="out of memory"):
        score(TABLE, out, proxy=Stops(1))
    again = Named(1)
    score(TABLE, out, proxy=again)
    assert set(again.asked) == {"4", "Four.", "The answer is 5"}
    assert scores(out, "proxy_score") == [1] * 7
    other = Named(2)
    score(read_samples(out), out, proxy=other)  # in place
    assert sum(other.asked.values()) == 7
    assert scores(out, "proxy_score") == [2] * 7


def test_one_who_does_not_say_what_it_is_is_asked_anew(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    for value in (1.0, 2.0):
        score(TABLE, out, proxy=FunctionReward(lambda query, response, v=value: v))
        assert scores(out, "proxy_score") == [value] * 7


def test_columns_beyond_the_schema_stay(tmp_path: Path) -> None:
    mine = TABLE.append_column("mine", pa.array(range(7)))
    score(mine, tmp_path / "s.parquet", oracle="check")
    assert read_samples(tmp_path / "s.parquet")["mine"].to_pylist() == list(range(7))


def test_no_key_is_written_down(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.reply = "7"
    secret = {**chat_server.params, "api_key": "sk-very-secret"}
    assert "secret" not in scorer(judged(chat_server, params=secret)).name
    score(TABLE, tmp_path / "s.parquet", oracle=judged(chat_server, params=secret))
    assert chat_server.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert not any(b"very-secret" in f.read_bytes() for f in tmp_path.iterdir())
    assert json.loads(scorer(judged(chat_server)).name.removeprefix("judge "))["model"]
