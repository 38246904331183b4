"""What calibration found, as the engine uses it: thresholds by promised drop and by cost."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context

from pydantic import BaseModel, ConfigDict, Field

from bestroute.errors import ConfigError, NotCertifiedError

_ROUNDING = 1e-9
"""0.3 as text and 0.1 + 0.2 are the same drop, and the same cost."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promise(_Row):
    """A threshold that keeps a drop with a confidence; each row is valid on its own.

    Attributes:
        max_drop: Largest relative quality drop against always-reference, in [0, 1].
        confidence: Probability, over calibration sets, that the drop is kept, in (0, 1).
        threshold: The lowest threshold certified so.
        cost_per_1k: Mean realised $ for 1,000 calibration queries at that threshold.
    """

    max_drop: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0)
    cost_per_1k: float = Field(ge=0)


class Limit(_Row):
    """What these calibration queries can certify at all.

    Attributes:
        confidence: In (0, 1).
        max_drop: Smallest drop at which a threshold that saves something passes; `None` if
            there is no such threshold.
    """

    confidence: float = Field(gt=0, lt=1)
    max_drop: float | None = Field(ge=0, le=1)


class CostRow(_Row):
    """A threshold and what it cost on the calibration queries.

    Attributes:
        cost_per_1k: Mean realised $ for 1,000 queries.
        threshold: The threshold.
    """

    cost_per_1k: float = Field(ge=0)
    threshold: float = Field(ge=0)


class CalibrationTable(_Row):
    """Thresholds by promise and by cost.

    Attributes:
        n_queries: Calibration queries.
        policy: The family of policies whose thresholds they are.
        score_range: Lowest and highest quality; scores beyond were clipped to it.
        promises: What could be certified.
        limits: Smallest certifiable drop, by confidence.
        budgets: Cost of a range of thresholds, up to always-reference.
    """

    n_queries: int = Field(ge=0)
    policy: str = "one-shot"
    score_range: tuple[float, float] = (0.0, 1.0)
    promises: tuple[Promise, ...] = ()
    limits: tuple[Limit, ...] = ()
    budgets: tuple[CostRow, ...] = ()

    def for_drop(self, max_drop: float, *, confidence: float = 0.95) -> Promise:
        """The row of the largest drop that is no larger than asked, at least that confident.

        Raises:
            NotCertifiedError: No row promises so much.
        """
        rows = [
            row
            for row in self.promises
            if row.max_drop <= max_drop + _ROUNDING and row.confidence >= confidence - _ROUNDING
        ]
        if not rows:
            raise NotCertifiedError(self._refusal(max_drop, confidence))
        return max(rows, key=lambda row: (row.max_drop, -row.confidence))

    def for_cost(self, target_cost: float) -> CostRow:
        """The row of the largest cost that is no larger than asked, in $ for 1,000 queries.

        Raises:
            ConfigError: Every threshold costs more.
        """
        rows = [row for row in self.budgets if row.cost_per_1k <= target_cost * (1 + _ROUNDING)]
        if rows:
            return max(rows, key=lambda row: (row.cost_per_1k, row.threshold))
        cheapest = min((row.cost_per_1k for row in self.budgets), default=None)
        known = "no cost is recorded"
        if cheapest is not None:
            known = f"the cheapest threshold costs ${_plain(cheapest)}"
        raise ConfigError(f"target_cost is ${_plain(target_cost)} for 1,000 queries; {known}")

    def _refusal(self, max_drop: float, confidence: float) -> str:
        text = (
            f"a drop of at most {max_drop:.2%} at confidence {confidence:g} is not certified by "
            f"the {self.n_queries} calibration queries"
        )
        rows = [row.max_drop for row in self.promises if row.confidence >= confidence - _ROUNDING]
        if rows:
            text += f"; the smallest drop in the table is {min(rows):.2%}"
        found = next((r.max_drop for r in self.limits if r.confidence == confidence), None)
        if found is not None:
            text += f"; the smallest certifiable drop is {found:.2%}"
        return (
            f"{text}. Run `bestroute calibrate` for this drop and confidence, or with more "
            'queries, or take on_uncertified="reference"'
        )


def check_promise(max_drop: float, confidence: float) -> None:
    """Whether the two can be promised at all.

    Raises:
        ConfigError: One is out of range.
    """
    if not 0 <= max_drop <= 1:
        raise ConfigError(f"max_drop is {max_drop}; expected a share in [0, 1], such as 0.02")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is {confidence}; expected a number in (0, 1), such as 0.95")


def _plain(amount: float) -> str:
    """$ without an exponent; rounded up, so that asking for so much is enough."""
    rounded = Context(prec=6, rounding=ROUND_CEILING).create_decimal(repr(float(amount)))
    return f"{rounded.normalize():f}"
