"""Several routers as one: the mean of what they predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction, SavableRouter

KIND = "ensemble"


class EnsembleRouter:
    """The mean of several routers' predictions, such as a multi-head router and kNN.

    Output lengths and quality are the mean of those that predict them.

    Args:
        routers: At least one, all with the same arms in the same order.

    Raises:
        ConfigError: There is none, or their arms differ.
    """

    def __init__(self, routers: Sequence[SavableRouter]) -> None:
        if not routers or any(router.arms != routers[0].arms for router in routers):
            raise ConfigError("an ensemble needs routers that have the same arms")
        self.routers = tuple(routers)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of every one of them."""
        return self.routers[0].arms

    @property
    def reference(self) -> str | None:
        """The reference that the first was made against."""
        return getattr(self.routers[0], "reference", None)

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Means over the routers [B, arms]."""
        found = [router.predict(queries) for router in self.routers]
        match = np.mean([each.match for each in found], axis=0)
        return Prediction(
            self.arms,
            match,
            _mean([each.output_tokens for each in found]),
            _mean([each.quality for each in found]),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config, and the tensors: what `from_state` reads."""
        parts = [router.state() for router in self.routers]
        tensors = {
            f"{index}.{name}": tensor
            for index, (_, own) in enumerate(parts)
            for name, tensor in own.items()
        }
        return {"kind": KIND, "routers": [config for config, _ in parts]}, tensors

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> EnsembleRouter:
        """Build a router from its state.

        Raises:
            ArtifactError: Something is missing or damaged.
        """
        from bestroute.routers.registry import load_router  # which names this module

        inner = config.get("routers")
        if not isinstance(inner, list) or not all(isinstance(each, Mapping) for each in inner):
            raise ArtifactError("the saved ensemble lacks its routers")
        try:
            return cls(
                [load_router(each, _own(tensors, index)) for index, each in enumerate(inner)]
            )
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error


def _own(tensors: Mapping[str, NDArray[Any]], index: int) -> dict[str, NDArray[Any]]:
    prefix = f"{index}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _mean(grids: Sequence[Floats | None]) -> Floats | None:
    known = [grid for grid in grids if grid is not None]
    return np.asarray(np.mean(known, axis=0)) if known else None
