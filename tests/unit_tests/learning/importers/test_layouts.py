"""Layouts of others, on small files written by hand after their documentation."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bestroute.errors import DataError
from bestroute.learning.importers import IMPORTERS
from bestroute.learning.importers.base import split_of
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import COLUMNS, SPLITS


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def answered(responses: list[Any], oracle: list[float], proxy: list[float]) -> dict[str, Any]:
    return {
        "responses": responses,
        "armoRM_scores": oracle,
        "token_num_prompt": 7,
        "token_num_responses": [len(response) for response in responses],
        "ourRM_scores": proxy,
    }


MERGED = {
    "id": "unified_chip2/98039",
    "prompt": "Name a fruit.",
    "llama-31-8b": answered(list("abcde"), [0.1, 0.2, 0.3, 0.4, 0.5], [5, 4, 3, 2, 1]),
    "gpt-4o": answered(["pear"], [0.3], [9]),
}


def test_best_route_keeps_scores_counts_and_splits(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        name = f"mixed_dataset_armoRM_ALL_token_num_{split}.jsonl"
        write_lines(tmp_path / name, [{**MERGED, "id": f"unified_chip2/{split}"}])
    found = IMPORTERS["best-route"](tmp_path)
    rows = found.table.to_pylist()
    splits = {row["query_id"]: row["split"] for row in rows}
    assert splits == {f"unified_chip2/{s.replace('calibration', 'validation')}": s for s in SPLITS}
    assert {row["task"] for row in rows} == {"unified_chip2"}
    outcomes = Outcomes.from_samples(found.table, found.pool)
    assert [str(arm) for arm in outcomes.arms] == [f"llama-31-8b:{n}" for n in (1, 2, 3, 4, 5)] + [
        "gpt-4o:1"
    ]
    # the proxy is the oracle upside down: best-of-5 keeps the worst
    assert outcomes.quality[0] == pytest.approx([0.3, 0.2, 0.15, 0.12, 0.1, 0.3])
    assert outcomes.match[0, [0, 4]] == pytest.approx([3 / 5, 0])
    assert outcomes.cost[0, -1] == pytest.approx((7 * 5 + 4 * 15) / 1e6)


def test_best_route_before_the_proxy_and_the_counts(tmp_path: Path) -> None:
    bare = {
        name: {key: value[key] for key in ("responses", "armoRM_scores")}
        if isinstance(value, dict)
        else value
        for name, value in MERGED.items()
    }
    found = IMPORTERS["best-route"](write_lines(tmp_path / "mixed.jsonl.gz", [bare]))
    row = found.table.to_pylist()[0]
    assert row["split"] == split_of("unified_chip2/98039", 0)
    assert row["proxy_score"] is None
    assert (row["prompt_tokens"], row["completion_tokens"]) == (3, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpt-4o": answered(["a"], [0.1, 0.2], [1])}, "98039: 1 responses, but 2 armoRM_scores"),
        ({"gpt-4o": {}}, "no 'responses'"),
        ({"gpt-4o": answered([["a"]], [0.1], [1])}, "another type"),
    ],
)
def test_best_route_refuses_what_does_not_fit(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        IMPORTERS["best-route"](write_lines(tmp_path / "x.jsonl", [{**MERGED, **change}]))


def test_best_route_needs_its_reference(tmp_path: Path) -> None:
    alone = {key: value for key, value in MERGED.items() if key != "gpt-4o"}
    with pytest.raises(DataError, match="gpt-4o, the reference"):
        IMPORTERS["best-route"](write_lines(tmp_path / "x.jsonl", [alone]))


def write_run(
    root: Path, model: str, scores: list[float | None], *, stamp: str = "1", demo: bool = False
) -> None:
    folder = root / "aime" / "test" / model
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "model_name": model,
        "dataset_name": "aime",
        "split": "test",
        "demo": demo,
        "records": [
            {
                "index": index,
                "origin_query": f"Question {index}?",
                "prompt": f"Solve: Question {index}?",
                "prediction": "4",
                "ground_truth": "4",
                "score": score,
                "prompt_tokens": 15,
                "completion_tokens": 5,
                "cost": 0.0001,
                "raw_output": ["It is 4."],
            }
            for index, score in enumerate(scores, start=1)
        ],
    }
    name = f"aime-test-{model}-2025010{stamp}_000000.json"
    (folder / name).write_text(json.dumps(run), encoding="utf-8")


def test_llmrouterbench_takes_the_last_run_and_the_complete_queries(tmp_path: Path) -> None:
    write_run(tmp_path, "gpt-5", [0.0, 0.0, 0.0], stamp="1")
    write_run(tmp_path, "gpt-5", [1.0, 0.0, 1.0], stamp="2")
    write_run(tmp_path, "gpt-5", [0.0, 0.0, 0.0], stamp="3", demo=True)
    write_run(tmp_path, "kimi-k2-0905", [1.0, None, 0.0])
    write_run(tmp_path, "some-small-model", [1.0])
    old = tmp_path / "aime" / "test" / "gpt-5"
    first = old / "aime-test-gpt-5-20250101_000000.json"
    (old / "result.json").write_text(first.read_text(encoding="utf-8"), encoding="utf-8")
    found = IMPORTERS["llmrouterbench"](tmp_path)
    outcomes = Outcomes.from_samples(found.table, found.pool)
    assert outcomes.query_ids == ("aime/test/1", "aime/test/3")
    assert outcomes.queries == ("Question 1?", "Question 3?")
    assert [str(arm) for arm in outcomes.arms] == ["kimi-k2-0905:1", "gpt-5:1"]
    assert outcomes.quality.tolist() == [[1, 1], [0, 1]]
    assert found.table["response"][0].as_py() == '["It is 4."]'
    assert outcomes.cost[0, 1] == pytest.approx((15 * 1.25 + 5 * 10) / 1e6)


def test_llmrouterbench_writes_what_is_no_text_as_json(tmp_path: Path) -> None:
    write_run(tmp_path, "gpt-5", [1.0])
    [file] = tmp_path.rglob("*.json")
    run = json.loads(file.read_text(encoding="utf-8"))
    run["records"][0]["origin_query"] = [{"role": "user", "content": "Hi"}]
    file.write_text(json.dumps(run), encoding="utf-8")
    found = IMPORTERS["llmrouterbench"](tmp_path)
    assert found.table["query"][0].as_py() == '[{"content":"Hi","role":"user"}]'


@pytest.mark.parametrize("name", ["score", "raw_output", "prompt_tokens"])
def test_llmrouterbench_names_the_missing_field(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, "gpt-5", [1.0])
    [file] = tmp_path.rglob("*.json")
    run = json.loads(file.read_text(encoding="utf-8"))
    del run["records"][0][name]
    file.write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(DataError, match=f"no '{name}'"):
        IMPORTERS["llmrouterbench"](tmp_path)


def test_models_without_a_common_query_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "gpt-5", [1.0, None])
    write_run(tmp_path, "kimi-k2-0905", [None, 1.0])
    with pytest.raises(DataError, match="no query that all"):
        IMPORTERS["llmrouterbench"](tmp_path)


def test_llmrouterbench_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no result file of gpt-5"):
        IMPORTERS["llmrouterbench"](tmp_path)
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"x.json: no field 'model_name'"):
        IMPORTERS["llmrouterbench"](tmp_path)
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"x.json: is not JSON"):
        IMPORTERS["llmrouterbench"](tmp_path)


WIDE = (
    "mistralai/mistral-7b-chat",
    "WizardLM/WizardLM-13B-V1.2",
    "mistralai/mixtral-8x7b-chat",
    "meta/code-llama-instruct-34b-chat",
    "zero-one-ai/Yi-34B-Chat",
    "meta/llama-2-70b-chat",
    "claude-instant-v1",
    "gpt-3.5-turbo-1106",
    "claude-v1",
    "claude-v2",
    "gpt-4-1106-preview",
)


def wide_row(sample_id: str = "mbpp.dev.1", **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sample_id": sample_id,
        "prompt": "['Write a function.']",
        "eval_name": "mbpp",
    }
    for model in WIDE:
        row |= {model: 0.5, f"{model}|model_response": "['def f(): ...']"}
        row[f"{model}|total_cost"] = 0.0009
    return row | changes


def write_wide(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_routerbench_charges_what_was_paid(tmp_path: Path) -> None:
    rows = [wide_row(), wide_row(), wide_row("mbpp.dev.2", **{WIDE[0]: None})]
    found = IMPORTERS["routerbench"](write_wide(tmp_path / "wide.parquet", rows))
    outcomes = Outcomes.from_samples(found.table, found.pool)
    assert len(outcomes) == 1  # one is there twice, one lacks a score
    assert outcomes.queries == ("Write a function.",)
    assert outcomes.cost[0] == pytest.approx([0.0009] * len(WIDE), rel=0.02)
    assert set(found.table["response"].to_pylist()) == {"def f(): ..."}


def test_routerbench_leaves_a_token_for_the_answer(tmp_path: Path) -> None:
    paid = (500 * 10 + 30) / 1e6  # one letter, after a prompt of fewer tokens than characters / 4
    row = wide_row(prompt="x" * 4000, **{"gpt-4-1106-preview|total_cost": paid})
    found = IMPORTERS["routerbench"](write_wide(tmp_path / "wide.parquet", [row]))
    reference = found.table.to_pylist()[-1]
    assert (reference["prompt_tokens"], reference["completion_tokens"]) == (500, 1)


def test_routerbench_refuses_pickles_and_other_tables(tmp_path: Path) -> None:
    pickle = tmp_path / "routerbench_0shot.pkl"
    pickle.write_bytes(b"")
    with pytest.raises(DataError, match=r"pickle.*to_parquet"):
        IMPORTERS["routerbench"](pickle)
    with pytest.raises(DataError, match=r"pickle.*to_parquet"):
        IMPORTERS["routerbench"](tmp_path)
    pickle.unlink()
    with pytest.raises(DataError, match="no CSV or Parquet"):
        IMPORTERS["routerbench"](tmp_path)
    with pytest.raises(DataError, match="no column 'sample_id'"):
        IMPORTERS["routerbench"](write_wide(tmp_path / "x.parquet", [{"prompt": "x"}]))


@pytest.mark.parametrize("part", ["", "|model_response", "|total_cost"])
def test_routerbench_needs_every_model(tmp_path: Path, part: str) -> None:
    row = wide_row()
    del row[f"claude-v2{part}"]
    with pytest.raises(DataError, match=re.escape(f"no column 'claude-v2{part}'")):
        IMPORTERS["routerbench"](write_wide(tmp_path / "wide.parquet", [row]))


def test_routerbench_reads_the_same_from_csv(tmp_path: Path) -> None:
    answer = {"claude-v2|model_response": 'one,\n"two"'}
    rows = [wide_row(f"mbpp.dev.{n}", prompt=f"['Part {n}', 'and more']") | answer for n in (1, 2)]
    with (tmp_path / "wide.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "p").mkdir()
    parquet = IMPORTERS["routerbench"](write_wide(tmp_path / "p" / "wide.parquet", rows))
    assert IMPORTERS["routerbench"](tmp_path / "wide.csv").table == parquet.table
    assert parquet.table["query"][0].as_py() == "Part 1\nand more"
    assert answer["claude-v2|model_response"] in parquet.table["response"].to_pylist()


def test_routellm_reads_texts_and_bare_correctness(tmp_path: Path) -> None:
    mixtral, gpt = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    (tmp_path / "gsm8k_responses.csv").write_text(
        f"prompt,{mixtral},{gpt},{mixtral}_response,{gpt}_response\n"
        '"1\n+ 1?",True,False,It is 2,3\n'
    )
    (tmp_path / "mmlu_anatomy.csv").write_text(f"prompt,{mixtral},{gpt}\nWhy?,False,True\n")
    found = IMPORTERS["routellm"](tmp_path)
    outcomes = Outcomes.from_samples(found.table, found.pool)
    assert dict(zip(outcomes.tasks, outcomes.queries, strict=True)) == {
        "gsm8k": "1\n+ 1?",
        "mmlu_anatomy": "Why?",
    }
    assert outcomes.quality.tolist() == [[1, 0], [0, 1]]
    assert outcomes.output_tokens[1].tolist() == [1, 1]
    (tmp_path / "mmlu_anatomy.csv").write_text("question\nWhy?\n")
    with pytest.raises(DataError, match=r"mmlu_anatomy.csv: no column 'prompt'"):
        IMPORTERS["routellm"](tmp_path)


def test_splits_hold_their_shares_and_follow_the_seed() -> None:
    keys = [str(number) for number in range(4000)]
    splits = [split_of(key, 0) for key in keys]
    shares = [splits.count(name) / len(keys) for name in SPLITS]
    assert shares == pytest.approx([0.5, 0.15, 0.35], abs=0.03)
    assert splits == [split_of(key, 0) for key in keys]
    assert splits != [split_of(key, 1) for key in keys]


def test_tables_are_in_the_schema(tmp_path: Path) -> None:
    found = IMPORTERS["best-route"](write_lines(tmp_path / "x.jsonl", [MERGED]))
    assert found.table.column_names == list(COLUMNS)


def test_damaged_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": ')
    with pytest.raises(DataError, match=r"x.jsonl: is not JSONL"):
        IMPORTERS["best-route"](tmp_path / "x.jsonl")
    with pytest.raises(DataError, match=r"absent.jsonl"):
        IMPORTERS["zeroeval"](tmp_path / "absent.jsonl")
