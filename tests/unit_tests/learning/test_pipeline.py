"""The whole way: what is wrong is told before anything is paid for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bestroute import ModelPool
from bestroute.errors import (
    BestRouteError,
    ConfigError,
    DataError,
    MissingExtraError,
    MissingPriceError,
    UnknownModelError,
)
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.evaluation.assess import encoder_of
from bestroute.learning.pipeline import fit_prompts
from bestroute.learning.samples import is_scored_samples
from bestroute.learning.training.train import train_router
from bestroute.routers import StaticEncoder
from bestroute.routers.ensemble import EnsembleRouter

PROMPTS = [
    Prompt(query=split, split=split, answer="1") for split in ("train", "calibration", "test")
]


MORE = [*PROMPTS, Prompt(query="another", split="train", answer="1")]


def _pool(samples: int, price: float | None = None) -> ModelPool:
    model = {"model": "openai/b", "name": "b", "reference": True, "max_samples": samples}
    if price is not None:
        model["price"] = {"input": price, "output": price}
    return ModelPool.from_dict({"models": [model]})


@pytest.mark.parametrize(
    ("prompts", "samples", "options", "error", "words"),
    [
        (PROMPTS, 2, {"router": "typo"}, ConfigError, "unknown router 'typo'"),
        (PROMPTS, 2, {"policy": "typo"}, ConfigError, "unknown policy 'typo'"),
        (PROMPTS, 2, {"router": "knn", "monotone": True}, ConfigError, "multi-head"),
        (PROMPTS, 1, {}, ConfigError, "nothing to route to"),
        (PROMPTS[:2], 2, {}, DataError, "'test'"),
        (PROMPTS, 2, {"max_waves": 2}, ConfigError, "max_waves is 2"),
        (PROMPTS, 2, {"max_drop": 2}, ConfigError, "max_drop is 2"),
        (MORE, 2, {"samples": 2}, ConfigError, "2 samples of a prompt, and its arms need 3"),
        (PROMPTS, 2, {}, DataError, "1 of 3 prompts are of the split 'train', and the router"),
        (MORE, 2, {"policy": "adaptive"}, DataError, "2 of 4 prompts.* the adaptive policy"),
        (MORE, 2, {"reward": "static"}, DataError, "2 of 4 prompts.* needs at least 10"),
        (MORE, 2, {}, MissingPriceError, "'b'.* has no price"),
        (MORE, 2, {"price": 1, "reward": "no/such"}, ConfigError, "no reward 'no/such'"),
        (MORE, 2, {"price": 1, "oracle": "typo"}, ConfigError, "'typo' names nothing"),
        (MORE, 2, {"price": 1, "oracle": "check"}, DataError, "4 of 4 prompts have none"),
        (MORE, 2, {"price": 1, "oracle": "judge:typo/x"}, UnknownModelError, "no provider"),
    ],
)
def test_nothing_is_asked_when_the_end_cannot_be_reached(
    prompts: list[Prompt],
    samples: int,
    options: dict[str, Any],
    error: type[BestRouteError],
    words: str,
    tmp_path: Path,
) -> None:
    pool = _pool(samples, options.pop("price", None))
    with pytest.raises(error, match=words):
        fit_prompts(prompts, pool, tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("package", "extra"), [("matplotlib", "train"), ("wordllama", "static")])
def test_a_package_that_is_absent_is_found_out_before(
    package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    absent = lambda name, *more: None if name == package else found(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(MissingExtraError, match=rf"bestroute\[{extra}\]"):
        fit_prompts(MORE, _pool(2, 1), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_damaged_parquet_file_is_no_samples_table(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 junk")
    assert not is_scored_samples(path)


def test_the_encoder_of_an_ensemble_is_its_first_member_s() -> None:
    encoder = StaticEncoder()
    arms = _pool(2).arms
    queries, labels = ["a", "b", "c d"], [[1.0, 0.5], [1.0, 0.2], [1.0, 0.9]]
    member = train_router(queries, labels, arms, "b", encoder=encoder, l2=1.0)
    assert encoder_of(EnsembleRouter([member])) is encoder
