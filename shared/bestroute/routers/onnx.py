"""A transformer encoder that ONNX Runtime runs: exported by `bestroute export`, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._onnx import INPUT_IDS, Graph
from bestroute.errors import ArtifactError
from bestroute.routers.encoder import Vectors, read, spread, unit
from bestroute.routers.transformer import MOST_RUNS


class OnnxEncoder:
    """Mean of an exported encoder's last hidden states, scaled to length 1.

    Texts are read as `TransformerEncoder` reads them. Runs of tokens are fed one at a time, so
    that a vector does not depend on what else is in the batch: int8 activations are scaled by
    all that is fed together, and a batch gains little on a CPU.

    Args:
        folder: Holds `model.onnx` (token ids [1, tokens] -> sum of the last hidden states
            [dimension]) and `tokenizer.json`.
        max_tokens: Longest run of tokens fed at once, special tokens included.
        threads: Of one run, and runs at once; 0 takes what the machine has.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        ArtifactError: A file is missing or damaged, or the graph refers to other files.
    """

    def __init__(self, folder: str | Path, *, max_tokens: int = 512, threads: int = 0) -> None:
        self.folder = str(folder)
        self.max_tokens = max_tokens
        self._graph = Graph(folder, what="encoder", threads=threads)
        if self._graph.probe.ndim != 1:
            raise ArtifactError(f"{folder} holds an encoder whose vectors are none")
        self._graph.tokenizer.enable_truncation(max_tokens)

    @property
    def dimension(self) -> int:
        """Length of a vector: the model's hidden size."""
        return len(self._graph.probe)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [B, dimension]; an empty text gives that of its special tokens."""
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return sums
        parts, part_owners = read(texts, 2 * self.max_tokens, MOST_RUNS)
        encodings = self._graph.tokenizer.encode_batch(parts)
        runs = [[each, *each.overflowing] for each in encodings]
        owners = part_owners.repeat([len(some) for some in runs])
        flat = [run for some in runs for run in some]
        kept = spread(owners, len(texts), MOST_RUNS)
        ids = [flat[i].ids for i in kept]
        for owner, run in zip(owners[kept], self._graph.side_by_side(self._sum, ids), strict=True):
            sums[owner] += run
        return unit(sums)

    def _sum(self, ids: Sequence[int]) -> Vectors:
        """Sum of the hidden states of one run [dimension]."""
        return self._graph.run({INPUT_IDS: ids})

    def config(self) -> dict[str, Any]:
        """Kind, folder, longest run, dimension, and SHA-256 of graph and tokenizer."""
        return {
            "kind": "onnx",
            "name": self.folder,
            "max_tokens": self.max_tokens,
            "dimension": self.dimension,
            "digest": self._graph.digest,
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
        encoder._graph.must_be(config.get("digest"))
        return encoder
