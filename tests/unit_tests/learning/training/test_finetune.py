"""Fine-tuning: the module is the router, the encoder learns, and it never gets worse for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bestroute.errors import ConfigError, DataError
from bestroute.learning.training.finetune import fine_tune
from bestroute.learning.training.logistic import log_loss
from bestroute.learning.training.train import train_router
from bestroute.pool import Arm
from bestroute.routers import MultiHeadRouter, StaticEncoder, TransformerEncoder
from tests.tiny_bert import save_tiny_bert

ARMS = (Arm("small", 1), Arm("small", 2), Arm("big", 1))
EASY, HARD = ["cats", "songs", "apples", "poems"], ["taxes", "bonds", "proofs", "atoms"]
FILLERS = ["name", "find", "count", "move", "the", "some"]
FAST: dict[str, Any] = {"epochs": 4, "learning_rate": 3e-3, "batch_size": 16}


def traffic(rows: int, seed: int = 0) -> tuple[list[str], Any]:
    """What the query is about decides; its shape says nothing."""
    rng = np.random.default_rng(seed)
    hard = rng.random(rows) < 0.5
    queries = [
        " ".join([*rng.choice(FILLERS, 3), rng.choice(HARD if each else EASY)]) for each in hard
    ]
    return queries, np.where(hard[:, None], [0.1, 0.2, 1.0], [0.8, 0.9, 1.0])


QUERIES, LABELS = traffic(100)
UNSEEN, TRUTH = traffic(50, seed=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    words = [*EASY, *HARD, *FILLERS]
    return TransformerEncoder(save_tiny_bert(tmp_path_factory.mktemp("bert"), words), device="cpu")


@pytest.fixture(scope="module")
def frozen(encoder: TransformerEncoder) -> MultiHeadRouter:
    return train_router(QUERIES, LABELS, ARMS, "big", encoder=encoder, l2=0.1)


@pytest.fixture(scope="module")
def tuned(
    frozen: MultiHeadRouter, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, MultiHeadRouter]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, fine_tune(frozen, QUERIES, LABELS, output=folder, **FAST)


def loss(router: MultiHeadRouter) -> float:
    return float(log_loss(router.predict(UNSEEN).match[:, :2], TRUTH[:, :2]).mean())


def test_the_module_computes_what_the_router_does(frozen: MultiHeadRouter) -> None:
    import torch

    from bestroute.learning.training.router_module import RouterModule, collator

    assert isinstance(frozen.encoder, TransformerEncoder)
    long = " ".join(FILLERS * 30)  # several runs of 32 tokens
    queries = ["", "name the cats", long, "taxes", long + " bonds", "?" * 300]
    labels = np.linspace(0, 1, 12).reshape(6, 2)
    module = RouterModule(frozen.encoder.module(), frozen.heads, l2=3.0).eval()
    batch = collator(frozen.encoder)(list(zip(queries, labels, strict=True)))
    with torch.no_grad():
        made = module(**batch)
    expected = frozen.predict(queries).match[:, :2]
    assert np.allclose(torch.sigmoid(made["logits"]).numpy(), expected, atol=1e-5)
    assert float(made["loss"]) == pytest.approx(log_loss(expected, labels).mean(), abs=1e-5)


def test_the_encoder_learns_what_it_did_not_show(
    frozen: MultiHeadRouter, tuned: tuple[Path, MultiHeadRouter]
) -> None:
    least = float(log_loss(TRUTH[:, :2], TRUTH[:, :2]).mean())
    before, after = loss(frozen) - least, loss(tuned[1]) - least
    assert after < before / 2


def test_it_is_saved_whole_and_comes_back(tuned: tuple[Path, MultiHeadRouter]) -> None:
    folder, router = tuned
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    again = MultiHeadRouter.from_state(*router.state())
    assert again.encoder.config()["name"] == str(folder)
    assert np.array_equal(again.predict(UNSEEN).match, router.predict(UNSEEN).match)


def test_the_router_it_started_from_is_as_it_was(
    encoder: TransformerEncoder, frozen: MultiHeadRouter, tuned: tuple[Path, MultiHeadRouter]
) -> None:
    assert frozen.encoder is encoder
    fresh = TransformerEncoder(encoder.name, device="cpu")
    assert np.array_equal(fresh.encode(UNSEEN), encoder.encode(UNSEEN))
    assert not np.allclose(tuned[1].encoder.encode(UNSEEN), encoder.encode(UNSEEN), atol=0.01)


def test_what_does_not_help_is_not_kept(frozen: MultiHeadRouter, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(LABELS.shape).round()
    router = train_router(QUERIES, noise, ARMS, "big", encoder=frozen.encoder, l2=10.0)
    wild = {**FAST, "learning_rate": 0.3, "epochs": 1}
    kept = fine_tune(router, QUERIES, noise, output=tmp_path, **wild)
    assert np.allclose(kept.encoder.encode(UNSEEN), frozen.encoder.encode(UNSEEN), atol=1e-6)


def test_a_killed_run_goes_on_and_ends_as_a_whole_one(
    frozen: MultiHeadRouter, tuned: tuple[Path, MultiHeadRouter], tmp_path: Path
) -> None:
    def kill(step: str, done: int, total: int) -> None:
        if done == 13:  # of 20: in the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(frozen, QUERIES, LABELS, output=tmp_path, progress=kill, **FAST)
    steps: list[int] = []
    router = fine_tune(
        frozen, QUERIES, LABELS, output=tmp_path,
        progress=lambda step, done, total: steps.append(done), **FAST,
    )  # fmt: skip
    assert steps == list(range(11, 21))
    assert np.allclose(router.predict(UNSEEN).match, tuned[1].predict(UNSEEN).match, atol=1e-5)


def test_lengths_and_quality_are_fitted_where_they_are_given(
    frozen: MultiHeadRouter, tuned: tuple[Path, MultiHeadRouter], tmp_path: Path
) -> None:
    assert tuned[1].predict(UNSEEN).output_tokens is None
    router = fine_tune(
        frozen, QUERIES, LABELS, output=tmp_path, output_tokens=100 * LABELS, quality=LABELS,
        **{**FAST, "epochs": 1},
    )  # fmt: skip
    prediction = router.predict(UNSEEN)
    assert prediction.output_tokens is not None and prediction.quality is not None


def test_what_cannot_be_tuned_is_refused(frozen: MultiHeadRouter, tmp_path: Path) -> None:
    static = train_router(QUERIES, LABELS, ARMS, "big", encoder=StaticEncoder(), l2=1.0)
    with pytest.raises(ConfigError, match="StaticEncoder cannot be fine-tuned"):
        fine_tune(static, QUERIES, LABELS, output=tmp_path)
    with pytest.raises(DataError, match="labels"):
        fine_tune(frozen, QUERIES[:50], LABELS, output=tmp_path)
    with pytest.raises(DataError, match="groups"):
        fine_tune(frozen, QUERIES, LABELS, output=tmp_path, groups=["a"])
