"""The kinds of routers that a saved artifact may name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from numpy.typing import NDArray

from bestroute.errors import ArtifactError
from bestroute.routers.base import SavableRouter

_KINDS = {
    "calibrated": ("bestroute.routers.calibrated", "CalibratedRouter"),
    "clusters": ("bestroute.routers.clusters", "ClusterRouter"),
    "knn": ("bestroute.routers.knn", "KNNRouter"),
    "ensemble": ("bestroute.routers.ensemble", "EnsembleRouter"),
    "multi_head": ("bestroute.routers.multihead", "MultiHeadRouter"),
    "subset": ("bestroute.routers.subset", "SubsetRouter"),
}


def load_router(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> SavableRouter:
    """Build the router that `SavableRouter.state` described.

    Only the kinds known here are built: a saved router cannot name code to import.

    Raises:
        ArtifactError: The kind is unknown, or the state is damaged.
        MissingExtraError: The router's packages are not installed.
    """
    kind = config.get("kind")
    if kind not in _KINDS:
        raise ArtifactError(
            f"a saved router of unknown kind {kind!r} (known: {', '.join(_KINDS)}); "
            "install the bestroute that wrote it"
        )
    module, name = _KINDS[kind]
    router = getattr(importlib.import_module(module), name)
    return cast(SavableRouter, router.from_state(config, tensors))
