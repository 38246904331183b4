"""Fine-tuning of the router's encoder together with its heads, as in the paper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bestroute._extras import require
from bestroute.errors import ConfigError, DataError
from bestroute.learning.progress import Progress, silent
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.train import train_router
from bestroute.routers.base import Floats
from bestroute.routers.multihead import MultiHeadRouter, columns
from bestroute.routers.transformer import TransformerEncoder

_FEATURE = "Fine-tuning an encoder"


def fine_tune(
    router: MultiHeadRouter,
    queries: Sequence[str],
    labels: Floats,
    *,
    output: str | Path,
    epochs: int = 5,
    learning_rate: float = 1e-5,
    batch_size: int = 32,
    accumulation_steps: int = 1,
    groups: Sequence[object] | None = None,
    output_tokens: Floats | None = None,
    quality: Floats | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> MultiHeadRouter:
    """Train encoder and match heads together, soft-label cross-entropy (arXiv 2506.22716).

    A fifth of the queries is held out: of the epochs, and of the start, the one with the least
    loss on it is kept, so that an encoder which fine-tuning does not improve stays as it is.
    Then `train_router` fits all heads again, on all queries and the encoder as it has become:
    the match heads with the router's own l2, output lengths and quality where they are given.
    The heads that the encoder was trained with do worse: they stop where the encoder does, and
    have not seen the held-out fifth.

    A run that was cut short goes on from its last epoch when it is started again with the same
    arguments; `torchrun` and `accelerate launch` spread it over several GPUs.

    Args:
        router: A trained router on a `TransformerEncoder`, which stays as it is.
        queries: The queries that it was trained on [B].
        labels: Match probabilities [B, arms].
        output: Folder of the encoder; an artifact copies it.
        epochs: Passes over the queries, at most.
        learning_rate: At the start; it falls linearly to 0.
        batch_size: Queries in one forward pass on one device.
        accumulation_steps: Forward passes per step of the optimiser (the reference
            implementation takes 16 of 32 queries).
        groups: What each query must not be separated from [B].
        output_tokens: As in `train_router` [B, arms]; without them the router predicts none.
        quality: As in `train_router` [B, arms]; without it the router predicts none.
        seed: Equal seeds give equal routers on equal hardware.
        progress: Called with (what is being done, steps done, steps in all).

    Raises:
        ConfigError: The encoder is not a `TransformerEncoder`, or an option is out of range.
        DataError: Labels or groups do not fit the queries.
        MissingExtraError: The extra `torch` is not installed.
    """
    encoder = router.encoder
    if not isinstance(encoder, TransformerEncoder):
        raise ConfigError(f"{type(encoder).__name__} cannot be fine-tuned: use TransformerEncoder")
    if labels.shape != (len(queries), len(router.arms)):
        raise DataError(
            f"labels have the shape {labels.shape}; {len(queries)} queries, {len(router.arms)} arms"
        )
    require("accelerate", feature=_FEATURE, extra="torch")
    from bestroute.learning.training.router_module import RouterModule, collator
    from bestroute.learning.training.trainer import Training

    held_out = held_out_folds(len(queries), groups, seed)[0]
    kept = np.flatnonzero(~held_out).tolist()
    l2 = router.training.get("l2")
    # Heads that have seen the held-out queries would make the start look better than it is.
    start = train_router(
        [queries[i] for i in kept],
        labels[kept],
        router.arms,
        router.reference,
        encoder=encoder,
        l2=l2,
        groups=None if groups is None else [groups[i] for i in kept],
        seed=seed,
    )
    headed, _ = columns(router.arms, router.reference)
    rows = list(zip(queries, labels[:, headed], strict=True))
    module = RouterModule(encoder.module(), start.heads, start.training["l2"])
    training = Training(
        module,
        collator(encoder),
        [rows[i] for i in kept],
        [rows[i] for i in np.flatnonzero(held_out).tolist()],
        Path(output),
        settings={"encoder": encoder.config(), "l2": l2, "data": _digest(queries, labels)},
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        seed=seed,
        keep_best=True,
        progress=progress or silent,
    )
    training.run()
    training.close(lambda: encoder.save_pretrained(output, module.encoder))
    tuned = TransformerEncoder(output, device=encoder.device, max_tokens=encoder.max_tokens)
    return train_router(
        queries,
        labels,
        router.arms,
        router.reference,
        encoder=tuned,
        l2=start.training["l2"],
        output_tokens=output_tokens,
        quality=quality,
        monotone=router.monotone,
        seed=seed,
    )


def _digest(queries: Sequence[str], labels: Floats) -> str:
    text = json.dumps([list(queries), labels.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()
