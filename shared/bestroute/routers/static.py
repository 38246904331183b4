"""The default encoder: static word embeddings, under a millisecond on a CPU, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from bestroute._extras import require
from bestroute.errors import ArtifactError, MissingExtraError
from bestroute.routers.encoder import Vectors, read, unit

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_FEATURE = "The static encoder"
_WINDOW, _CAP = 2048, 16
_BATCH = 256


class StaticEncoder:
    """Mean of WordLlama's 256-d token embeddings, scaled to length 1.

    The package's files are read as they are; the package itself is never imported. A text is
    read through at most 16 windows of about 2,048 characters (`encoder.windows`); every token
    read weighs the same. A text without tokens is the zero vector.

    Raises:
        MissingExtraError: The extra `static` is not installed.
        ArtifactError: The installed package lacks the files.
    """

    def __init__(self) -> None:
        tokenizers = require("tokenizers", feature=_FEATURE, extra="static")
        weights, tokenizer = (_file(name) for name in (_WEIGHTS, _TOKENIZER))
        self._digest = hashlib.sha256(weights + tokenizer).hexdigest()
        self._table = load(weights)["embedding.weight"].astype(np.float32)
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def dimension(self) -> int:
        """Length of a vector: 256."""
        return int(self._table.shape[1])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [B, 256]; zero for a text without tokens."""
        parts, owners = read(texts, _WINDOW, _CAP)
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for begin in range(0, len(parts), _BATCH):
            batch = self._tokenizer.encode_batch_fast(
                parts[begin : begin + _BATCH], add_special_tokens=False
            )
            for owner, encoding in zip(owners[begin:], batch, strict=False):
                sums[owner] += self._table[encoding.ids].sum(axis=0)
        return unit(sums)

    def config(self) -> dict[str, Any]:
        """Kind, dimension, and SHA-256 of weights and tokenizer."""
        return {"kind": "static", "dimension": self.dimension, "digest": self._digest}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StaticEncoder:
        """Build it again.

        Raises:
            ArtifactError: The installed weights are not those that the router was trained with.
        """
        encoder = cls()
        if config.get("digest") != encoder._digest:
            raise ArtifactError(
                f"the static embeddings installed (sha256 {encoder._digest[:12]}) are not those "
                f"of the saved router ({str(config.get('digest'))[:12]}): install the wordllama "
                "version it was trained with, or train it again"
            )
        return encoder


def _file(name: str) -> bytes:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(_FEATURE, "static")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: install wordllama>=0.4.0.post1,<0.5 again")
    return path.read_bytes()
