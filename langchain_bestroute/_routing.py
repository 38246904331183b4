"""What the chat model and the route-only runnable share: the engine's source, and its options."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.load.serializable import Serializable
from pydantic import ConfigDict, Field

from bestroute.budget import Budget
from bestroute.defaults import CallDefaults
from bestroute.pool import PoolLike
from bestroute.source import Source
from bestroute.target import Target
from langchain_bestroute._members import rejoined, with_clients, written

if TYPE_CHECKING:
    from bestroute import BestRoute


class Routing(CallDefaults, Serializable):
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
        window_budget: $ over a window of time that no call may exceed; may be shared.
        max_reference_share: Largest share of the last calls that may go to the reference, in
            [0, 1]; prompts that steer the router are bounded by it.
        ledger: File where each call's decision, tokens and cost are kept.

    The options are the fields of `bestroute.defaults.CallDefaults`.

    Raises:
        ConfigError: The pool cannot be read, there is none, or options contradict each other
            or speak of models that it does not hold.
        ArtifactError: The saved router cannot be read, or does not fit the pool.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    source: Source = Field(frozen=True)

    def __init__(
        self,
        *,
        pool: PoolLike | None = None,
        artifact: str | Path | None = None,
        revision: str | None = None,
        engine: BestRoute | None = None,
        max_retries: int | None = None,
        window_budget: Budget | None = None,
        max_reference_share: float | None = None,
        ledger: str | Path | None = None,
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
            window_budget=window_budget,
            max_reference_share=max_reference_share,
            ledger=ledger,
        )
        super().__init__(source=source, **fields)
        self.engine.policy_at(Target.of(self))  # a mistake shows here, not at the first call
        self.check_against(self.engine.pool)

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
