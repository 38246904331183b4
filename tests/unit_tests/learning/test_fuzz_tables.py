"""Whatever a table, a prompt file or a journal holds, only errors of this library come out."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import DataError
from bestroute.learning import samples
from bestroute.learning.collecting.prompts import read_prompts
from bestroute.learning.journal import Journal
from bestroute.learning.samples import COLUMNS, REQUIRED, read_samples, schema, write_samples
from tests.fuzzing import any_text, cases, nested, only_ours, plain

OPTIONAL = sorted(set(COLUMNS) - set(REQUIRED))
ROW = {"query_id": "q", "query": "hi", "model": "m", "sample": 0, "response": "hello"}


@cache
def table_bytes() -> bytes:
    rows = [{**ROW, "query_id": str(i), "oracle_score": i / 9, "sampling": "{}"} for i in range(9)]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


_edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=4
)


def edited(raw: bytes, edits: Any) -> bytes:
    changed = bytearray(raw)
    for place, piece in edits:
        start = int(place * len(raw))
        changed[start : start + len(piece)] = piece
    return bytes(changed)


@cases(0.06)
@given(edits=_edits)
def test_fuzz_table_bytes(tmp_path: Path, edits: Any) -> None:
    path = tmp_path / "samples.parquet"
    path.write_bytes(edited(table_bytes(), edits))
    only_ours(read_samples, path, scored=True)
    only_ours(read_prompts, path)


_kinds = st.sampled_from(
    [
        pa.array([1, 2]),
        pa.array([1.5, float("nan")]),
        pa.array(["a", "b"]),
        pa.array([b"\xff", b"b"]),
        pa.array([True, None]),
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array(["{}", "{"]),
        pa.array(["[" * 9000, "[" * 9000]),
        pa.array([2**62, 1]),
        pa.nulls(2),
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array(["x", "y"], pa.large_string()),
    ]
)


@cases(0.06)
@given(
    columns=st.fixed_dictionaries(
        {name: _kinds for name in ("query_id", "query", "model", "sample", "response")},
        optional={name: _kinds for name in (*OPTIONAL, "odd", "params", "id", "answer")},
    )
)
def test_fuzz_table_columns(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table(columns), path)
    table = only_ours(read_samples, path, scored=True)
    if table is not None:
        for field in table.schema:
            assert field.name not in COLUMNS or field.type == schema().field(field.name).type
    only_ours(read_prompts, path)


_fields = st.dictionaries(
    st.sampled_from(["query", "messages", "id", "params", "check", "answer", "split", "odd"]),
    st.one_of(plain, st.sampled_from(["{", "[]", "[" * 9000, '[{"role": "user"}]', "\ud800"])),
)
_lines = st.lists(
    st.one_of(
        _fields.map(json.dumps),
        any_text,
        st.sampled_from(["[" * 20_000, "9" * 5000, '{"query": NaN}', "null", "{}", '"x"']),
    ),
    max_size=4,
)


@cases(0.08)
@given(lines=_lines)
def test_fuzz_prompt_lines(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    only_ours(read_prompts, path)


@cache
def journal_bytes() -> bytes:
    path = Path(mkdtemp()) / "journal.db"
    journal = Journal(path, {"a": "b"})
    for unit in range(40):
        journal.keep(journal.ask(str(unit), 1, 0.1), ["x" * 100], cost=0.1)
    journal.close()
    raw = path.read_bytes()
    shutil.rmtree(path.parent)
    return raw


@cases(0.04)
@given(edits=_edits)
def test_fuzz_journals(tmp_path: Path, edits: Any) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(edited(journal_bytes(), edits))
    only_ours(read, path)


def read(path: Path) -> None:
    journal = Journal(path, {"a": "b"})
    try:
        for unit in journal.counts():
            list(journal.results(unit))
        assert isinstance(journal.spent, float) and journal.lost.calls >= 0
    finally:
        journal.close()


def test_a_table_that_unpacks_to_far_more_than_it_weighs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_MOST_BYTES", 300_000_000)
    path = tmp_path / "samples.parquet"
    many = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(200_000, dtype=np.int32)), pa.array(["x" * 100_000])
    )
    short = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(200_000, dtype=np.int32)), pa.array(["x"])
    )
    columns = {name: short for name in ("query_id", "query", "model")}
    sample = pa.array(np.zeros(200_000, dtype=np.int32))
    pq.write_table(
        pa.table({**columns, "sample": sample, "response": many}), path, store_schema=False
    )
    assert path.stat().st_size < 10_000_000
    with pytest.raises(DataError, match="GB"):
        read_samples(path)


def test_a_table_of_more_rows_than_anyone_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    nothing = pa.RecordBatch.from_pydict({"query_id": pa.nulls(10_000_000)})
    with pq.ParquetWriter(path, nothing.schema) as writer:
        for _ in range(6):
            writer.write_batch(nothing)
    with pytest.raises(DataError, match="60,000,000 rows"):
        read_samples(path)


def test_a_table_by_another_program_is_read_in_our_types(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    own = {key: pa.array([value]) for key, value in ROW.items()}
    own["response"] = pa.array(["hello"], pa.large_string())
    own["oracle_score"] = pa.array([1])
    pq.write_table(pa.table(own), path)
    table = read_samples(path, scored=True)
    assert table["sample"].type == pa.int32() and table["oracle_score"].to_pylist() == [1.0]
    write_samples(table.to_pylist(), tmp_path / "again.parquet")


def test_a_journal_of_another_make_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE about (key TEXT PRIMARY KEY); CREATE TABLE kept (a);")
    other.close()
    with pytest.raises(DataError):
        read(path)


def test_deep_json_in_a_prompt_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"query": "hi", "params": {"a": nested(300)}}), encoding="utf-8")
    with pytest.raises(DataError, match="nested more than"):
        read_prompts(path)
