"""The loop's types: a policy sees the state and says what to draw next, or accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from bestroute.errors import ConfigError
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm
from bestroute.samples import Sample

_TINY = 1e-12  # $


class Draw(BaseModel):
    """Sample `n` more responses of `model`.

    Attributes:
        match_probabilities: By model, how sure the policy is that the best sample so far matches
            the reference, where it reckons with that.
        final: Whether a sample that it brings is sure to be accepted: it may be streamed.
        ahead: Whether it is begun now and not waited for: for the time that is saved if the next
            move draws it. Otherwise it is cancelled, and what was sent is paid for.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    n: int
    reason: str = ""
    match_probabilities: dict[str, float] = {}
    final: bool = False
    ahead: bool = False


class Accept(BaseModel):
    """Stop; the selector picks the winner among the samples of `model` (`None`: of all).

    Attributes:
        match_probabilities: As in `Draw`.
    """

    model_config = ConfigDict(frozen=True)

    model: str | None = None
    reason: str = ""
    match_probabilities: dict[str, float] = {}


class Decision(BaseModel):
    """Which arm was chosen, from what, and why.

    Attributes:
        arm: The chosen arm.
        match_probability: That arm's match probability; `None` without a router.
        match_probabilities: Those of all eligible arms, by `name:n`.
        estimated_costs: Estimated cost of all eligible arms in $, by `name:n`.
        threshold: The threshold of a threshold policy.
        policy: Name of the policy.
        calibrated: Whether its threshold was calibrated on data.
        max_drop: The relative quality drop that the threshold was certified for, if it was.
        confidence: Of that promise; `None` where it needs none (always-reference).
        target_cost: The cost in $ for 1,000 queries that it was picked for, if it was.
        excluded: Arms that cannot serve this request, by `name:n`, and why.
        reason: The decision in words.
    """

    model_config = ConfigDict(frozen=True)

    arm: Arm
    match_probability: float | None = None
    match_probabilities: dict[str, float] = {}
    estimated_costs: dict[str, float] = {}
    threshold: float | None = None
    policy: str = ""
    calibrated: bool = False
    max_drop: float | None = None
    confidence: float | None = None
    target_cost: float | None = None
    excluded: dict[str, str] = {}
    reason: str = ""

    @property
    def estimated_cost(self) -> float | None:
        """Estimated cost of the chosen arm in $."""
        return self.estimated_costs.get(str(self.arm))

    def summary(self) -> dict[str, Any]:
        """Plain data for the metadata of a framework's response."""
        return {
            "arm": str(self.arm),
            "policy": self.policy,
            "calibrated": self.calibrated,
            "reason": self.reason,
            "threshold": self.threshold,
            "max_drop": self.max_drop,
            "confidence": self.confidence,
            "target_cost": self.target_cost,
            "match_probability": self.match_probability,
            "match_probabilities": self.match_probabilities,
            "estimated_cost": self.estimated_cost,
            "estimated_costs": self.estimated_costs,
        }


@dataclass
class State:
    """Everything a policy may look at.

    Attributes:
        arms: Arms that can serve this request.
        reference: The reference with n = 1 (it may be absent from `arms`).
        costs: Estimated cost of every arm in $; NaN where no price is known.
        costs_again: The same once the model was sent this prompt, which its provider may then read
            from its cache; by default the same.
        match: Match probability of every arm; empty without a router.
        quality: Expected quality of every arm; empty where no router predicts it.
        query: The text that a router reads.
        samples: Samples seen so far, by model, in the order drawn.
        evidence: What the samples of each model show.
        waves: Moves drawn so far.
        elapsed: Seconds since the request was routed.
        failed: Models whose last draw brought nothing.
        spent: $ paid so far.
        left: $ that may still be spent, by the tightest cap.
        most: $ that every arm can cost at most, where there is a cap: a price of its longest
            answer. Arms that are not sure to cost at most what is left are no longer in `arms`.
        unaffordable: Arms that left `arms` for that, or never were among them.
    """

    arms: tuple[Arm, ...]
    reference: Arm
    costs: Mapping[Arm, float]
    match: Mapping[Arm, float] = field(default_factory=dict)
    quality: Mapping[Arm, float] = field(default_factory=dict)
    costs_again: Mapping[Arm, float] = field(default_factory=dict)
    query: str = ""
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    waves: int = 0
    elapsed: float = 0.0
    failed: set[str] = field(default_factory=set)
    spent: float = 0.0
    left: float = math.inf
    most: Mapping[Arm, float] = field(default_factory=dict)
    unaffordable: tuple[Arm, ...] = ()

    @property
    def has_samples(self) -> bool:
        """Whether there is anything to answer with."""
        return any(self.samples.values())

    def __post_init__(self) -> None:
        """Further waves cost the same, unless it is said that they do not."""
        self.costs_again = self.costs_again or self.costs

    def cost(self, arm: Arm) -> float:
        """Estimated $ of drawing an arm now, beside what was drawn of its model."""
        return (self.costs_again if arm.model in self.samples else self.costs)[arm]

    def affords(self, *arms: Arm) -> bool:
        """Whether what is left pays for all these arms, whatever they answer."""
        return math.fsum(self.most.get(arm, 0.0) for arm in arms) <= self.left + _TINY

    def pay(self, spent: float, left: float = math.inf) -> None:
        """So much has been paid in all, and so much is left: what cannot be afforded is out."""
        self.spent, self.left = spent, left
        out = tuple(arm for arm in self.arms if not self.affords(arm))
        if out:
            self.unaffordable += out
            self.arms = tuple(arm for arm in self.arms if arm not in out)


@runtime_checkable
class Policy(Protocol):
    """Decides, and is asked again after each wave of samples.

    One that never reads `State.evidence` says `looks = False`: gathering it takes time. One that
    reads its scores says `reads_scores = True`: the reward model is then asked after each wave.
    One that reads `Evidence.similarity` says `reads_similarity = True`: open answers are embedded.
    """

    @property
    def name(self) -> str:
        """Its name in decisions and tables."""
        ...

    @property
    def needs_router(self) -> bool:
        """Whether it needs match probabilities and prices."""
        ...

    @property
    def calibrated(self) -> bool:
        """Whether its thresholds were picked on data."""
        ...

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """What to draw next, or the end."""
        ...


@runtime_checkable
class Thresholded(Policy, Protocol):
    """A policy with a threshold: one of a family, of which any threshold makes another."""

    @property
    def family(self) -> str:
        """What a calibration table is for."""
        ...

    def at(self, threshold: float, **promise: Any) -> Thresholded:
        """The one at another threshold, picked for `max_drop`, `confidence`, `target_cost`."""
        ...


def next_move(policy: Policy, state: State) -> tuple[Draw, ...] | Accept:
    """What a policy says, if it can be done.

    Raises:
        ConfigError: It draws nothing, or from one model twice at once.
    """
    move = policy.next(state)
    if not isinstance(move, Accept):
        models = [draw.model for draw in move]
        if not models or len(set(models)) < len(models):
            what = f"of {', '.join(models)}" if models else "of nothing"
            raise ConfigError(
                f"the policy {policy.name!r} wants a draw {what}: expected one a model, or Accept"
            )
    return move
