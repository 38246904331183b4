"""Reading prompts: every source, splits that stay put, errors that name the line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute import sampling
from bestroute.errors import DataError
from bestroute.learning.collecting.prompts import Prompt, assign_splits, read_prompts
from bestroute.learning.scoring.verifiers import NumberCheck

DEMO = Path(sampling.__file__).parent / "data" / "demo_samples.parquet"


def write(path: Path, *records: dict[str, Any] | str) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_jsonl(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2 + 2?"}]
    check = {"kind": "number", "value": 4}
    path = write(
        tmp_path / "p.jsonl",
        {"query": "Why?", "task": "open", "other": 1, "split": "calibration"},
        "",
        {"id": 7, "messages": chat, "answer": 4, "check": check, "params": {"max_tokens": 9}},
        {"messages": chat, "query": "what the router reads", "answer": ["4", "four"]},
    )
    why, sum_, both = read_prompts(path)
    assert why.messages == ({"role": "user", "content": "Why?"},)
    assert (why.query, why.task, why.split) == ("Why?", "open", "calibration")
    assert (sum_.id, sum_.query, sum_.messages) == ("7", "2 + 2?", tuple(chat))
    assert (sum_.answer, sum_.check) == ("4", NumberCheck(value=4))
    assert sum_.request.params == {"max_tokens": 9}
    assert both.query == both.request.query == "what the router reads"
    assert both.reference_answer == '["4","four"]'


def test_default_ids_tell_contents_apart_and_stay_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"query": "a"}, {"query": "b"}, {"query": "a"},
                 {"query": "a", "params": {"max_tokens": 3}})  # fmt: skip
    prompts = read_prompts(path)
    assert [p.query for p in prompts] == ["a", "b", "a"]  # equal ones once
    assert len({p.id for p in prompts}) == 3
    assert Prompt.model_validate({"query": "a"}).id == prompts[0].id


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "one JSON object"),
        ({"question": "?"}, r"neither query nor messages \(found \['question'\]\)"),
        ({"query": ""}, "no content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role is 'robot'"),
        ({"query": "x", "split": "dev"}, "split: .*'calibration'"),
        ({"query": "x", "check": {"kind": "text"}}, "check"),
        ({"query": "x", "params": {"n": 3}}, "n is chosen"),
        ({"id": "a", "query": "other"}, r"id 'a' stands for another prompt in .*p.jsonl:1"),
    ],
)
def test_errors_name_file_and_line(
    tmp_path: Path, record: dict[str, Any] | str, reason: str
) -> None:
    path = write(tmp_path / "p.jsonl", {"id": "a", "query": "fine"}, record)
    with pytest.raises(DataError, match=rf"p\.jsonl:2: .*{reason}"):
        read_prompts(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("no")
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "\xe9"}')
    for name, reason in [
        ("bad.parquet", "not Parquet"),
        ("absent.parquet", "no such file"),
        ("absent.jsonl", "cannot be read"),
        ("latin.jsonl", "UTF-8"),
        ("prompts.csv", "expected a .jsonl or .parquet"),
    ]:
        with pytest.raises(DataError, match=rf"{name}.*{reason}"):
            read_prompts(tmp_path / name)
    with pytest.raises(DataError, match="holds no prompts"):
        read_prompts(write(tmp_path / "empty.jsonl"))


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {"question": "2 + 2?", "gold": "#### 4"})
    (prompt,) = read_prompts(path, columns={"query": "question", "answer": "gold"})
    assert (prompt.query, prompt.answer) == ("2 + 2?", "#### 4")
    with pytest.raises(DataError, match=r":1: no 'quest'; found \['gold', 'question'\]"):
        read_prompts(path, columns={"query": "quest"})


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"query": ["a", "b"], "answer": [None, "x"], "split": ["test", None]})
    pq.write_table(table, tmp_path / "p.parquet")
    first, second = read_prompts(tmp_path / "p.parquet")
    assert (first.query, first.answer, first.split) == ("a", None, "test")
    assert (second.query, second.answer) == ("b", "x")
    pq.write_table(pa.table({"query": ["a", None]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="row 2: it has neither"):
        read_prompts(tmp_path / "p.parquet")


def test_a_samples_table_gives_its_queries(tmp_path: Path) -> None:
    prompts = read_prompts(DEMO)
    assert len(prompts) == 540
    assert Counter(p.split for p in prompts) == {"train": 270, "calibration": 54, "test": 216}
    rows = {row["query_id"]: row for row in pq.read_table(DEMO).to_pylist()}
    for prompt in prompts:
        row = rows[prompt.id]
        assert prompt.query == row["query"] and list(prompt.messages) == json.loads(row["messages"])
        # How it was sampled is the pool's matter, not the question's.
        assert prompt.params == {"max_tokens": json.loads(row["sampling"])["max_tokens"]}
        assert prompt.check is not None and prompt.check.model_dump_json() == row["check"]


def accepted(prompt: Prompt) -> tuple[str, ...]:
    assert prompt.answer is not None
    return (prompt.answer,) if isinstance(prompt.answer, str) else prompt.answer


@pytest.mark.parametrize("answer", ["plain", "[1, 2]", "[broken", '["a"]', ["a", "b"]])
def test_answers_survive_the_samples_table(tmp_path: Path, answer: Any) -> None:
    prompt = Prompt.model_validate({"query": "q", "answer": answer})
    row = {"query_id": "1", "query": "q", "model": "m", "sample": 0, "response": "r"}
    table = pa.Table.from_pylist([{**row, "reference_answer": prompt.reference_answer}])
    pq.write_table(table, tmp_path / "s.parquet")
    (again,) = read_prompts(tmp_path / "s.parquet")
    assert accepted(again) == accepted(prompt)


def test_splits_have_their_shares_and_prompts_stay_where_they_are() -> None:
    prompts = [Prompt.model_validate({"query": f"q {i}"}) for i in range(3000)]
    few, all_ = assign_splits(prompts[:100]), assign_splits(prompts)
    assert all_[:100] == few
    shares = Counter(p.split for p in all_)
    # Within 4 standard errors of 60, 20, 20 %.
    assert abs(shares["train"] - 1800) < 108
    assert abs(shares["calibration"] - 600) < 88
    assert assign_splits(prompts, seed=1) != all_
    assert {p.split for p in assign_splits(prompts, shares=(1, 0, 0))} == {"train"}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), min_size=1, max_size=20),
    st.integers(0, 9),
)
def test_a_group_is_never_divided(pairs: list[tuple[int, int]], seed: int) -> None:
    prompts = [
        Prompt.model_validate({"id": f"{i}", "query": f"{n}", "group": str(g)})
        for i, (g, n) in enumerate(pairs)
    ]
    splits: dict[str | None, set[str | None]] = {}
    for prompt in assign_splits(prompts, seed=seed):
        splits.setdefault(prompt.group, set()).add(prompt.split)
    assert all(len(each) == 1 for each in splits.values())


def test_impossible_splits() -> None:
    halves = [
        Prompt.model_validate({"id": s, "query": "q", "group": "g", "split": s})
        for s in ("train", "test")
    ]
    with pytest.raises(DataError, match="group 'g'"):
        assign_splits(halves)
    for shares in ((0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)):
        with pytest.raises(DataError, match="sum to 1"):
            assign_splits([], shares=shares)


def test_a_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list([{"question": "a"}, {"question": "b"}])
    data.save_to_disk(tmp_path / "one")
    two = datasets.DatasetDict({"first": data, "second": data.select([1])})
    two.save_to_disk(tmp_path / "two")
    columns = {"query": "question"}
    assert [p.query for p in read_prompts(tmp_path / "one", columns=columns)] == ["a", "b"]
    assert [p.query for p in read_prompts(f"{tmp_path}/two:second", columns=columns)] == ["b"]
    for name in ("two", "two:third"):
        with pytest.raises(DataError, match=r"name one of its splits \['first', 'second'\]"):
            read_prompts(f"{tmp_path}/{name}", columns=columns)
