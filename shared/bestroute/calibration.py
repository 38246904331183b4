"""What calibration found, as the engine uses it: thresholds by promised drop and by cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Promise(BaseModel):
    """A threshold that keeps a drop with a confidence.

    Attributes:
        max_drop: Largest relative quality drop against always-reference, in [0, 1].
        confidence: Probability, over calibration sets, that the drop is kept, in (0, 1).
        threshold: The cheapest threshold certified so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_drop: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0)


class Budget(BaseModel):
    """A threshold and what it cost on the calibration queries.

    Attributes:
        cost_per_1k: Mean realised $ for 1,000 queries.
        threshold: The threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost_per_1k: float = Field(ge=0)
    threshold: float = Field(ge=0)


class CalibrationTable(BaseModel):
    """Thresholds by promise and by cost.

    Attributes:
        n_queries: Calibration queries.
        promises: What could be certified.
        budgets: Cost of a range of thresholds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_queries: int = Field(ge=0)
    promises: tuple[Promise, ...] = ()
    budgets: tuple[Budget, ...] = ()
