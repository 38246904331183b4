"""What a caller asks of the router: a threshold, a promised drop, or a cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from bestroute.calibration import CalibrationTable, check_promise
from bestroute.errors import ConfigError, NotCertifiedError
from bestroute.policy.base import Policy, Thresholded

OnUncertified = Literal["raise", "reference"]

KNOBS = ("threshold", "max_drop", "target_cost")
"""At most one of these is given at a time."""


@dataclass(frozen=True)
class Target:
    """At most one of three, and how sure and how strict a promised drop is to be.

    Attributes:
        threshold: Smallest match probability that qualifies an arm; lower is cheaper.
        max_drop: Largest relative quality drop against always-reference that is promised.
        target_cost: $ for 1,000 queries, on average over queries like the calibration's.
        confidence: That of the promised drop.
        on_uncertified: Where the drop is not certified: raise, or always ask the reference.

    Raises:
        ConfigError: More than one of the three is given, or a value is out of range.
    """

    threshold: float | None = None
    max_drop: float | None = None
    target_cost: float | None = None
    confidence: float = 0.95
    on_uncertified: OnUncertified = "raise"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        given = [name for name in KNOBS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"give one of {', '.join(KNOBS)}, not {' and '.join(given)}")
        check_promise(self.max_drop or 0.0, self.confidence)
        if self.target_cost is not None and not self.target_cost >= 0:
            raise ConfigError(f"target_cost is {self.target_cost}; expected $ for 1,000 queries")
        if self.on_uncertified not in ("raise", "reference"):
            raise ConfigError(
                f'on_uncertified is {self.on_uncertified!r}; expected "raise" or "reference"'
            )

    @classmethod
    def of(cls, holder: object) -> Target:
        """Out of the attributes of these names; `None` is not given."""
        found = {name: getattr(holder, name) for name in ASKED}
        return cls(**{name: value for name, value in found.items() if value is not None})

    @property
    def given(self) -> bool:
        """Whether anything is asked for."""
        return any(getattr(self, name) is not None for name in KNOBS)

    def policy(self, table: CalibrationTable | None, base: Policy | None = None) -> Policy:
        """The policy that does what is asked for.

        Args:
            table: What calibration found; only a threshold can do without.
            base: What is set to another threshold; by default one-shot.

        Raises:
            ConfigError: The base has no threshold; there is no table, or that of another policy;
                nothing is asked for, or no threshold is so cheap.
            NotCertifiedError: The drop is not certified, and that is to raise.
        """
        from bestroute.policy.threshold import ALWAYS_REFERENCE  # late: it brings numpy

        if not (base is None or isinstance(base, Thresholded)):
            raise ConfigError(
                f"the policy {base.name!r} has no threshold: give a policy, or one of "
                f"{', '.join(KNOBS)}, not both"
            )
        family = thresholded(base)
        if self.threshold is not None:
            return family.at(self.threshold)
        found = _of_family(table, family)
        if self.target_cost is not None:
            cheap = found.for_cost(self.target_cost).threshold
            return family.at(cheap, calibrated=True, target_cost=self.target_cost)
        if self.max_drop is None:
            raise ConfigError(f"give one of {', '.join(KNOBS)}")
        try:
            row = found.for_drop(self.max_drop, confidence=self.confidence)
        except NotCertifiedError:
            if self.on_uncertified == "raise":
                raise
            return family.at(ALWAYS_REFERENCE, calibrated=True, max_drop=0.0)
        return family.at(
            row.threshold, calibrated=True, max_drop=row.max_drop, confidence=row.confidence
        )


def thresholded(policy: Policy | None) -> Thresholded:
    """The policy itself where it has a threshold, else the paper's at always-reference."""
    from bestroute.policy import OneShot
    from bestroute.policy.threshold import ALWAYS_REFERENCE

    return policy if isinstance(policy, Thresholded) else OneShot(ALWAYS_REFERENCE)


def _of_family(table: CalibrationTable | None, family: Thresholded) -> CalibrationTable:
    """The table, if it is one of this family's."""
    if table is None:
        raise ConfigError(
            "max_drop and target_cost need a calibration table, and this router has none: "
            "run `bestroute calibrate ROUTER SAMPLES`, or give a threshold"
        )
    if table.policy != family.family:
        raise ConfigError(
            f"the calibration table is for the policy {table.policy!r}, and {family.family!r} is "
            "asked: run `bestroute calibrate` on a router saved with this policy, or give a "
            "threshold"
        )
    return table


ASKED = tuple(field.name for field in fields(Target))
"""The options of a call that make a target."""


def override(defaults: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a call over defaults: any knob of the call replaces whichever is the default.

    So does a model that the call names: it is not routed.
    """
    turned = any(call.get(name) is not None for name in (*KNOBS, "model"))
    kept = {k: v for k, v in defaults.items() if not (turned and k in KNOBS)}
    return {**kept, **call}
