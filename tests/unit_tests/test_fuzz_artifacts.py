"""Whatever a saved router holds, it is refused or decides; only errors of this library come out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from bestroute import BestRoute, Decision, ModelPool
from bestroute.artifact import CONFIG_FILE, POLICY_FILE, WEIGHTS_FILE
from bestroute.policy import Adaptive
from bestroute.routers import Heads, KNNRouter, MultiHeadRouter, StaticEncoder
from bestroute.routers.calibrated import CalibratedRouter
from bestroute.routers.ensemble import EnsembleRouter
from bestroute.routers.features import FEATURE_NAMES
from tests.fuzzing import any_text, cases, deep, numbers, only_ours, plain
from tests.small_belief import small_belief

POOL = ModelPool.from_dict(
    {
        "models": [
            {
                "model": "openai/small",
                "name": "small",
                "max_samples": 2,
                "price": {"input": 1, "output": 2},
            },
            {
                "model": "openai/big",
                "name": "big",
                "reference": True,
                "price": {"input": 5, "output": 9},
            },
        ]
    }
)


@cache
def saved() -> dict[str, bytes]:
    """The files of a real saved router: heads and neighbours, calibrated, with a belief."""
    encoder, rng = StaticEncoder(), np.random.default_rng(0)
    inputs = encoder.dimension + len(FEATURE_NAMES)
    heads = Heads(
        centre=np.zeros(inputs),
        scale=np.ones(inputs),
        weight=rng.normal(size=(inputs, 2)) / 20,
        bias=np.zeros(2),
        length_weight=np.zeros((inputs, 2)),
        length_bias=np.full(2, 3.0),
        length_range=np.array([[0.0, 0.0], [6.0, 6.0]]),
    )
    arms = POOL.arms
    knn = KNNRouter(
        arms,
        "big",
        encoder,
        vectors=encoder.encode(["one", "two", "three"]),
        match=np.ones((3, len(arms))),
        quality=np.ones((3, len(arms))),
        k=2,
    )
    router = EnsembleRouter([MultiHeadRouter(arms, "big", encoder, heads), knn])
    curves = np.linspace([0.0] * len(arms), [1.0] * len(arms), 5)
    engine = BestRoute(
        POOL,
        router=CalibratedRouter(router, curves),
        policy=Adaptive(0.6, small_belief(reference_cost=0.01), max_waves=2),
    )
    folder = Path(mkdtemp())
    engine.save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    return files


def loaded(tmp_path: Path, changed: dict[str, bytes]) -> None:
    """Load the router with some of its files changed; what loads must decide."""
    files = saved() | changed
    folder = tmp_path / "router"
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    engine = only_ours(BestRoute.from_pretrained, folder)
    if engine is not None:
        decision = only_ours(engine.route, "What is 2 + 2?")
        assert decision is None or isinstance(decision, Decision)


# Bytes

names = st.sampled_from([WEIGHTS_FILE, CONFIG_FILE, POLICY_FILE])
_edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=4
)


def edited(raw: bytes, edits: list[tuple[float, bytes]], within: int | None = None) -> bytes:
    """Bytes written over others, somewhere in the first so many."""
    changed = bytearray(raw)
    for place, piece in edits:
        start = int(place * (within or len(raw)))
        changed[start : start + len(piece)] = piece
    return bytes(changed)


@cases(0.05)
@given(name=names, edits=_edits, cut=st.one_of(st.none(), st.floats(0, 1)))
def test_fuzz_artifact_bytes(tmp_path: Path, name: str, edits: Any, cut: float | None) -> None:
    raw = edited(saved()[name], edits)
    loaded(tmp_path, {name: raw if cut is None else raw[: int(cut * len(raw))]})


@cases(0.05)
@given(name=names, edits=_edits)
def test_fuzz_artifact_headers(tmp_path: Path, name: str, edits: Any) -> None:
    raw = saved()[name]
    header = 8 + int.from_bytes(raw[:8], "little")
    loaded(tmp_path, {name: edited(raw, edits, header)})


# Descriptions

values = st.one_of(
    numbers,
    any_text,
    plain,
    deep(),
    st.none(),
    st.booleans(),
    st.sampled_from(
        [
            *("../..", "./../x", "/etc", "./\0", "https://evil.example", "os.environ/KEY", "~/x"),
            *("multi_head", "knn", "ensemble", "subset", "calibrated", "clusters", "static"),
            *("classifier", "transformer", "consistency", "big:1", "small:2", "small:999999999"),
            *([], {}, [{}], {"kind": "knn"}, {"kind": "static"}, ["big:1"], [1], "NaN", "Infinity"),
        ]
    ),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a description has something that could be something else, ten levels down."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    if len(path) == 10:
        return [path]
    return [path, *(found for key, each in inner for found in places(each, (*path, key)))]


def replaced(data: Any, path: tuple[Any, ...], how: Callable[[Any, Any], None]) -> None:
    for key in path[:-1]:
        data = data[key]
    how(data, path[-1])


@cases(0.1)
@given(data=st.data())
def test_fuzz_artifact_descriptions(tmp_path: Path, data: st.DataObject) -> None:
    config = json.loads(saved()[CONFIG_FILE])
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(config)[1:]))
        value = data.draw(values)
        what = data.draw(st.sampled_from(["set", "set", "set", "drop", "add"]))

        def change(holder: Any, key: Any, value: Any = value, what: str = what) -> None:
            if what == "set":
                holder[key] = value
            elif what == "drop":
                del holder[key]
            elif isinstance(holder, list):
                holder.append(value)
            else:
                holder["new"] = value

        replaced(config, path, change)
    try:
        raw = json.dumps(config).encode("utf-8", "surrogatepass")
    except RecursionError:
        raw = b"[" * 100_000
    loaded(tmp_path, {CONFIG_FILE: raw})


TENSORS: tuple[Callable[[Any], Any], ...] = (
    lambda old: old.astype(np.float32),
    lambda old: old.astype(np.float16),
    lambda old: old.astype(np.int64),
    lambda old: old.astype(bool),
    lambda old: old[:0],
    lambda old: old[:-1],
    lambda old: old[None],
    lambda old: old.reshape(-1),
    lambda old: np.zeros(()),
    lambda old: old * np.nan,
    lambda old: old + np.inf,
    lambda old: -old,
    lambda old: old * 1e308,
    lambda old: old - 1e300,
    lambda old: np.full_like(old, 1e-320),
)


@cases(0.05)
@given(name=st.sampled_from([WEIGHTS_FILE, POLICY_FILE]), data=st.data())
def test_fuzz_artifact_tensors(tmp_path: Path, name: str, data: st.DataObject) -> None:
    tensors = load(saved()[name])
    some = st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=2, unique=True)
    for chosen in data.draw(some):
        with np.errstate(all="ignore"):
            tensors[chosen] = data.draw(st.sampled_from(TENSORS))(tensors[chosen])
    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    loaded(tmp_path, {name: save(whole)})
