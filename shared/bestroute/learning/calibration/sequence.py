"""What a policy does at every threshold of a sequence that is fixed beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bestroute.learning.bestofn import Floats
from bestroute.learning.evaluation.curves import ANY_WORD, Curve, sweep
from bestroute.learning.evaluation.methods import Bench
from bestroute.learning.outcomes import Outcomes
from bestroute.policy.base import Thresholded
from bestroute.policy.oneshot import OneShot
from bestroute.policy.threshold import ALWAYS_REFERENCE
from bestroute.routers.base import Router

THRESHOLDS: Floats = np.linspace(1, 0, 201).round(3).clip(ANY_WORD)
"""The sequence. Fixed: one that looked at the outcomes would void the promise."""

REPLAYED: Floats = np.array(
    [*(0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92), *np.linspace(0.9, 0, 37).round(3)]
)
"""That of a policy that is replayed: fewer, since each takes a replay of all samples."""

_ORDERS = 20
"""Orders of the samples of each query; queries vary more than orders do."""


def one_shot(match: Floats, estimated: Floats, outcomes: Outcomes) -> Curve:
    """The paper's rule at always-reference and at each of `THRESHOLDS`, by exact sums.

    Args:
        match: The router's match probabilities [Q, A].
        estimated: Estimated costs [Q, A] in $.
        outcomes: What the arms were worth on queries that neither the router nor the costs
            were learnt from.

    Raises:
        DataError: The shapes disagree, or a match probability is NaN.
    """
    return sweep(match, estimated, outcomes, [*THRESHOLDS, ALWAYS_REFERENCE])


def sequence(
    policy: Thresholded,
    router: Router,
    bench: Bench,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Curve:
    """A policy at always-reference and at each threshold of its sequence.

    One that looks at the samples is replayed in seeded random orders, at each of `REPLAYED`: the
    quality of a query is then a mean over orders, which lies in the same range and has the same
    expectation.

    Args:
        policy: Any of its family.
        router: What it reads first.
        bench: Queries that nothing was learnt from, and their recorded samples.
        progress: Told of the number of thresholds done and of all.

    Raises:
        ConfigError: The policy must be replayed, and there is no table or no pool to replay.
    """
    if isinstance(policy, OneShot) and not policy.looks:
        prediction = router.predict(bench.test.queries)
        estimated = bench.test.estimated_costs(bench.cost_model, prediction)
        return one_shot(prediction.match, estimated, bench.test)
    return bench.replays(
        policy.at,
        router,
        thresholds=[*REPLAYED[::-1].tolist(), ALWAYS_REFERENCE],
        permutations=_ORDERS,
        progress=progress,
    )
