"""A pool as callers give it, and as it may be written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

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


def public_pool(pool: ModelPool) -> dict[str, Any]:
    """Plain data without keys; a key's place in the environment is no secret and stays."""
    data = pool.model_dump()
    for member, plain in zip(pool.models, data["models"], strict=True):
        for name, value in member.params.items():
            if isinstance(value, SecretStr) and _is_reference(value.get_secret_value()):
                plain["params"][name] = value.get_secret_value()
    return data


def _is_reference(text: str) -> bool:
    return text.startswith("os.environ/")
