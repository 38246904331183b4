"""Encoders: text in, vectors out; and how a text of any length is read at a bounded cost."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError

Vectors = NDArray[np.float32]

_KINDS = {
    "onnx": ("bestroute.routers.onnx", "OnnxEncoder"),
    "static": ("bestroute.routers.static", "StaticEncoder"),
    "transformer": ("bestroute.routers.transformer", "TransformerEncoder"),
}


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors. Read-only once built: safe to use from several threads."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One finite vector a text [B, dimension], whatever the text's length."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON-able: `kind`, a digest of the weights, and what builds the encoder again."""
        ...


def load_encoder(config: Mapping[str, Any]) -> Encoder:
    """Build the encoder that `Encoder.config` described.

    Only the kinds known here are built: a saved router cannot name code to import.

    Raises:
        ArtifactError: The kind is unknown, or the weights are not those of the config.
        MissingExtraError: The encoder's packages are not installed.
    """
    kind = config.get("kind")
    if kind not in _KINDS:
        raise ArtifactError(
            f"unknown encoder kind {kind!r} (known: {', '.join(_KINDS)}); "
            "pass an encoder of your own as encoder="
        )
    module, name = _KINDS[kind]
    return cast(Encoder, getattr(importlib.import_module(module), name).from_config(config))


def windows(text: str, size: int, cap: int) -> list[str]:
    """The parts of a text that are read: all of it if it is short, else evenly spaced parts.

    Up to `cap * size` characters the windows are consecutive and leave nothing out. A longer
    text gives `cap` windows at equal distances, the first at its beginning and the last at its
    end. The cuts are made on characters, before any tokeniser runs, so that the cost of a
    query is bounded by `cap * size` however long it is; each is moved back to a white space
    if there is one within an eighth of a window.

    Args:
        text: Any text.
        size: Characters of one window, give or take an eighth.
        cap: Most windows, at least 2.

    Raises:
        ConfigError: `cap` is below 2 or `size` below 1.
    """
    if cap < 2 or size < 1:
        raise ConfigError(f"windows need cap >= 2 and size >= 1, not cap={cap}, size={size}")
    length = len(text)
    count = max(1, -(-length // size))
    spans: Iterable[tuple[int, int]]
    if count <= cap:
        spans = pairwise(i * length // count for i in range(count + 1))
    else:
        starts = (i * (length - size) // (cap - 1) for i in range(cap))
        spans = ((start, start + size) for start in starts)
    slack = size // 8
    return [text[_space(text, a, slack) : _space(text, b, slack)] for a, b in spans]


def _space(text: str, position: int, slack: int) -> int:
    """`position`, or the last place within `slack` before it that follows a white space."""
    if 0 < position < len(text):
        for place in range(position, max(position - slack, 0), -1):
            if text[place - 1].isspace():
                return place
    return position


def read(texts: Sequence[str], size: int, cap: int) -> tuple[list[str], NDArray[np.intp]]:
    """The windows of all texts in one list, and which text [windows] each belongs to.

    Lone surrogates, which no tokeniser takes, are replaced by `?`.
    """
    parts = [windows(text, size, cap) for text in texts]
    flat = [part.encode("utf-8", "replace").decode() for some in parts for part in some]
    return flat, np.repeat(np.arange(len(texts)), [len(some) for some in parts])


def spread(owners: NDArray[np.intp], texts: int, cap: int) -> NDArray[np.intp]:
    """Which parts are kept: of each text at most `cap`, evenly spaced, first and last always.

    Args:
        owners: Which text each part belongs to.
        texts: How many texts there are.
        cap: Most parts of one text.
    """
    kept = []
    for text in range(texts):
        parts = np.flatnonzero(owners == text)
        some = np.linspace(0, len(parts) - 1, cap).round().astype(np.intp)
        kept.append(parts if len(parts) <= cap else parts[some])
    return np.concatenate(kept)


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)
