"""What the chat model and the route-only runnable share: the engine's source, and its options."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from langchain_core.load.serializable import Serializable
from pydantic import ConfigDict, Field

from bestroute.pool import PoolLike
from bestroute.source import Source
from bestroute.target import ASKED, OnUncertified, Target, override
from langchain_bestroute._members import rejoined, with_clients, written

if TYPE_CHECKING:
    from bestroute import BestRoute


class Routing(Serializable):
    """An engine's source, and the options of every call.

    Args:
        pool: The model pool, plain data of one, or a YAML file; in plain data a member's `model`
            may be a chat model. Without `artifact` the router is the training-free,
            uncalibrated `Cascade`.
        artifact: Directory or hub id of a saved router; see `from_pretrained`.
        revision: Branch, tag or commit on the hub.
        engine: Instead of all these, an engine built by hand (with a router, policy or reward
            model of your own). Such an object can be neither pickled nor serialised.
        max_retries: Further attempts of a call after a passing failure.

    Attributes:
        threshold: Smallest match probability that qualifies an arm; lower is cheaper.
        max_drop: Instead, the largest relative quality drop against always-reference that
            calibration promises.
        target_cost: Instead, $ for 1,000 queries, as measured in calibration.
        confidence: Of `max_drop`, by default 0.95.
        on_uncertified: Whether a `max_drop` that is not certified raises (the default), or
            always asks the reference.
        models: Names in the pool: requests are routed among these alone.
        cached_tokens: By model, how many tokens of the prompt its provider still holds in its
            prompt cache; `BestRouteMiddleware` keeps count.
        max_n: Largest number of samples of one model.
        max_cost: $ that one request may cost by estimate, escalation included.
        query_turns: How many of the last human turns the router reads, by default one.
        query_pattern: Regular expression that finds the query in them, such as
            `Question: (.*)` where a prompt is stuffed with context.
        temperature: Sampling temperature, instead of the pool's; 0 means one sample.
        max_tokens: Longest answer, instead of the pool's.

    Raises:
        ConfigError: The pool cannot be read, there is none, or options contradict each other.
        ArtifactError: The saved router cannot be read, or does not fit the pool.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    option_names: ClassVar[tuple[str, ...]] = (
        *ASKED,
        "models",
        "cached_tokens",
        "max_n",
        "max_cost",
        "query_turns",
        "query_pattern",
        "temperature",
        "max_tokens",
    )
    """The fields that are options of a call."""

    source: Source = Field(frozen=True)
    threshold: float | None = None
    max_drop: float | None = None
    target_cost: float | None = None
    confidence: float | None = None
    on_uncertified: OnUncertified | None = None
    models: tuple[str, ...] | None = None
    cached_tokens: dict[str, int] | None = None
    max_n: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, ge=0)
    query_turns: int | None = Field(default=None, ge=1)
    query_pattern: str | None = None
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    def __init__(
        self,
        *,
        pool: PoolLike | None = None,
        artifact: str | Path | None = None,
        revision: str | None = None,
        engine: BestRoute | None = None,
        max_retries: int | None = None,
        **fields: Any,
    ) -> None:
        if fields.pop("api_key", None) is not None:
            warnings.warn(
                "api_key is ignored: keys belong to the models of the pool (params.api_key)",
                stacklevel=2,
            )
        source = Source.of(
            rejoined(fields.pop("source", None), fields.pop("chat_models", None)),
            engine=engine,
            pool=with_clients(pool),
            artifact=artifact,
            revision=revision,
            max_retries=max_retries,
        )
        super().__init__(source=source, **fields)
        self.engine.policy_at(Target.of(self))  # a mistake shows here, not at the first call

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pool: PoolLike | None = None,
        revision: str | None = None,
        threshold: float | None = None,
        **options: Any,
    ) -> Self:
        """Load a saved router from a directory or a hub id.

        Args:
            name_or_path: Directory, or id on the HuggingFace hub.
            pool: A pool of the artifact's names, for api_base, keys and other parameters.
            revision: Branch, tag or commit on the hub.
            threshold: Instead of the artifact's calibrated one.
            **options: Further fields.

        Raises:
            ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
            PoolMismatchError: It was made for another pool.
        """
        return cls(
            artifact=name_or_path, pool=pool, revision=revision, threshold=threshold, **options
        )

    @property
    def engine(self) -> BestRoute:
        """The engine behind it; after unpickling, built when first asked for."""
        return self.source.engine

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may write it down: it may, keys are left out."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What `load` builds it from, and what a cached answer depends on."""
        return {"source": self.source.plain(), **written(self.source.pool)}

    def _options(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The engine's arguments: the call's own win over the fields."""
        own = {name: getattr(self, name) for name in self.option_names}
        options = override(own, call)
        return {name: value for name, value in options.items() if value is not None}
