"""What every router offers: text in, match probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bestroute.pool import Arm

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """A router's word on B queries.

    Attributes:
        arms: The arms, in the order of the columns.
        match: Match probabilities [B, arms], each in [0, 1]: Pr[quality(best-of-n of the
            model) >= quality(reference)]. The reference with n = 1 is 1 by definition.
        output_tokens: Expected completion tokens of one sample [B, arms], where the router
            predicts them.
        quality: Expected quality [B, arms], where the router predicts it.
    """

    arms: tuple[Arm, ...]
    match: Floats
    output_tokens: Floats | None = None
    quality: Floats | None = None


@runtime_checkable
class Router(Protocol):
    """Reads queries, predicts a match probability for every arm."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms it has a word on."""
        ...

    def predict(self, queries: Sequence[str]) -> Prediction:
        """Match probabilities for a batch of queries [B]."""
        ...


@runtime_checkable
class SavableRouter(Router, Protocol):
    """A router that an artifact can hold; its class builds it again with `from_state`."""

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able config with the router's `kind`, and its tensors by name.

        A folder that the config names under `name` or `name_or_path` is copied into the artifact.
        """
        ...
