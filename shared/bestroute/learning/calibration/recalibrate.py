"""Calibration of a saved router: from a scored samples table to what callers may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bestroute import artifact
from bestroute.calibration import CalibrationTable
from bestroute.engine import BestRoute
from bestroute.errors import RouterNotTrained
from bestroute.learning.calibration.calibrate import CONFIDENCES, DROPS, calibrate
from bestroute.learning.calibration.certificate import Certificate
from bestroute.learning.calibration.certify import certify
from bestroute.learning.calibration.sequence import sequence
from bestroute.learning.evaluation.methods import Bench
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.selection_rule import selection_of
from bestroute.target import Target, thresholded

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING = Target()


def recalibrate(
    directory: str | Path,
    samples: pa.Table,
    *,
    target: Target = _NOTHING,
    score_range: tuple[float, float] | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[CalibrationTable, Certificate | None]:
    """Calibrate a saved router on the calibration split, and write what was found into it.

    The thresholds are those of the saved policy; where it has none, of the paper's rule.

    Args:
        directory: The saved router.
        samples: Scored samples table; outcomes are charged at the saved router's prices.
        target: What the router is to do from now on. A drop that is not certified leaves its
            policy as it was; the table is written all the same.
        score_range: Lowest and highest oracle score; see `certify`.
        seed: Of the order of the queries.
        progress: Told of every step (step, done, total).

    Returns:
        The table, and the certificate of the target's drop, if one was asked for.

    Raises:
        ArtifactError: The directory holds no sound router.
        ConfigError: An option is out of range, or no threshold is as cheap as the target.
        DataError: The table has no calibration split, or lacks samples or scores.
    """
    engine = BestRoute.from_pretrained(directory)
    if engine.router is None:
        raise RouterNotTrained(f"{directory} holds no router to calibrate")
    selection = selection_of(engine.reward)
    held_out = Outcomes.from_samples(
        samples,
        engine.pool,
        progress=progress and (lambda done, total: progress("labels", done, total)),
        **selection,
    ).select("calibration")
    family = thresholded(engine.policy)
    bench = Bench(
        held_out,
        engine.cost_model,
        table=samples,
        pool=engine.pool,
        selection=selection,
        seed=seed,
    )
    curve = sequence(
        family,
        engine.router,
        bench,
        progress=progress and (lambda done, total: progress("replay", done, total)),
    )
    drops = (*DROPS, *(() if target.max_drop is None else (target.max_drop,)))
    table = calibrate(
        curve,
        policy=family.family,
        max_drops=drops,
        confidences=(*CONFIDENCES, target.confidence),
        score_range=score_range,
        seed=seed,
    )
    certificate = None
    if target.max_drop is not None:
        certificate = certify(
            curve,
            max_drop=target.max_drop,
            confidence=target.confidence,
            score_range=score_range,
            seed=seed,
        )
    policy = engine.policy
    if target.given and (certificate is None or certificate.threshold is not None):
        policy = target.policy(table, family)
    artifact.update(directory, calibration=table, policy=policy)
    return table, certificate
