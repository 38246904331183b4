"""The paper's decision rule (arXiv 2506.22716, section 3), for one query or for many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALWAYS_REFERENCE = 1.01
"""A threshold that no match probability reaches."""


def choose(
    match: Floats, cost: Floats, reference_index: int | None, threshold: float
) -> NDArray[np.intp]:
    """The cheapest arm whose match probability reaches the threshold.

    The reference with n = 1 always qualifies, so an arm dearer than it is never chosen. Ties in
    cost go to the higher match probability, then to the reference, then to the earlier arm.
    Arms whose cost is NaN never win.

    Args:
        match: Match probabilities [Q, arms].
        cost: Estimated costs [Q, arms] in $.
        reference_index: Column of the reference with n = 1; `None` when it cannot serve the
            request: then the arm of the highest match probability qualifies instead.
        threshold: Smallest match probability that qualifies.

    Returns:
        Column of the chosen arm [Q].
    """
    priority = np.array(match, dtype=np.float64)
    qualifies = priority >= threshold
    if reference_index is not None:
        qualifies[:, reference_index] = True
        priority[:, reference_index] = 1.0 + 1e-9
    else:
        qualifies |= priority == priority.max(axis=1, keepdims=True)
    price = np.where(qualifies & ~np.isnan(cost), cost, np.inf)
    cheapest = price == price.min(axis=1, keepdims=True)
    winner: NDArray[np.intp] = np.where(cheapest & qualifies, priority, -np.inf).argmax(axis=1)
    return winner
