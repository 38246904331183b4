"""A router whose match probabilities are corrected, arm by arm, by a rising curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction, SavableRouter
from bestroute.routers.order import rising_in_n

KIND = "calibrated"

_INNER = "router."


class CalibratedRouter:
    """Corrects what another router predicts, for example by isotonic regression.

    Args:
        router: The other router.
        curves: Corrected match probability [K, arms] at K evenly spaced predicted ones from 0
            to 1, linear in between; each column rises.

    Raises:
        ConfigError: The curves do not fit the arms, leave [0, 1] or fall.
    """

    def __init__(self, router: SavableRouter, curves: Floats) -> None:
        shape_fits = curves.ndim == 2 and curves.shape[1] == len(router.arms) and len(curves) > 1
        if not shape_fits or not ((curves >= 0) & (curves <= 1)).all():
            raise ConfigError(f"curves must be probabilities [K, {len(router.arms)}], K >= 2")
        if (np.diff(curves, axis=0) < 0).any():
            raise ConfigError("a curve falls: calibrated probabilities must keep their order")
        self.router = router
        self.curves = curves

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The other router's arms."""
        return self.router.arms

    @property
    def reference(self) -> str | None:
        """The reference that the other router was made against."""
        return getattr(self.router, "reference", None)

    def predict(self, queries: Sequence[str]) -> Prediction:
        """The other router's predictions, `match` corrected."""
        prediction = self.router.predict(queries)
        match = self._corrected(prediction.match)
        if getattr(self.router, "monotone", False):  # which curves of their own would undo
            headed = [i for i, arm in enumerate(self.arms) if arm != Arm(str(self.reference), 1)]
            match[:, headed] = rising_in_n(match[:, headed], [self.arms[i] for i in headed])
        return replace(prediction, match=match)

    def _corrected(self, match: Floats) -> Floats:
        """Each column on its own curve; NaN stays NaN."""
        last = len(self.curves) - 1
        places = np.maximum(np.minimum(match, 1.0), 0.0) * last
        below = np.minimum(np.nan_to_num(places).astype(np.intp), last - 1)
        columns = np.arange(match.shape[1])
        low, high = self.curves[below, columns], self.curves[below + 1, columns]
        share = places - below
        corrected = np.minimum(low + share * (high - low), high)
        return np.asarray(np.where(share == 1, high, corrected))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config, and the tensors: what `from_state` reads."""
        config, tensors = self.router.state()
        inner = {f"{_INNER}{name}": tensor for name, tensor in tensors.items()}
        return {"kind": KIND, "router": config}, {"curves": self.curves, **inner}

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> CalibratedRouter:
        """Build a router from its state.

        Raises:
            ArtifactError: Something is missing or damaged.
        """
        from bestroute.routers.registry import load_router  # which names this module

        inner = config.get("router")
        if not isinstance(inner, Mapping) or "curves" not in tensors:
            raise ArtifactError("the saved calibrated router lacks its router or its curves")
        own = {
            name.removeprefix(_INNER): tensor
            for name, tensor in tensors.items()
            if name.startswith(_INNER)
        }
        try:
            return cls(load_router(inner, own), np.asarray(tensors["curves"]))
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error
