"""The multi-head router as one PyTorch module; importing this imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bestroute.routers.base import Floats
from bestroute.routers.features import surface_features
from bestroute.routers.heads import FARTHEST, Heads
from bestroute.routers.transformer import TransformerEncoder

Row = tuple[str, NDArray[np.float64]]
"""A query, and the labels of its heads [H]."""


class RouterModule(torch.nn.Module):
    """Encoder and match heads, computing exactly what `MultiHeadRouter.predict` does.

    Args:
        encoder: The PyTorch model.
        heads: Where the heads start; centre and scale stay as they are.
        l2: The penalty that the heads were trained with; part of the loss in training only.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, encoder: Any, heads: Heads, l2: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.weight = torch.nn.Parameter(torch.tensor(heads.weight, dtype=torch.float32))
        self.bias = torch.nn.Parameter(torch.tensor(heads.bias, dtype=torch.float32))
        self.register_buffer("centre", torch.tensor(heads.centre, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(heads.scale, dtype=torch.float32))
        self._l2 = l2

    def forward(
        self, encoded: Mapping[str, torch.Tensor], features: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Soft-label cross-entropy, and logits [B, H].

        Args:
            encoded: Token ids and attention mask [B, runs, tokens]; a text of fewer runs than
                others has runs that mask everything.
            features: Surface features [B, F].
            labels: Match probabilities [B, H].
        """
        inputs = torch.cat([self._embed(encoded), features], dim=1)
        inputs = ((inputs - self.centre) / self.scale).clamp(-FARTHEST, FARTHEST)
        logits = inputs @ self.weight + self.bias
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        if self.training:
            loss = loss + self._l2 / 2 * self.weight.square().sum() / labels.shape[1]
        return {"loss": loss, "logits": logits}

    def _embed(self, encoded: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean of the last hidden states over all runs, scaled to length 1 [B, dimension]."""
        texts, runs, _ = encoded["input_ids"].shape
        flat = {name: value.flatten(0, 1) for name, value in encoded.items()}
        mask = flat["attention_mask"]
        real = mask.any(dim=1)  # a model may make NaN of a run that masks everything
        hidden = self.encoder(**{name: value[real] for name, value in flat.items()})
        summed = (hidden.last_hidden_state * mask[real].unsqueeze(-1)).sum(dim=1)
        sums = summed.new_zeros(texts * runs, summed.shape[1]).index_put((real,), summed)
        return torch.nn.functional.normalize(sums.unflatten(0, (texts, runs)).sum(dim=1))


def collator(encoder: TransformerEncoder) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """Rows -> what `RouterModule` takes."""

    def collate(rows: Sequence[Row]) -> dict[str, Any]:
        queries = [query for query, _ in rows]
        runs, owners = encoder.runs(queries)
        places = [int((owners[:i] == owner).sum()) for i, owner in enumerate(owners)]
        where = torch.tensor(owners), torch.tensor(places)
        shape = len(rows), max(places) + 1
        return {
            "encoded": {
                name: value.new_zeros(*shape, value.shape[1]).index_put(where, value)
                for name, value in encoder.pad(runs).items()
            },
            "features": _floats(surface_features(queries)),
            "labels": _floats(np.stack([labels for _, labels in rows])),
        }

    return collate


def _floats(values: Floats) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)
