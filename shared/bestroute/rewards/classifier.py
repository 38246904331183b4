"""Sequence-classification reward models from HuggingFace."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.errors import ArtifactError, ConfigError, ScoreError
from bestroute.rewards.base import Scores
from bestroute.rewards.encoded import EncodedReward
from bestroute.rewards.tokens import PairTokenizer

_log = logging.getLogger(__name__)

_CPU_TOKENS, _GPU_TOKENS = 1024, 16_384
_NO_MEMORY = ("can't allocate memory", "not enough memory")  # what torch says on a CPU
_FEATURE = "A sequence-classification reward model"


class ClassifierReward(EncodedReward):
    """Any sequence-classification model with one logit, such as the paper's proxy.

    The paper's proxy reward model is OpenAssistant/reward-model-deberta-v3-large-v2
    (arXiv 2506.22716). How it reads a pair, and cuts one that is too long, says `PairTokenizer`.
    A model whose own code gives a `score` beside several logits, such as the paper's oracle
    RLHFlow/ArmoRM-Llama3-8B-v0.1, is read by that score, only if its code is trusted.

    Args:
        name_or_path: Hub id or directory; the weights must be safetensors.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Run code that comes with the model.
        device: For example `cuda:0`; by default a GPU if there is one.
        max_tokens: Longest pair that is read; never more than the tokenizer's own limit.
        batch_tokens: Tokens in one forward pass, padding included, halved when memory runs out;
            by default 1,024 on a CPU, where more would not gain anything, else 16,384. A longer
            pair goes alone.

    Raises:
        ConfigError: It is absent, has no safetensors, more than one logit, or no trained head.
        MissingExtraError: The extra `torch` is not installed.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
        device: str | None = None,
        max_tokens: int = 512,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None and batch_tokens < 1:
            raise ConfigError(f"batch_tokens must be at least 1, not {batch_tokens}")
        self._torch = require("torch", feature=_FEATURE, extra="torch")
        self._name = str(name_or_path)
        self._source = {"name_or_path": self._name, "revision": revision}
        self._asked_tokens = max_tokens
        self._device = device or ("cuda" if self._torch.cuda.is_available() else "cpu")
        self._batch_tokens = batch_tokens or (_CPU_TOKENS if self._device == "cpu" else _GPU_TOKENS)
        super().__init__(self._name, self._load(trust_remote_code))

    def _load(self, trust_remote_code: bool) -> PairTokenizer:
        transformers = require("transformers", feature=_FEATURE, extra="torch")
        name = self._name
        options = {"revision": self._source["revision"], "trust_remote_code": trust_remote_code}
        config = self._pretrained(transformers.AutoConfig, **options)
        has_code = "AutoModelForSequenceClassification" in (getattr(config, "auto_map", None) or {})
        if config.num_labels != 1 and not (has_code and trust_remote_code):
            hint = "; with trust_remote_code=True its own code makes the score" if has_code else ""
            raise ConfigError(
                f"{name} has {config.num_labels} logits; a reward model needs exactly one{hint}"
            )
        tokenizer = self._pretrained(transformers.AutoTokenizer, **options)
        self._tokenizer = tokenizer
        tokens = PairTokenizer(tokenizer, self._asked_tokens)
        self._model, report = self._pretrained(
            transformers.AutoModelForSequenceClassification,
            config=config,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise ConfigError(f"{name} has no weights for {missing}: its scores would be random")
        self._model.config.pad_token_id = tokenizer.pad_token_id
        self._model.to(self._device).eval()
        if self._device == "cpu":
            self._model.float()  # half precision is slow there, and coarse
        return tokens

    def _pretrained(self, kind: Any, **options: Any) -> Any:
        name = self._name
        try:
            return kind.from_pretrained(name, **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{name} cannot be loaded as a reward model from safetensors: {error}"
            ) from error

    def _logits(self, encoded: Sequence[Mapping[str, Any]]) -> Scores:
        """One logit a tokenised pair [n]; those of like length run together."""
        scores = np.full(len(encoded), np.nan)
        left = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]["input_ids"]))
        while left:
            batch = left[: max(1, self._batch_tokens // len(encoded[left[0]]["input_ids"]))]
            logits = self._forward([encoded[i] for i in batch])
            if logits is None:
                self._halve(len(batch), len(encoded[batch[0]]["input_ids"]))
                continue
            scores[batch] = logits
            left = left[len(batch) :]
        return scores

    def _forward(self, batch: Sequence[Mapping[str, Any]]) -> Any:
        """Logits of one batch [b]; `None` when memory ran out."""
        try:
            padded = self._tokens.pad(batch).to(self._device)
            with self._torch.inference_mode():
                return self._scores(self._model(**padded)).double().cpu().numpy()
        except (self._torch.cuda.OutOfMemoryError, MemoryError):
            return None
        except RuntimeError as error:
            if any(words in str(error) for words in _NO_MEMORY):
                return None
            raise

    def _scores(self, output: Any) -> Any:
        """The score that a model's own code gives, else its one logit [b]."""
        scores = getattr(output, "score", None)
        if scores is None:
            scores = output.logits
            if scores.shape[-1] != 1:
                raise ScoreError(
                    f"the code of {self._name} gives {scores.shape[-1]} logits and no score"
                )
        return scores.reshape(-1)

    def _halve(self, size: int, length: int) -> None:
        if size == 1:
            raise ScoreError("out of memory on one pair; lower max_tokens")
        self._batch_tokens = length * (size // 2)
        if str(self._device).startswith("cuda"):
            self._torch.cuda.empty_cache()
        _log.warning("out of memory: a batch has now at most %d tokens", self._batch_tokens)

    @property
    def name(self) -> str:
        """Hub id or directory."""
        return self._name

    @property
    def tokens(self) -> PairTokenizer:
        """How a pair is read."""
        return self._tokens

    def module(self) -> Any:
        """A copy of the PyTorch model."""
        return copy.deepcopy(self._model)

    def save_tokenizer(self, path: str | Path) -> None:
        """Save the tokenizer in one file, as `tokenizers` reads it."""
        with self._lock:
            self._tokenizer.backend_tokenizer.save(str(path))

    def config(self) -> dict[str, Any]:
        """How to build it again; never a leave to run code that comes with the model."""
        return {"kind": "classifier", **self._source, "max_tokens": self._asked_tokens}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ClassifierReward:
        """Build what `config` described.

        Raises:
            ArtifactError: The description is damaged.
        """
        name, revision = config.get("name_or_path"), config.get("revision")
        max_tokens = config.get("max_tokens", 512)
        if not isinstance(name, str) or not isinstance(revision, str | None):
            raise ArtifactError("the reward model's name or revision is damaged")
        if not isinstance(max_tokens, int):
            raise ArtifactError("the reward model's max_tokens is damaged")
        return cls(name, revision=revision, max_tokens=max_tokens)
