"""What a chat model's engine is made from, and which exactly."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_serializer

from bestroute import BestRoute, ModelPool
from bestroute.errors import ArtifactError, ConfigError
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.sampling import Sampler

PoolLike = ModelPool | Mapping[str, Any] | str | Path

_HANDMADE = "an engine built by hand is not written down: build the model again with engine="

_building = threading.Lock()


class Source(BaseModel):
    """The recipe of an engine: a saved router, a pool, or an engine built by hand.

    Its dumps and pickles hold no keys, and tell two engines apart that answer differently. The
    engine is built once, shared by copies, and built again from a pickle.

    Attributes:
        pool: The model pool; a saved router may bring it.
        artifact: Directory or hub id of a saved router.
        revision: Branch, tag or commit on the hub.
        digest: Which saved router: another one under the same name is refused.
        max_retries: Further attempts of a call after a passing failure.
        handmade: Stands for an engine built by hand, which cannot be written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    pool: ModelPool | None = None
    artifact: str | None = None
    revision: str | None = None
    digest: str | None = None
    max_retries: int | None = Field(default=None, ge=0)
    handmade: str | None = None

    _engine: BestRoute | None = PrivateAttr(default=None)

    @classmethod
    def of_engine(cls, engine: BestRoute) -> Source:
        """Around an engine that is already there."""
        source = cls(pool=engine.pool, handmade=uuid.uuid4().hex)
        source._engine = engine
        return source

    @classmethod
    def read(cls, recipe: Mapping[str, Any]) -> Source:
        """From the fields above, the pool in any form; the engine is built at once.

        Raises:
            ConfigError: There is nothing to build from, or the pool cannot be read.
            ArtifactError: The saved router cannot be read, or is not the one of the digest.
        """
        given = {name: value for name, value in recipe.items() if value is not None}
        if "artifact" in given:
            given["artifact"] = str(given["artifact"])
        source = cls(**{**given, "pool": read_pool(given.get("pool"))})
        engine = source.engine
        if source.artifact is None:
            return source
        known = {"pool": engine.pool, "digest": artifact_digest(engine)}
        return source.model_copy(update=known)

    @property
    def engine(self) -> BestRoute:
        """The engine; built when first asked for.

        Raises:
            ConfigError: It was built by hand and is not here.
            ArtifactError: The saved router is gone, or another one than it was.
        """
        with _building:
            if self._engine is None:
                self._engine = self._build()
            return self._engine

    def _build(self) -> BestRoute:
        if self.handmade is not None:
            raise ConfigError(_HANDMADE)
        options: dict[str, Any] = {}
        if self.max_retries is not None:
            options["sampler"] = Sampler(retries=self.max_retries)
        if self.artifact is not None:
            return self._load(self.artifact, options)
        if self.pool is None:
            raise ConfigError("give a pool, or load a saved router with from_pretrained")
        return BestRoute(self.pool, **options)

    def _load(self, artifact: str, options: Mapping[str, Any]) -> BestRoute:
        engine = BestRoute.from_pretrained(
            artifact, pool=self.pool, revision=self.revision, **options
        )
        if self.digest not in (None, artifact_digest(engine)):
            raise ArtifactError(
                f"{artifact} is not the saved router that it was: it was trained or calibrated "
                "again; load it with from_pretrained"
            )
        return engine

    @field_serializer("pool")
    def _public_pool(self, pool: ModelPool | None) -> dict[str, Any] | None:
        return None if pool is None else _public(pool)

    def plain(self) -> dict[str, Any]:
        """What `read` reads; JSON-able, without keys."""
        return self.model_dump(mode="json", exclude_none=True)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle keeps: neither the keys nor the engine."""
        if self.handmade is not None:
            raise ConfigError(_HANDMADE)
        pool = None if self.pool is None else ModelPool.from_dict(_public(self.pool))
        bare = self.model_copy(update={"pool": pool})
        bare._engine = None
        return super(Source, bare).__getstate__()

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        models = [member.name for member in self.pool.models] if self.pool else None
        shown = {"models": models, "artifact": self.artifact, "digest": self.digest}
        return [(name, value) for name, value in shown.items() if value is not None]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Source:
        """Itself: it does not change, and an engine is dear."""
        return self


def read_pool(pool: PoolLike | None) -> ModelPool | None:
    """A pool out of itself, plain data, or a YAML file.

    Raises:
        ConfigError: Names the field that is wrong and what to write instead.
    """
    if pool is None or isinstance(pool, ModelPool):
        return pool
    return ModelPool.from_dict(pool) if isinstance(pool, Mapping) else ModelPool.from_yaml(pool)


def _public(pool: ModelPool) -> dict[str, Any]:
    return pool.model_dump(mode="json", exclude_defaults=True)


def artifact_digest(engine: BestRoute) -> str | None:
    """Digest of what a saved router decides by, wherever it lies: not its path."""
    router = engine.router
    if not isinstance(router, MultiHeadRouter):
        return None
    description, tensors = router.state()
    facts = [
        description,
        getattr(engine.policy, "threshold", None),
        engine.reward.config(),
        {name: stats.model_dump() for name, stats in engine.cost_model.stats.items()},
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()[:16]
