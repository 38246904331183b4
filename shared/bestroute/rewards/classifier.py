"""Sequence-classification reward models from HuggingFace."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.errors import ArtifactError, ConfigError, ScoreError
from bestroute.rewards.base import RewardModel, Scores, checked
from bestroute.rewards.tokens import PairTokenizer

_log = logging.getLogger(__name__)

_FEATURE = "A sequence-classification reward model"


class ClassifierReward(RewardModel):
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
        batch_size: Pairs in one forward pass, halved when memory runs out.

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
        batch_size: int = 16,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {batch_size}")
        self._torch = require("torch", feature=_FEATURE, extra="torch")
        self._source = {"name_or_path": str(name_or_path), "revision": revision}
        self._batch_size = batch_size
        self._asked_tokens = max_tokens
        self._lock = threading.Lock()  # fast tokenizers cannot be shared between threads
        self._device = device or ("cuda" if self._torch.cuda.is_available() else "cpu")
        self._load(trust_remote_code)

    def _load(self, trust_remote_code: bool) -> None:
        transformers = require("transformers", feature=_FEATURE, extra="torch")
        name = self._source["name_or_path"]
        options = {"revision": self._source["revision"], "trust_remote_code": trust_remote_code}
        config = self._pretrained(transformers.AutoConfig, **options)
        has_code = "AutoModelForSequenceClassification" in (getattr(config, "auto_map", None) or {})
        if config.num_labels != 1 and not (has_code and trust_remote_code):
            hint = "; with trust_remote_code=True its own code makes the score" if has_code else ""
            raise ConfigError(
                f"{name} has {config.num_labels} logits; a reward model needs exactly one{hint}"
            )
        tokenizer = self._pretrained(transformers.AutoTokenizer, **options)
        self._tokens = PairTokenizer(tokenizer, self._asked_tokens)
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

    def _pretrained(self, kind: Any, **options: Any) -> Any:
        name = self._source["name_or_path"]
        try:
            return kind.from_pretrained(name, **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{name} cannot be loaded as a reward model from safetensors: {error}"
            ) from error

    def score(self, query: str, responses: Sequence[str]) -> Scores:
        """One logit a response [n]; comparable within the query only.

        Raises:
            ScoreError: The model gave NaN, or one pair alone needs too much memory.
        """
        return self.score_many([(query, response) for response in responses])

    def score_many(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """One logit a (query, response) pair [n], pairs of like length batched together.

        Raises:
            ScoreError: The model gave NaN, or one pair alone needs too much memory.
        """
        with self._lock:
            encoded = [self._tokens.encode(*pair) for pair in pairs]
            by_length = sorted(range(len(pairs)), key=lambda i: -len(encoded[i]["input_ids"]))
            scores = np.full(len(pairs), np.nan)
            start = 0
            while start < len(pairs):
                batch = by_length[start : start + self._batch_size]
                logits = self._forward([encoded[i] for i in batch])
                if logits is None:
                    self._halve(len(batch))
                    continue
                scores[batch] = logits
                start += len(batch)
        return checked(scores, len(pairs), self._source["name_or_path"] or "")

    def _forward(self, batch: Sequence[Mapping[str, Any]]) -> Any:
        """Logits of one batch [b]; `None` when memory ran out."""
        padded = self._tokens.pad(batch).to(self._device)
        try:
            with self._torch.inference_mode():
                return self._scores(self._model(**padded)).double().cpu().numpy()
        except self._torch.cuda.OutOfMemoryError:
            return None

    def _scores(self, output: Any) -> Any:
        """The score that a model's own code gives, else its one logit [b]."""
        scores = getattr(output, "score", None)
        if scores is None:
            scores = output.logits
            if scores.shape[-1] != 1:
                name = self._source["name_or_path"]
                raise ScoreError(f"the code of {name} gives {scores.shape[-1]} logits and no score")
        return scores.reshape(-1)

    def _halve(self, size: int) -> None:
        if size == 1:
            raise ScoreError("out of memory on one pair; lower max_tokens")
        self._batch_size = size // 2
        if str(self._device).startswith("cuda"):
            self._torch.cuda.empty_cache()
        _log.warning("out of memory: the batch size is now %d", self._batch_size)

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
