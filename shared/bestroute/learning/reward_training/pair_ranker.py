"""A sequence-classification model trained to rank pairs; importing this imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
    set_seed,
)

from bestroute.errors import ConfigError
from bestroute.learning.reward_training.pairs import Pair
from bestroute.learning.training.trainer import Training
from bestroute.rewards.tokens import PairTokenizer


class PairRanker(torch.nn.Module):
    """Scores the two responses of each pair; the first is the better one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, encoded: Mapping[str, torch.Tensor], labels: torch.Tensor) -> dict[str, Any]:
        """Loss and scores [B, 2] of encoded pairs [B, 2, tokens]; all labels [B] are 0.

        Cross-entropy of two scores is -log sigmoid(first - second).
        """
        flat = {name: value.flatten(0, 1) for name, value in encoded.items()}
        scores = self.model(**flat).logits.view(len(labels), 2)
        return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}


def train_pair_ranker(
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    base: str,
    output: Path,
    *,
    max_tokens: int,
    seed: int,
    progress: Callable[[str, int, int], None],
    **options: Any,
) -> tuple[float | None, float | None]:
    """Train and save; returns the held-out accuracy before and after.

    Raises:
        ConfigError: The checkpoint cannot be loaded, or an option is out of range.
    """
    set_seed(seed)  # a new head is random
    model, tokenizer = _load(base)
    tokens = PairTokenizer(tokenizer, max_tokens)
    model.config.pad_token_id = tokenizer.pad_token_id

    def collate(rows: Sequence[Pair]) -> dict[str, Any]:
        both = [(row.query, text) for row in rows for text in (row.better, row.worse)]
        padded = tokens.pad([tokens.encode(*each) for each in both])
        encoded = {name: value.unflatten(0, (len(rows), 2)) for name, value in padded.items()}
        return {"encoded": encoded, "labels": torch.zeros(len(rows), dtype=torch.long)}

    training = Training(
        PairRanker(model),
        collate,
        list(pairs),
        list(held_out),
        output,
        settings={"base": base, "max_tokens": max_tokens, "pairs": [asdict(p) for p in pairs]},
        seed=seed,
        metrics=_accuracy,
        progress=progress,
        **options,
    )
    before = training.measure()
    training.run()
    after = training.measure()

    def save() -> None:
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)

    training.close(save)
    return before.get("eval_accuracy"), after.get("eval_accuracy")


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    scores = np.asarray(prediction.predictions)
    return {"accuracy": float(np.mean(0.5 * (1 + np.sign(scores[:, 0] - scores[:, 1]))))}


def _load(base: str) -> tuple[Any, Any]:
    """Model with one logit, in full precision, and tokenizer."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, use_safetensors=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{base} cannot be loaded as a reward model from safetensors: {error}"
        ) from error
    return model.float(), tokenizer
