"""Any encoder model of `transformers`, frozen: a hub id such as microsoft/deberta-v3-small."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute._extras import require
from bestroute.errors import ArtifactError, ConfigError
from bestroute.routers.encoder import Vectors, read, spread, unit

MOST_RUNS = 16
"""Of one text."""

_BATCH = 16


class TransformerEncoder:
    """Mean of a frozen encoder's last hidden states, scaled to length 1.

    A text is read through at most 16 windows of `2 * max_tokens` characters
    (`encoder.windows`); what these give is fed in runs of `max_tokens` tokens, at most 16 of
    them, evenly spaced. Every token read weighs the same, as in one mean over the text.

    Args:
        name_or_path: Hub id, or folder of a saved model. Weights must be safetensors.
        revision: Branch, tag or commit on the hub; a commit makes it reproducible.
        trust_remote_code: Whether code that comes with the model may run.
        device: A torch device; by default CUDA where there is one, else the CPU.
        max_tokens: Longest run of tokens fed at once, special tokens included; at most what
            the model takes.

    Raises:
        MissingExtraError: The extra `torch` is not installed.
        ConfigError: The model cannot be loaded, or has no fast tokenizer.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
        device: str | None = None,
        max_tokens: int = 512,
    ) -> None:
        self._torch = require("torch", feature="A transformer encoder", extra="torch")
        self.name = str(name_or_path)
        self.revision = revision
        self._tokenizer, model = _load(self.name, revision, trust_remote_code)
        limits = (max_tokens, self._tokenizer.model_max_length, _positions(model))
        self.max_tokens = min(limit for limit in limits if limit > 0)
        self.device = device or ("cuda" if self._torch.cuda.is_available() else "cpu")
        self._model: Any = model.float().eval().to(self.device)
        self._digest = _digest(model)
        self._lock = Lock()  # a fast tokenizer keeps its truncation as state

    @property
    def dimension(self) -> int:
        """Length of a vector: the model's hidden size."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [B, dimension]; an empty text gives that of its special tokens."""
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return sums
        runs, owners = self.runs(texts)
        order = sorted(range(len(runs)), key=lambda i: len(runs[i]["input_ids"]))
        for begin in range(0, len(order), _BATCH):
            some = order[begin : begin + _BATCH]
            np.add.at(sums, owners[some], self._sums([runs[i] for i in some]))
        return unit(sums)

    def runs(self, texts: Sequence[str]) -> tuple[list[dict[str, Any]], NDArray[np.intp]]:
        """What the model is fed: tokenised runs, and which text each belongs to [runs]."""
        parts, part_owners = read(texts, 2 * self.max_tokens, MOST_RUNS)
        with self._lock:
            tokens = self._tokenizer(
                parts,
                truncation=True,
                max_length=self.max_tokens,
                return_overflowing_tokens=True,
            )
        owners = part_owners[tokens.pop("overflow_to_sample_mapping")]
        kept = spread(owners, len(texts), MOST_RUNS)
        return [{key: tokens[key][i] for key in tokens} for i in kept], owners[kept]

    def pad(self, runs: Sequence[Mapping[str, Any]]) -> Any:
        """Runs as PyTorch tensors [runs, longest]."""
        with self._lock:
            return self._tokenizer.pad(list(runs), return_tensors="pt")

    def module(self) -> Any:
        """A copy of the PyTorch model, to be trained; the encoder itself stays frozen."""
        return copy.deepcopy(self._model)

    def save_pretrained(self, folder: str | Path, module: Any) -> None:
        """Save a trained copy of the model, with this tokenizer."""
        module.save_pretrained(folder)
        with self._lock:
            self._tokenizer.save_pretrained(folder)

    def save_tokenizer(self, path: str | Path) -> None:
        """Save the tokenizer in one file, as `tokenizers` reads it."""
        with self._lock:
            self._tokenizer.backend_tokenizer.save(str(path))

    def _sums(self, runs: list[dict[str, Any]]) -> Vectors:
        """Sum of the hidden states of each run [runs, dimension]."""
        batch = self.pad(runs).to(self.device)
        with self._torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state
            summed = (hidden * batch["attention_mask"].unsqueeze(-1)).sum(dim=1)
        return np.asarray(summed.cpu().numpy(), dtype=np.float32)

    def config(self) -> dict[str, Any]:
        """Kind, name, revision, longest run, dimension, and SHA-256 of the weights."""
        return {
            "kind": "transformer",
            "name": self.name,
            "revision": self.revision,
            "max_tokens": self.max_tokens,
            "dimension": self.dimension,
            "digest": self._digest,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TransformerEncoder:
        """Build it again; a model that needs code of its own is to be built by the caller.

        Raises:
            ArtifactError: The config is incomplete, or the weights found under that name are
                not those that the router was trained with.
        """
        if not isinstance(config.get("name"), str):
            raise ArtifactError("the saved transformer encoder has no name")
        encoder = cls(
            config["name"],
            revision=config.get("revision"),
            max_tokens=int(config.get("max_tokens", 512)),
        )
        if config.get("digest") != encoder._digest:
            raise ArtifactError(
                f"the weights of {encoder.name!r} (sha256 {encoder._digest[:12]}) are not those "
                f"of the saved router ({str(config.get('digest'))[:12]}): pin the revision it "
                "was trained with, or train it again"
            )
        return encoder


def _load(name: str, revision: str | None, trust_remote_code: bool) -> tuple[Any, Any]:
    """Tokenizer and model."""
    auto = require("transformers", feature="A transformer encoder", extra="torch")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if revision is not None:
        options["revision"] = revision
    try:
        tokenizer = auto.AutoTokenizer.from_pretrained(name, **options)
        model = auto.AutoModel.from_pretrained(name, use_safetensors=True, **options)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot load the encoder {name!r} (its weights must be safetensors): {error}"
        ) from error
    if not tokenizer.is_fast:
        raise ConfigError(f"the encoder {name!r} has no fast tokenizer")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model


def _positions(model: Any) -> int:
    """The longest input that the model has positions for; 0 if it does not say."""
    return int(getattr(model.config, "max_position_embeddings", 0) or 0)


def _digest(model: Any) -> str:
    """SHA-256 of the weights themselves: the same wherever they are stored."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
