"""The default encoder: WordLlama's vectors, read from its files, never from the network."""

from __future__ import annotations

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestroute.errors import ArtifactError, MissingExtraError
from bestroute.routers import StaticEncoder

QUERIES = ["What is the capital of France?", "def f(x):\n    return x + 1", "\u4f60\u597d"]


@pytest.fixture(scope="module")
def encoder():
    return StaticEncoder()


def test_it_needs_no_network(socket_disabled):
    assert StaticEncoder().encode(QUERIES).shape == (3, 256)


def test_vectors_are_those_of_wordllama(encoder):
    wordllama = pytest.importorskip("wordllama")
    home = importlib.util.find_spec("wordllama").submodule_search_locations[0]
    theirs = wordllama.WordLlama.load(cache_dir=Path(home), disable_download=True)
    assert np.allclose(encoder.encode(QUERIES), theirs.embed(QUERIES, norm=True), atol=1e-5)


def test_related_texts_are_nearer_than_unrelated_ones(encoder):
    a, b, c = encoder.encode(
        ["Sort a list in Python", "Python code that orders an array", "The history of Rome"]
    )
    assert a @ b > a @ c + 0.1


def test_no_text_and_no_texts(encoder):
    assert not encoder.encode([""]).any()
    assert encoder.encode([]).shape == (0, encoder.dimension)


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_any_text_gives_a_finite_unit_vector(encoder, texts):
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), 256)
    assert vectors.dtype == np.float32
    norms = np.linalg.norm(vectors, axis=1)
    assert all(norm == pytest.approx(1, abs=1e-4) or norm == 0 for norm in norms)


def test_a_text_has_the_same_vector_alone_and_in_a_batch(encoder):
    texts = [*QUERIES, "x " * 40_000, ""] * 70
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts[:5]])
    assert np.allclose(together[-5:], alone, atol=1e-6)


def test_the_end_of_a_long_text_is_read(encoder):
    filler = "lorem ipsum dolor sit amet " * 20_000
    plain, with_end = encoder.encode([filler, filler + "quantum chromodynamics " * 60])
    assert plain @ with_end < 0.9999
    assert encoder.encode(["quantum chromodynamics"])[0] @ (with_end - plain) > 0


def test_threads_share_an_encoder(encoder):
    expected = encoder.encode(QUERIES)
    with ThreadPoolExecutor(8) as pool:
        for vectors in pool.map(encoder.encode, [QUERIES] * 64):
            assert np.array_equal(vectors, expected)


def test_config_is_json_and_other_weights_are_refused(encoder):
    config = json.loads(json.dumps(encoder.config()))
    assert StaticEncoder.from_config(config).config() == config
    with pytest.raises(ArtifactError, match="wordllama"):
        StaticEncoder.from_config({**config, "digest": "0" * 64})


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("bestroute.routers.static.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"bestroute\[static\]"):
        StaticEncoder()
