"""What a policy did with one request, move by move: what it saw, what it cost, and why."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from bestroute.policy.base import Draw
from bestroute.policy.evidence import Evidence


class Step(BaseModel):
    """One move of a policy.

    Attributes:
        move: Whether it drew samples or accepted those in hand.
        model: Name of the model in the pool; `None` where samples of all are accepted.
        n: Samples asked for, or accepted from.
        reason: Why, in words.
        match_probabilities: By model, how sure the policy was that the best sample so far matches
            the reference; empty where it does not reckon with that.
        ahead: Whether it was begun before it was known to be needed.
        received: Samples that came.
        seen: What all samples of the model showed then (agreement, scores, lengths), numbers by
            name; empty for a policy that does not look.
        cost: $ of a draw; `None` where a price is unknown.
        began, ended: Seconds since the request was routed.
    """

    model_config = ConfigDict(frozen=True)

    move: Literal["draw", "accept"]
    model: str | None
    n: int
    reason: str = ""
    match_probabilities: dict[str, float] = {}
    ahead: bool = False
    received: int = 0
    seen: dict[str, float] = {}
    cost: float | None = 0.0
    began: float = 0.0
    ended: float = 0.0

    @property
    def saw(self) -> str:
        """What the samples showed, in words; empty where nobody looked."""
        seen, told = self.seen, []
        if seen.get("n", 0) > 1:
            told.append(f"{seen['top']:.0f} of {seen['n']:.0f} agree")
        if "similarity" in seen:
            told.append(f"texts {seen['similarity']:.2f} alike")
        if "best" in seen:
            told.append(f"best score {seen['best']:.2f}")
        if "tokens" in seen:
            told.append(f"{seen['tokens']:.0f} tokens a sample")
        if "logprob" in seen:
            told.append(f"log-probability {seen['logprob']:.2f} a token")
        return ", ".join(told)

    @classmethod
    def of(cls, draw: Draw, **known: Any) -> Self:
        """A draw; `known` are the fields that it does not say itself."""
        said = draw.model_dump(include={"model", "n", "reason", "match_probabilities", "ahead"})
        return cls(move="draw", **said, **known)

    def __str__(self) -> str:
        """The move in words."""
        what = f"draw {self.n} of {self.model}" if self.move == "draw" else "accept"
        return f"{what}: {self.reason}"


def plain_evidence(evidence: Evidence) -> dict[str, float]:
    """The numbers that there are, and the agreement."""
    numbers = {**asdict(evidence), "agreement": evidence.agreement}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
