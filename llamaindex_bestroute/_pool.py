"""A pool as callers give it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bestroute import ModelPool

PoolLike = ModelPool | Mapping[str, Any] | str | Path


def read_pool(pool: PoolLike | None) -> ModelPool | None:
    """A pool out of itself, plain data, or a YAML file.

    Raises:
        ConfigError: Names the field that is wrong and what to write instead.
    """
    if pool is None or isinstance(pool, ModelPool):
        return pool
    return ModelPool.from_dict(pool) if isinstance(pool, Mapping) else ModelPool.from_yaml(pool)
