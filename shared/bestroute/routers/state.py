"""What is checked of a saved router before it is built again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import ArtifactError
from bestroute.pool import Arm
from bestroute.routers.base import Floats


def check_config(config: Mapping[str, Any], kind: str, **fields: type) -> None:
    """Make sure that a config is of this kind and has these fields.

    Raises:
        ArtifactError: Names the field that is missing or of another type.
    """
    if config.get("kind") != kind:
        raise ArtifactError(f"a saved router of kind {config.get('kind')!r}, not {kind!r}")
    for name, wanted in fields.items():
        if not isinstance(config.get(name), wanted):
            raise ArtifactError(f"the saved router's config has no {name!r}, or a damaged one")


def arms_of(config: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The arms that a config names.

    Raises:
        ConfigError: One of them is not an arm.
    """
    return tuple(Arm.parse(str(text)) for text in config["arms"])


def tensor(tensors: Mapping[str, NDArray[Any]], name: str, *shape: int | None) -> Floats:
    """A finite tensor of this shape, as float64; `None` stands for any length.

    Raises:
        ArtifactError: It is missing, of another shape, or holds NaN.
    """
    if name not in tensors:
        raise ArtifactError(f"the saved router lacks the tensor {name}")
    value = np.asarray(tensors[name], dtype=np.float64)
    fits = value.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, value.shape, strict=True)
    )
    if not fits or not np.isfinite(value).all():
        raise ArtifactError(f"the saved router's tensor {name} {value.shape} is damaged")
    return value
