"""Fine-tuned encoder against frozen ones, on the shipped samples.

python -m tests.benchmarks.finetune --encoder PATH [--json out.json]

PATH is a folder with all-MiniLM-L6-v2 (or any other encoder). The learning rate is chosen by
cross-validation on the train split; the test split is looked at once, for the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

import bestroute
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.samples import read_samples
from bestroute.learning.training.finetune import fine_tune
from bestroute.learning.training.folds import held_out_folds
from bestroute.learning.training.logistic import log_loss
from bestroute.learning.training.train import train_router
from bestroute.pool import ModelPool
from bestroute.rewards import extract_answer
from bestroute.routers import Encoder, MultiHeadRouter, StaticEncoder, TransformerEncoder

DATA = Path(bestroute.__file__).parent / "data"
RATES = (1e-5, 3e-5, 1e-4, 3e-4)
FOLDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    outcomes = Outcomes.from_samples(
        read_samples(DATA / "demo_samples.parquet"),
        ModelPool.from_yaml(DATA / "demo_pool.yaml"),
        agreement=extract_answer,
    )
    train, test = outcomes.select("train"), outcomes.select("test")
    encoder = TransformerEncoder(options.encoder)
    rates = {rate: unseen_loss(train, encoder, rate) for rate in RATES}
    chosen = min(rates, key=rates.__getitem__)
    routers = {"frozen static": frozen(train, StaticEncoder()), "frozen": frozen(train, encoder)}
    for rate in sorted({RATES[0], chosen}):
        routers[f"fine-tuned, {rate:g}"] = tuned(train, routers["frozen"], rate)
    losses = {name: losses_of(router, test) for name, router in routers.items()}
    rows = [
        {
            "router": name,
            "log_loss": float(losses[name].mean()),
            "difference": float((losses[name] - losses["frozen"]).mean()),
            "standard_error": float(
                (losses[name] - losses["frozen"]).std() / np.sqrt(len(losses[name]))
            ),
            "auc": auc(router, test),
        }
        for name, router in routers.items()
    ]
    report(rows, rates, chosen, len(train), len(test))
    if options.json:
        options.json.write_text(json.dumps({"rates": rates, "rows": rows}, indent=2) + "\n")


def frozen(train: Outcomes, encoder: Encoder) -> MultiHeadRouter:
    return train_router(
        train.queries, train.match, train.arms, train.reference.model, encoder=encoder
    )


def tuned(train: Outcomes, start: MultiHeadRouter, rate: float) -> MultiHeadRouter:
    with tempfile.TemporaryDirectory() as folder:
        return fine_tune(start, train.queries, train.match, output=folder, learning_rate=rate)


def unseen_loss(train: Outcomes, encoder: Encoder, rate: float) -> float:
    """Mean log loss on the held-out folds of the train split."""
    losses = []
    for held_out in held_out_folds(len(train), count=FOLDS, seed=1):
        part = train.take(np.flatnonzero(~held_out))
        router = tuned(part, frozen(part, encoder), rate)
        losses.append(losses_of(router, train.take(np.flatnonzero(held_out))))
    return float(np.concatenate(losses).mean())


def losses_of(router: MultiHeadRouter, outcomes: Outcomes) -> np.ndarray:
    """Log loss of each query, the mean over the arms but the reference [Q]."""
    columns = [i for i in range(len(outcomes.arms)) if i != outcomes.reference_index]
    predicted = router.predict(outcomes.queries).match[:, columns]
    return log_loss(predicted, outcomes.match[:, columns]).mean(axis=1)


def auc(router: MultiHeadRouter, outcomes: Outcomes) -> float:
    """Mean over the arms: a query counts as a match with its label as weight."""
    predicted, areas = router.predict(outcomes.queries).match, []
    classes = np.repeat([1, 0], len(outcomes))
    for column in range(len(outcomes.arms)):
        if column != outcomes.reference_index:
            label = outcomes.match[:, column]
            weights = np.concatenate([label, 1 - label])
            areas.append(
                roc_auc_score(classes, np.tile(predicted[:, column], 2), sample_weight=weights)
            )
    return float(np.mean(areas))


def report(rows: list[dict], rates: dict, chosen: float, train: int, test: int) -> None:
    console = Console(width=100)
    losses = ", ".join(f"{rate:g}: {loss:.4f}" for rate, loss in rates.items())
    console.print(f"Cross-validated log loss on train ({train} queries) by learning rate: {losses}")
    console.print(f"Chosen: {chosen:g} (the paper's: 1e-05)")
    table = Table(title=f"Test split, {test} queries", title_justify="left")
    for name in ("router", "log loss", "against frozen (standard error)", "AUC"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        difference = f"{row['difference']:+.4f} ({row['standard_error']:.4f})"
        table.add_row(row["router"], f"{row['log_loss']:.4f}", difference, f"{row['auc']:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
