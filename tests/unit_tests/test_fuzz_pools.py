"""Whatever a pool file holds, only errors of this library come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bestroute import ModelPool
from bestroute.errors import ConfigError
from tests.fuzzing import any_text, cases, deep, junk, nested, numbers, only_ours, plain, sometimes

_price = st.fixed_dictionaries({"input": sometimes(numbers)}, optional={"output": numbers})
_member = st.fixed_dictionaries(
    {"model": sometimes(st.sampled_from(["openai/a", "b", ""]))},
    optional={
        "name": sometimes(any_text),
        "price": sometimes(_price),
        "max_samples": sometimes(st.integers(0, 200)),
        "reference": sometimes(st.booleans()),
        "native_n": sometimes(st.booleans()),
        "context_window": numbers,
        "rpm": numbers,
        "params": sometimes(
            st.dictionaries(sometimes(st.sampled_from(["api_key", "temperature", "n"])), plain)
        ),
        "nested": deep(),
        "client": junk,
    },
)
pools = sometimes(
    st.fixed_dictionaries(
        {"models": sometimes(st.lists(sometimes(_member), max_size=3))}, optional={"more": junk}
    )
)
_pieces = st.sampled_from(
    [
        *("models:\n", "- model: openai/a\n", "  - {model: openai/b, reference: true}\n"),
        *("  params:\n", "    api_key: k\n", "    a: &x [1, 2]\n", "    b: *x\n", "    <<: *x\n"),
        *("? [1]\n", "!!python/object:os.system x\n", "!!binary x\n", "2001-99-99\n", "--- \n"),
        *("- ", "{", "[", "}", "]", ": ", '"', "'", "|\n", "\t", "\0", "&a [*a]\n", "0x_\n", "#\n"),
        *("!!set {a, b}\n", "!!omap [a: 1]\n", "!!int x\n", "!!float .\n", "1e999\n", "~: ~\n"),
        "9" * 5000 + "\n",
    ]
)
texts = st.one_of(
    st.lists(_pieces, max_size=12).map("".join),
    st.builds(lambda head, tail: head + "\n" + tail, any_text, any_text),
)


@cases(0.08)
@given(data=pools)
def test_fuzz_pool_data(data: Any) -> None:
    for door in (ModelPool.from_dict, ModelPool.read):
        pool = only_ours(door, data)
        if pool is not None:
            repr(pool), pool.model_dump_json(), pool.fingerprint, pool.hidden_digest


@cases(0.1)
@given(text=texts)
def test_fuzz_pool_text(text: str) -> None:
    only_ours(ModelPool.from_yaml, text + "\n")


@cases(0.04)
@given(raw=st.one_of(st.binary(), texts.map(lambda t: t.encode("utf-8", "surrogatepass"))))
def test_fuzz_pool_files(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "pool.yaml"
    path.write_bytes(raw)
    only_ours(ModelPool.from_yaml, path)


@pytest.mark.parametrize("where", ["no\0file", "x" * 5000, "", ".", None, 3, b"pool.yaml"])
def test_what_is_no_pool_file(where: Any) -> None:
    with pytest.raises(ConfigError):
        ModelPool.from_yaml(where)


BOMB = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)), "models: []"]
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "models: &m [*m]\n",
        "models:\n  - &m {model: a, params: *m}\n",
        "[" * 20_000 + "\n",
        "models:\n" + "".join(f"{'  ' * i}- \n" for i in range(2000)),
        "models: " + "{a: " * 3000 + "\n",
    ],
    ids=["laughs", "loop", "params", "brackets", "indents", "braces"],
)
def test_yaml_that_would_grow_without_end_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        ModelPool.from_yaml(text)


def test_deep_params_are_refused() -> None:
    member = {"model": "openai/a", "reference": True, "params": {"extra_body": nested(50_000)}}
    with pytest.raises(ConfigError, match="deep"):
        ModelPool.from_dict({"models": [member]})


def test_anchors_and_merges_are_fine() -> None:
    text = yaml.safe_dump({"models": []})
    text = """
shared: &shared
  temperature: 0.7
models:
  - {model: openai/a, params: *shared}
  - {model: openai/b, reference: true, params: {<<: *shared, top_p: 0.5}}
"""
    with pytest.raises(ConfigError, match="shared: unknown field"):
        ModelPool.from_yaml(text)
    text = """
models:
  - {model: openai/a, params: &shared {temperature: 0.7}}
  - {model: openai/b, reference: true, params: {<<: *shared, top_p: 0.5}}
"""
    assert ModelPool.from_yaml(text)["openai/b"].params == {"temperature": 0.7, "top_p": 0.5}
