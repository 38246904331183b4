"""A router for some of the arms, in a pool that has more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import Arm
from bestroute.routers.base import Floats, Prediction, SavableRouter
from bestroute.routers.registry import load_router
from bestroute.routers.state import arms_of, check_config

KIND = "subset"


class SubsetRouter:
    """Puts a router's predictions among more arms; those it has no word on match with 0.

    Output lengths are passed on where the router predicts them for every model.

    Args:
        router: Predicts for some of the arms, the reference with n = 1 among them.
        arms: The columns of the predictions.
        reference: Name of the reference model.

    Raises:
        ConfigError: The router knows an arm that is not among these, or not the reference.
    """

    def __init__(self, router: SavableRouter, arms: Sequence[Arm], reference: str) -> None:
        unknown = [arm for arm in router.arms if arm not in arms]
        if unknown or Arm(reference, 1) not in router.arms:
            named = ", ".join(map(str, router.arms))
            raise ConfigError(f"the router's arms, {named}, must be some of all, and {reference}:1")
        self._arms = tuple(arms)
        self.router = router
        self.reference = reference

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, in the order of the columns."""
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities [B, arms], 0 where the router has no word."""
        inner = self.router.predict(queries)
        match = np.zeros((len(queries), len(self._arms)))
        match[:, [self._arms.index(arm) for arm in inner.arms]] = inner.match
        return Prediction(self._arms, match, self._output_tokens(inner))

    def _output_tokens(self, inner: Prediction) -> Floats | None:
        column = {arm.model: place for place, arm in enumerate(inner.arms)}
        if inner.output_tokens is None or any(arm.model not in column for arm in self._arms):
            return None
        return inner.output_tokens[:, [column[arm.model] for arm in self._arms]]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config, that of the router within, and the router's tensors."""
        inner, tensors = self.router.state()
        arms = [str(arm) for arm in self._arms]
        return {"kind": KIND, "arms": arms, "reference": self.reference, "router": inner}, tensors

    @classmethod
    def from_state(
        cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> SubsetRouter:
        """Build a router from its state.

        Raises:
            ArtifactError: Names what is missing or damaged.
            MissingExtraError: The packages of the router within are not installed.
        """
        check_config(config, KIND, arms=list, reference=str, router=Mapping)
        try:
            inner = load_router(config["router"], tensors)
            return cls(inner, arms_of(config), config["reference"])
        except ConfigError as error:
            raise ArtifactError(f"the saved router does not fit together: {error}") from error
