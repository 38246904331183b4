"""A transformer encoder that ONNX Runtime runs: exported by `bestroute export`, without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.errors import ArtifactError
from bestroute.routers.encoder import Vectors, read, spread, unit
from bestroute.routers.transformer import MOST_RUNS

MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"
INPUT, OUTPUT = "input_ids", "sums"
"""The graph: token ids [1, tokens] -> sum of the last hidden states [dimension]."""

OUTSIDE = b"location"
"""The key that says in which other file a tensor lies: a graph without it reads none."""

_FEATURE, _EXTRA = "An ONNX encoder", "onnx"
_MOST_BYTES = 2**31


class OnnxEncoder:
    """Mean of an exported encoder's last hidden states, scaled to length 1.

    Texts are read as `TransformerEncoder` reads them. Runs of tokens are fed one at a time, so
    that a vector does not depend on what else is in the batch: int8 activations are scaled by
    all that is fed together, and a batch gains little on a CPU.

    Args:
        folder: Holds `model.onnx` and `tokenizer.json`.
        max_tokens: Longest run of tokens fed at once, special tokens included.
        threads: Of one run; 0 takes what the machine has.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        ArtifactError: A file is missing or damaged, or the graph refers to other files.
    """

    def __init__(self, folder: str | Path, *, max_tokens: int = 512, threads: int = 0) -> None:
        self.folder = str(folder)
        self.max_tokens = max_tokens
        graph, tokenizer = (_read(Path(folder) / name) for name in (MODEL_FILE, TOKENIZER_FILE))
        self._digest = hashlib.sha256(graph + tokenizer).hexdigest()
        if OUTSIDE in graph:
            raise ArtifactError(f"{Path(folder) / MODEL_FILE} refers to files outside of it")
        try:
            self._tokenizer = _tokenizer(tokenizer, max_tokens)
            self._session = _session(graph, threads)
            probe = self._sum(self._tokenizer.encode("probe").ids)
        except ImportError:
            raise
        except Exception as error:  # both libraries raise Exception itself
            raise ArtifactError(f"{folder} holds no encoder that can be run: {error}") from error
        if probe.ndim != 1 or not np.isfinite(probe).all():
            raise ArtifactError(f"{folder} holds an encoder whose vectors are none")
        self._dimension = len(probe)

    @property
    def dimension(self) -> int:
        """Length of a vector: the model's hidden size."""
        return self._dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [B, dimension]; an empty text gives that of its special tokens."""
        sums = np.zeros((len(texts), self._dimension), dtype=np.float32)
        if not texts:
            return sums
        parts, part_owners = read(texts, 2 * self.max_tokens, MOST_RUNS)
        encodings = self._tokenizer.encode_batch(parts)
        runs = [[each, *each.overflowing] for each in encodings]
        owners = part_owners.repeat([len(some) for some in runs])
        flat = [run for some in runs for run in some]
        kept = spread(owners, len(texts), MOST_RUNS)
        for owner, run in zip(owners[kept], self._each([flat[i].ids for i in kept]), strict=True):
            sums[owner] += run
        return unit(sums)

    def _each(self, runs: Sequence[Sequence[int]]) -> list[Vectors]:
        """Sums of the runs, side by side: one alone leaves cores idle."""
        if len(runs) == 1:
            return [self._sum(runs[0])]
        with ThreadPoolExecutor(min(len(runs), os.cpu_count() or 1)) as threads:
            return list(threads.map(self._sum, runs))

    def _sum(self, ids: Sequence[int]) -> Vectors:
        """Sum of the hidden states of one run [dimension]."""
        fed = {INPUT: np.array([ids], dtype=np.int64)}
        return np.asarray(self._session.run([OUTPUT], fed)[0], dtype=np.float32)

    def config(self) -> dict[str, Any]:
        """Kind, folder, longest run, dimension, and SHA-256 of graph and tokenizer."""
        return {
            "kind": "onnx",
            "name": self.folder,
            "max_tokens": self.max_tokens,
            "dimension": self.dimension,
            "digest": self._digest,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OnnxEncoder:
        """Build it again.

        Raises:
            ArtifactError: The config is incomplete, or the files found are not those that the
                router was exported with.
        """
        name, max_tokens = config.get("name"), config.get("max_tokens")
        if not isinstance(name, str) or not isinstance(max_tokens, int) or max_tokens < 1:
            raise ArtifactError("the saved ONNX encoder has no name or no max_tokens")
        encoder = cls(name, max_tokens=max_tokens)
        if config.get("digest") != encoder._digest:
            raise ArtifactError(
                f"the files in {name!r} (sha256 {encoder._digest[:12]}) are not those of the saved "
                f"router ({str(config.get('digest'))[:12]}): export it again"
            )
        return encoder


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ArtifactError(f"{path} is larger than 2 GiB, which no ONNX graph is")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _tokenizer(content: bytes, max_tokens: int) -> Any:
    tokenizers = require("tokenizers", feature=_FEATURE, extra=_EXTRA)
    tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _session(graph: bytes, threads: int) -> Any:
    runtime = require("onnxruntime", feature=_FEATURE, extra=_EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # A thread that waits by spinning takes the core that the next request needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
