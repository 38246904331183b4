"""What a routed request brings: the best sample, and everything that was paid for it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from bestroute.policy.base import Decision
from bestroute.samples import Call, Sample, Usage, total_cost, total_usage
from bestroute.trace import Step


class RoutedResponse(BaseModel):
    """The winner, all samples with their scores, the decision, usage and cost of everything.

    Attributes:
        winner: The sample that was selected.
        samples: All samples in the order drawn, the winner among them.
        decision: Which arm was chosen, and why.
        trace: What the policy did after the decision, move by move: what it saw, what it cost,
            and why it went on or stopped.
        calls: Every call to a provider, failed ones and a judge's too.
        estimated_reference_cost: $ of asking the reference once: what its answer cost, or would
            have cost at the length of the answer given.
        degraded: What did not go as decided (failed draws, fewer samples, a silent reward
            model), in words; empty when all went well.
    """

    model_config = ConfigDict(frozen=True)

    winner: Sample
    samples: tuple[Sample, ...]
    decision: Decision
    trace: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()
    estimated_reference_cost: float | None = None
    degraded: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """The trace in words."""
        return tuple(map(str, self.trace))

    @property
    def text(self) -> str:
        """The winner's text."""
        return self.winner.text

    @property
    def message(self) -> dict[str, Any]:
        """The winner's message in OpenAI format."""
        return self.winner.message

    @property
    def model(self) -> str:
        """Pool name of the model that gave the winner."""
        return self.winner.model

    @computed_field  # type: ignore[prop-decorator]
    @property
    def usage(self) -> Usage:
        """Tokens of all calls together."""
        return total_usage(self.calls)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cost(self) -> float | None:
        """$ of all calls together; `None` if a price is unknown."""
        return total_cost(self.calls)

    @property
    def usage_by_model(self) -> dict[str, Usage]:
        """Tokens, model by model."""
        models = dict.fromkeys(call.model for call in self.calls)
        return {
            model: total_usage(call for call in self.calls if call.model == model)
            for model in models
        }

    @property
    def prompt_tokens_by_model(self) -> dict[str, int]:
        """Tokens of the longest prompt that one call sent, model by model."""
        longest: dict[str, int] = {}
        for call in self.calls:
            longest[call.model] = max(call.usage.prompt_tokens, longest.get(call.model, 0))
        return longest

    @property
    def estimated_savings(self) -> float | None:
        """Estimated $ of asking the reference once, less the real cost.

        An estimate: the reference's tokens were not seen. Negative when routing cost more.
        """
        if self.cost is None or self.estimated_reference_cost is None:
            return None
        return self.estimated_reference_cost - self.cost

    def summary(self) -> dict[str, Any]:
        """Plain data for the metadata of a framework's response: no texts, no secrets."""
        return {
            **self.decision.summary(),
            "model": self.model,
            "n": len(self.samples),
            "cost": self.cost,
            "estimated_savings": self.estimated_savings,
            "scores": [sample.score for sample in self.samples],
            "usage_by_model": {
                model: usage.model_dump() for model, usage in self.usage_by_model.items()
            },
            "prompt_tokens_by_model": self.prompt_tokens_by_model,
            "trace": [step.model_dump(exclude_defaults=True) for step in self.trace],
            "steps": list(self.steps),
            "degraded": list(self.degraded),
        }
