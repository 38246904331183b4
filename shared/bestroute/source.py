"""What an engine is made from, and which exactly: what integrations write down in its place."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_serializer

from bestroute.budget import Budget
from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import ModelPool

if TYPE_CHECKING:
    from bestroute.engine import BestRoute

_HANDMADE = "an engine built by hand is not written down: build the model again with engine="

_CAPS = ("window_budget", "max_reference_share", "ledger")

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
        window_budget: $ over a window of time; what is built from a dump or a pickle has one of
            its own, unspent.
        max_reference_share: Largest share of the last calls that may go to the reference.
        ledger: File where each call's decision, tokens and cost are kept.
        handmade: Stands for an engine built by hand, which cannot be written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    pool: ModelPool | None = None
    artifact: str | None = None
    revision: str | None = None
    digest: str | None = None
    max_retries: int | None = Field(default=None, ge=0)
    window_budget: Budget | None = None
    max_reference_share: float | None = None
    ledger: str | None = None
    handmade: str | None = None

    _engine: BestRoute | None = PrivateAttr(default=None)

    @classmethod
    def of(
        cls,
        source: Source | Mapping[str, Any] | None = None,
        *,
        engine: BestRoute | None = None,
        **recipe: Any,
    ) -> Source:
        """Out of exactly one of three.

        Args:
            source: Another one, or its plain form.
            engine: An engine that is already there.
            **recipe: The fields above, the pool in any form; the engine is built at once.

        Raises:
            ConfigError: There is nothing to build from, or too much; the pool cannot be read.
            ArtifactError: The saved router cannot be read, or is not the one of the digest.
        """
        has_recipe = any(value is not None for value in recipe.values())
        if has_recipe + (engine is not None) + (source is not None) > 1:
            raise ConfigError("give a pool or a saved router, or an engine, not both")
        if engine is not None:
            return cls._around(engine)
        if isinstance(source, Source):
            return source
        return cls._read(recipe if source is None else source)

    @classmethod
    def _around(cls, engine: BestRoute) -> Source:
        source = cls(pool=engine.pool, handmade=uuid.uuid4().hex)
        source._engine = engine
        return source

    @classmethod
    def _read(cls, recipe: Mapping[str, Any]) -> Source:
        given = {name: value for name, value in recipe.items() if value is not None}
        if "pool" in given:
            given["pool"] = ModelPool.read(given["pool"])
        for name in given.keys() & {"artifact", "ledger"}:
            given[name] = str(given[name])
        source = cls(**given)
        engine = source.engine
        if source.artifact is None:
            return source
        known = {"pool": engine.pool, "digest": _digest(engine)}
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
        from bestroute.engine import BestRoute  # late: it brings numpy and all the parts
        from bestroute.sampling import Sampler

        options: dict[str, Any] = {name: getattr(self, name) for name in _CAPS}
        if self.max_retries is not None:
            options["sampler"] = Sampler(retries=self.max_retries)
        if self.artifact is not None:
            return self._load(self.artifact, options)
        if self.pool is None:
            raise ConfigError("give a pool, or load a saved router with from_pretrained")
        return BestRoute(self.pool, **options)

    def _load(self, artifact: str, options: Mapping[str, Any]) -> BestRoute:
        from bestroute.engine import BestRoute

        engine = BestRoute.from_pretrained(
            artifact, pool=self.pool, revision=self.revision, **options
        )
        if self.digest not in (None, _digest(engine)):
            raise ArtifactError(
                f"{artifact} is not the saved router that it was: it was trained or calibrated "
                "again; load it with from_pretrained"
            )
        return engine

    @field_serializer("pool")
    def _public_pool(self, pool: ModelPool | None) -> dict[str, Any] | None:
        if pool is None:
            return None
        plain = pool.model_dump(mode="json", exclude_defaults=True)
        for member, entry in zip(pool.models, plain["models"], strict=True):
            if member.client is not None:  # it has no plain form; who reads this must bring it
                entry["client"] = hashlib.sha256(repr(member.client).encode()).hexdigest()[:16]
        return plain

    def plain(self) -> dict[str, Any]:
        """What `of` reads; JSON-able, without keys."""
        return self.model_dump(mode="json", exclude_none=True)

    def __getstate__(self) -> dict[str, Any]:
        """What pickle keeps: not the engine."""
        if self.handmade is not None:
            raise ConfigError(_HANDMADE)
        bare = self.model_copy()
        bare._engine = None
        return super(Source, bare).__getstate__()

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What tells it from others, in few words."""
        models = [member.name for member in self.pool.models] if self.pool else None
        shown = {"models": models, "artifact": self.artifact, "digest": self.digest}
        return [(name, value) for name, value in shown.items() if value is not None]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Source:
        """Itself: it does not change, and an engine is dear."""
        return self


def _digest(engine: BestRoute) -> str | None:
    from bestroute.artifact import artifact_digest

    return artifact_digest(
        router=engine.router,
        policy=engine.policy,
        reward=engine.reward,
        cost_model=engine.cost_model,
        calibration=engine.calibration,
    )
