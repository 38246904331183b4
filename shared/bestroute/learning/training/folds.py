"""Cross-validation that never divides a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import DataError


def held_out_folds(
    rows: int, groups: Sequence[object] | None = None, seed: int = 0, *, count: int = 5
) -> list[NDArray[np.bool_]]:
    """Which rows are held out [rows], fold by fold.

    Args:
        rows: How many there are.
        groups: What each row must not be separated from.
        seed: Of the division.
        count: Folds, at most; there are never more than groups.

    Raises:
        DataError: There are not as many groups as rows, or fewer than two different ones.
    """
    if groups is not None and len(groups) != rows:
        raise DataError(f"{len(groups)} groups for {rows} queries")
    key = list(range(rows) if groups is None else groups)
    order = {name: i for i, name in enumerate(dict.fromkeys(key))}
    if len(order) < 2:
        raise DataError("cross-validation needs at least two groups; or give l2")
    fold = np.random.default_rng(seed).permutation(len(order)) % count
    member = fold[[order[name] for name in key]]
    return [held_out for k in range(count) if (held_out := member == k).any()]
