"""An exported model and its tokenizer, run by ONNX Runtime; without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bestroute._extras import require
from bestroute.errors import ArtifactError

MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"

INPUT_IDS, TYPE_IDS = "input_ids", "token_type_ids"
"""What a graph may be fed, each [1, tokens]; it gives one array."""

OUTSIDE = b"location"
"""The key that says in which other file a tensor lies: a graph without it reads none."""

_EXTRA = "onnx"
MOST_BYTES = 2**31

T = TypeVar("T")
R = TypeVar("R")


class Graph:
    """A folder with `model.onnx` and `tokenizer.json`.

    Args:
        folder: Holds both.
        what: The kind of model, for messages.
        threads: Of one run, and runs at once; 0 takes what the machine has.

    Attributes:
        digest: SHA-256 of both files.
        tokenizer: Of `tokenizers`; pads and cuts nothing.
        probe: What the graph gave for a text.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        ArtifactError: A file is missing or damaged, or the graph refers to other files.
    """

    def __init__(self, folder: str | Path, *, what: str, threads: int = 0) -> None:
        self._folder, self._threads = str(folder), threads or os.cpu_count() or 1
        feature = f"An ONNX {what}"
        graph, tokenizer = _files(Path(folder))
        self.digest = _digest(graph, tokenizer)
        if OUTSIDE in graph:
            raise ArtifactError(f"{Path(folder) / MODEL_FILE} refers to files outside of it")
        try:
            self.tokenizer = _tokenizer(tokenizer, feature)
            self._session = _session(graph, threads, feature)
            self._inputs = [each.name for each in self._session.get_inputs()]
            probe = self.tokenizer.encode("probe")
            self.probe = self.run({INPUT_IDS: probe.ids, TYPE_IDS: probe.type_ids})
        except ImportError:
            raise
        except Exception as error:  # both libraries raise Exception itself
            raise ArtifactError(f"{folder} holds no {what} that can be run: {error}") from error
        if not np.isfinite(self.probe).all():
            raise ArtifactError(f"{folder} holds no {what}: it gives numbers that are none")

    def must_be(self, digest: object) -> None:
        """Make sure that the files are the ones that were saved.

        Raises:
            ArtifactError: They are others.
        """
        if digest != self.digest:
            raise ArtifactError(
                f"the files in {self._folder!r} (sha256 {self.digest[:12]}) are not those that "
                f"were saved ({str(digest)[:12]}): export it again"
            )

    def run(self, tokens: Mapping[str, Sequence[int]]) -> NDArray[np.float32]:
        """What the graph gives for one run of tokens."""
        fed = {name: np.array([tokens[name]], dtype=np.int64) for name in self._inputs}
        return np.asarray(self._session.run(None, fed)[0], dtype=np.float32)

    def side_by_side(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What work gives for each item: a run alone leaves cores idle."""
        workers = min(len(items), self._threads)
        if workers < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(workers) as threads:
            return list(threads.map(work, items))


def digest_of(folder: Path) -> str:
    """SHA-256 of graph and tokenizer.

    Raises:
        ArtifactError: One is missing.
    """
    return _digest(*_files(folder))


def _files(folder: Path) -> tuple[bytes, bytes]:
    return _read(folder / MODEL_FILE), _read(folder / TOKENIZER_FILE)


def _digest(graph: bytes, tokenizer: bytes) -> str:
    both = hashlib.sha256(graph)
    both.update(tokenizer)  # not joined: a graph may have 2 GiB
    return both.hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ArtifactError(f"{path} is larger than 2 GiB, which no ONNX graph is")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _tokenizer(content: bytes, feature: str) -> Any:
    tokenizers = require("tokenizers", feature=feature, extra=_EXTRA)
    tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _session(graph: bytes, threads: int, feature: str) -> Any:
    runtime = require("onnxruntime", feature=feature, extra=_EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # A thread that waits by spinning takes the core that the next request needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
