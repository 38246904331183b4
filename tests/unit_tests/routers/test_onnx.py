"""A transformer encoder in ONNX Runtime: like the one it was exported from, and without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from bestroute import BestRoute, ModelPool
from bestroute.errors import ArtifactError, ConfigError
from bestroute.routers import Encoder, StaticEncoder, load_encoder

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from bestroute.cli.app import app  # noqa: E402
from bestroute.learning.export import export, export_encoder  # noqa: E402
from bestroute.learning.training.train import train_router, with_isotonic  # noqa: E402
from bestroute.routers.onnx import OnnxEncoder  # noqa: E402
from bestroute.routers.transformer import TransformerEncoder  # noqa: E402
from tests.tiny_bert import save_tiny_bert  # noqa: E402

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "?"]
TEXTS = ["the cat sat", "", "a dog ran far ?", "the cat sat on a mat " * 9, "dog", "\ud800 mat"]
CHEAP, DEAR = {"input": 1, "output": 1}, {"input": 9, "output": 9}
POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/s", "name": "s", "max_samples": 2, "price": CHEAP},
            {"model": "openai/b", "name": "b", "reference": True, "price": DEAR},
        ]
    }
)
QUERIES = [f"the {WORDS[i % 10]} {WORDS[(i // 3) % 10]} far" for i in range(40)]
LABELS = np.column_stack([np.arange(40) % 2, np.arange(40) % 3 > 0, np.ones(40)]).astype(float)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        folder = save_tiny_bert(tmp_path_factory.mktemp("tiny"), WORDS)
        return TransformerEncoder(folder, device="cpu")


@pytest.fixture(scope="module")
def folder(original: TransformerEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("onnx")
    export_encoder(original, target)
    return target


@pytest.fixture(scope="module")
def encoder(folder: Path, original: TransformerEncoder) -> OnnxEncoder:
    return OnnxEncoder(folder, max_tokens=original.max_tokens)


def test_vectors_are_nearly_those_of_the_original(
    encoder: OnnxEncoder, original: TransformerEncoder
) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == original.dimension
    cosines = (encoder.encode(TEXTS) * original.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.99


def test_a_vector_does_not_depend_on_the_batch(encoder: OnnxEncoder) -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.array_equal(together, alone)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_long_text_costs_a_bounded_number_of_runs(
    encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def counted(ids: list[int]) -> NDArray[np.float32]:
        lengths.append(len(ids))
        return np.ones(encoder.dimension, dtype=np.float32)

    monkeypatch.setattr(encoder, "_sum", counted)
    encoder.encode(["? " * 500_000])
    assert len(lengths) == 16
    assert max(lengths) == encoder.max_tokens


def test_threads_share_an_encoder(encoder: OnnxEncoder) -> None:
    expected = encoder.encode(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(encoder.encode, [TEXTS] * 8):
            assert np.array_equal(vectors, expected)


def test_config_builds_it_again(encoder: OnnxEncoder) -> None:
    again = load_encoder(json.loads(json.dumps(encoder.config())))
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


# What no artifact may bring


def changed(folder: Path, target: Path, name: str, content: bytes) -> Path:
    shutil.copytree(folder, target)
    (target / name).write_bytes(content)
    return target


def test_other_files_than_the_saved_ones_are_refused(
    encoder: OnnxEncoder, folder: Path, tmp_path: Path
) -> None:
    tokenizer = (folder / "tokenizer.json").read_bytes() + b"\n"
    other = changed(folder, tmp_path / "other", "tokenizer.json", tokenizer)
    with pytest.raises(ArtifactError, match="sha256"):
        load_encoder({**encoder.config(), "name": str(other)})
    with pytest.raises(ArtifactError, match="name"):
        load_encoder({"kind": "onnx"})


@pytest.mark.parametrize("outside", ["../secret", "/etc/hostname", "weights.bin"])
def test_a_graph_that_reads_other_files_is_refused(
    folder: Path, tmp_path: Path, outside: str
) -> None:
    graph = onnx.load(folder / "model.onnx")
    weight = next(each for each in graph.graph.initializer if len(each.raw_data) > 64)
    onnx.external_data_helper.set_external_data(weight, outside, length=len(weight.raw_data))
    weight.ClearField("raw_data")
    target = changed(folder, tmp_path / "hostile", "model.onnx", graph.SerializeToString())
    with pytest.raises(ArtifactError, match="outside"):
        OnnxEncoder(target)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_damaged_or_missing_files_are_named(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="no encoder that can be run"):
        OnnxEncoder(changed(folder, tmp_path / "damaged", name, b"{}"))
    (tmp_path / "damaged" / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        OnnxEncoder(tmp_path / "damaged")


# Routers


def test_a_router_is_exported_and_then_needs_no_torch(
    original: TransformerEncoder, tmp_path: Path
) -> None:
    inner = train_router(QUERIES, LABELS, POOL.arms, "b", encoder=original)
    router = with_isotonic(inner, QUERIES, LABELS)
    BestRoute(POOL, router=router, threshold=0.5).save_pretrained(tmp_path / "torch")
    exported = export(tmp_path / "torch", tmp_path / "onnx", queries=QUERIES)
    assert 0 < exported.difference < 0.1
    assert exported.engine.policy.threshold == 0.5
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'onnx']))\n"
        "from bestroute import BestRoute\n"
        f"engine = BestRoute.from_pretrained({str(tmp_path / 'onnx')!r})\n"
        "print(engine.router.predict(['the cat'])"
        ".match.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = router.predict(["the cat"]).match
    assert np.abs(np.array(json.loads(done.stdout)) - expected).max() < 0.1


def test_the_command_says_what_it_cannot_export(tmp_path: Path) -> None:
    router = train_router(QUERIES, LABELS, POOL.arms, "b", encoder=StaticEncoder())
    BestRoute(POOL, router=router, threshold=0.5).save_pretrained(tmp_path / "static")
    for output, why in (("other", "no transformer encoder"), ("static", "the router itself")):
        options = ["export", str(tmp_path / "static"), "-o", str(tmp_path / output)]
        done = CliRunner().invoke(app, options)
        assert isinstance(done.exception, ConfigError)
        assert why in str(done.exception)
