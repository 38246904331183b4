"""The bad inputs that a newcomer meets first: each is one clear class of `bestroute.errors`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute import Arm, BestRoute, ModelPool, PooledModel, Prediction, errors
from bestroute._extras import require
from bestroute._sync import run_sync
from bestroute.learning.samples import read_samples, write_samples
from bestroute.query import Request
from bestroute.rewards.base import checked
from bestroute.samples import Call
from bestroute.sampling import Sampler

POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/small", "name": "small", "max_samples": 2},
            {"model": "openai/big", "name": "big", "reference": True},
        ]
    }
)


class Elsewhere:
    """A router made for another pool."""

    arms = (Arm("other", 1),)

    def predict(self, queries: list[str]) -> Prediction:
        return Prediction(self.arms, np.ones((len(queries), 1)))


class Same(Elsewhere):
    """A router made for this pool."""

    arms = POOL.arms


def row(**fields: Any) -> dict[str, Any]:
    plain = {"query_id": "1", "query": "q", "model": "small", "sample": 0, "response": "r"}
    return {**plain, "oracle_score": 1.0, **fields}


def truncated(folder: Path) -> None:
    path = folder / "samples.parquet"
    write_samples([row()], path)
    path.write_bytes(path.read_bytes()[:-20])
    read_samples(path)


def table(folder: Path, *, without: str = "", **fields: Any) -> None:
    given = {name: value for name, value in row(**fields).items() if name != without}
    write_samples([given], folder / "samples.parquet")
    read_samples(folder / "samples.parquet", scored=True)


def misspelt(folder: Path) -> None:
    member = PooledModel(model="opnai/gpt-4o", name="m")
    run_sync(Sampler().draw(Request.build("hi"), member, 1))


BAD_INPUT: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "empty messages": (
        lambda folder: BestRoute(POOL).route([]),
        errors.RequestError,
        "messages is empty",
    ),
    "empty messages, asked for an answer": (
        lambda folder: BestRoute(POOL).complete([]),
        errors.RequestError,
        "messages is empty",
    ),
    "blank text": (lambda folder: BestRoute(POOL).route(" "), errors.RequestError, "no content"),
    "unknown model of the pool": (lambda folder: POOL["huge"], errors.UnknownModelError, "'huge'"),
    "unknown provider": (misspelt, errors.UnknownModelError, "opnai/gpt-4o"),
    "missing price": (
        lambda folder: BestRoute(POOL, router=Same(), threshold=0.5),
        errors.MissingPriceError,
        "price: {input",
    ),
    "router for another pool": (
        lambda folder: BestRoute(POOL, router=Elsewhere(), threshold=0.5),
        errors.PoolMismatchError,
        "made for other:1",
    ),
    "truncated Parquet": (truncated, errors.DataError, "truncated"),
    "absent Parquet": (
        lambda folder: read_samples(folder / "none.parquet"),
        errors.DataError,
        "no such file",
    ),
    "NaN score": (lambda folder: table(folder, oracle_score=math.nan), errors.DataError, "NaN"),
    "missing score": (
        lambda folder: table(folder, oracle_score=None),
        errors.DataError,
        "1 of 1 rows have no oracle_score",
    ),
    "missing column": (lambda folder: table(folder, without="response"), errors.DataError, "null"),
    "NaN from a reward model": (
        lambda folder: checked(np.array([1.0, math.nan]), 2, "Mine"),
        errors.ScoreError,
        "Mine gave NaN",
    ),
    "too few scores from a reward model": (
        lambda folder: checked(np.array([1.0]), 2, "Mine"),
        errors.ScoreError,
        "2 responses",
    ),
    "n above what the pool may hold": (
        lambda folder: ModelPool.from_dict(
            {"models": [{"model": "openai/x", "reference": True, "max_samples": 129}]}
        ),
        errors.ConfigError,
        "max_samples",
    ),
    "n above what one temperature can give": (
        lambda folder: run_sync(
            Sampler().draw(Request.build("hi", {"temperature": 0}), POOL["small"], 2)
        ),
        errors.SampleLimitError,
        "temperature 0",
    ),
    "n set by the caller": (
        lambda folder: BestRoute(POOL).route("hi", n=5),
        errors.RequestError,
        "max_samples",
    ),
    "no router": (
        lambda folder: BestRoute(POOL, threshold=0.5),
        errors.RouterNotTrained,
        "bestroute fit",
    ),
    "no saved router": (
        lambda folder: BestRoute.from_pretrained(folder),
        errors.ArtifactError,
        "bestroute.json",
    ),
    "no extra": (
        lambda folder: require("no_such_package", feature="This", extra="demo"),
        errors.MissingExtraError,
        r"bestroute\[demo\]",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_clear_error(name: str, tmp_path: Path) -> None:
    act, kind, said = BAD_INPUT[name]
    with pytest.raises(errors.BestRouteError, match=said) as caught:
        act(tmp_path)
    assert caught.type is kind


def test_every_error_is_a_best_route_error_and_the_usual_kind_too() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    own = [each for each in kinds if issubclass(each, BaseException)]
    assert len(own) > 10
    assert all(issubclass(each, errors.BestRouteError) for each in own)
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)


@pytest.mark.parametrize(
    "error",
    [
        errors.ConfigError("a"),
        errors.MissingExtraError("This", "demo"),
        errors.SamplingError("a", causes=[ValueError("b")]),
    ],
)
def test_errors_cross_processes(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert vars(again).keys() == vars(error).keys()


class ForeignError(Exception):
    """As those of LiteLLM: pickled, it cannot be made again."""

    def __init__(self, message: str, *, response: object) -> None:
        super().__init__(message)
        self.response = response


def test_causes_of_other_packages_cross_processes_as_text() -> None:
    call = Call(model="small", requested=1, error="out of order")
    own = [ValueError("a"), errors.ScoreError("b")]
    error = errors.SamplingError(
        "nobody", causes=[*own, ForeignError("c", response=object())], calls=[call]
    )
    again = pickle.loads(pickle.dumps(error))
    assert again.calls == (call,)
    assert [str(cause) for cause in again.causes] == ["a", "b", "ForeignError: c"]
    assert [type(cause) for cause in again.causes] == [
        ValueError,
        errors.ScoreError,
        errors.BestRouteError,
    ]
    assert error.causes[2].response  # type: ignore[attr-defined]
