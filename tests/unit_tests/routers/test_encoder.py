"""A text of any length is read at a bounded cost, and nothing of a short one is left out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.errors import ArtifactError, ConfigError
from bestroute.routers import Encoder, StaticEncoder, load_encoder
from bestroute.routers.encoder import read, unit, windows

SIZES = st.integers(1, 60)
CAPS = st.integers(2, 9)
TEXTS = st.text(alphabet=st.sampled_from("ab \n\u00e9\U0001f600"), max_size=800)


@given(TEXTS, SIZES, CAPS)
def test_windows_of_a_short_text_leave_nothing_out(text, size, cap):
    if len(text) <= size * cap:
        assert "".join(windows(text, size, cap)) == text


@given(TEXTS, SIZES, CAPS)
def test_windows_are_bounded_and_hold_both_ends(text, size, cap):
    parts = windows(text, size, cap)
    assert 1 <= len(parts) <= cap
    assert all(len(part) <= size + size // 8 for part in parts)
    assert all(part in text for part in parts)
    assert text.startswith(parts[0])
    assert text.endswith(parts[-1])
    if len(text) > size * cap:
        assert len(parts) == cap


def test_windows_of_a_long_text_are_evenly_spaced():
    text = "".join(f"{i:07d} " for i in range(125_000))
    starts = [int(part[:7]) for part in windows(text, 1024, 8)]
    gaps = np.diff(starts)
    assert starts[0] == 0
    assert gaps.max() - gaps.min() <= 1024 // 8


def test_windows_are_cut_at_white_space():
    words = windows("alphabet " * 5000, 1000, 4)
    assert {word for part in words[:-1] for word in part.split()} == {"alphabet"}


def test_windows_need_room_for_both_ends():
    with pytest.raises(ConfigError, match="cap"):
        windows("text", 10, 1)


def test_read_replaces_lone_surrogates_and_says_whose_window_it_is():
    parts, owners = read(["a\ud800b", "", "x" * 25], 10, 4)
    assert parts[0] == "a?b"
    assert owners.tolist() == [0, 1, 2, 2, 2]


def test_unit_keeps_zero_rows():
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]


def test_load_encoder_builds_known_kinds_only():
    encoder = StaticEncoder()
    again = load_encoder(encoder.config())
    assert isinstance(again, Encoder)
    assert np.array_equal(again.encode(["hello"]), encoder.encode(["hello"]))
    with pytest.raises(ArtifactError, match=r"os\.system"):
        load_encoder({"kind": "os.system"})


def test_routers_are_imported_without_the_heavy_packages():
    code = (
        "import sys, bestroute.routers; "
        "heavy = {'tokenizers', 'torch', 'transformers', 'sklearn', 'wordllama'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
