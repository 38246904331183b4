"""A conversation with an engine: what was said, and what was paid for it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from bestroute.engine import BestRoute
from bestroute.errors import BestRouteError, SamplingError
from bestroute.events import Delta, Drawing, Drew, Selected
from bestroute.response import RoutedResponse
from bestroute.samples import Call, total_cost


class Conversation:
    """Turns of one user, and what they cost beside always asking the reference.

    Args:
        engine: Who answers.

    Attributes:
        engine: Who answers.
        messages: What was said since the last `reset`, in OpenAI format.
        threshold: Instead of the engine's own setting, once it is set.
        last: The last response.
        turns: One summary a turn, no texts: that of its response, or the error and the cost.
        answered_cost: $ paid for the turns that were answered; `None` once a price is unknown.
        unanswered_cost: $ paid for the others.
        reference_cost: $ that always asking the reference would have cost, by estimate, for the
            turns that were answered.
    """

    def __init__(self, engine: BestRoute) -> None:
        self.engine = engine
        self.messages: list[dict[str, Any]] = []
        self.threshold: float | None = None
        self.last: RoutedResponse | None = None
        self.turns: list[dict[str, Any]] = []
        self.answered_cost: float | None = 0.0
        self.unanswered_cost: float | None = 0.0
        self.reference_cost: float | None = 0.0

    def reset(self) -> None:
        """Forget what was said, not what was paid."""
        self.messages = []

    def say(
        self, text: str, **params: Any
    ) -> Generator[Drawing | Delta | RoutedResponse, None, None]:
        """One turn: what is drawn, pieces of the answer, at last the response.

        A turn that fails, or is left early, is not remembered; what it cost is.

        Args:
            text: What the user says.
            **params: Options of the call.

        Raises:
            BestRouteError: It was not answered.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        options = {**params, "threshold": self.threshold}
        calls: list[Call] = []
        try:
            for event in self.engine.events(asked, streaming=True, **options):
                if isinstance(event, Drew | Selected):
                    calls += event.calls
                elif isinstance(event, RoutedResponse):
                    self._keep(asked, event)
                    calls = []
                    yield event
                elif isinstance(event, Drawing | Delta):
                    yield event
        except BestRouteError as error:
            calls = list(error.calls) if isinstance(error, SamplingError) else calls
            told = f"{type(error).__name__}: {error}"
            self.turns.append({"error": told, "cost": total_cost(calls)})
            raise
        finally:
            self.unanswered_cost = _sum(self.unanswered_cost, total_cost(calls))

    def summary(self) -> dict[str, Any]:
        """Plain data: the totals, and every turn without its texts."""
        saved = None
        if self.answered_cost is not None and self.reference_cost is not None:
            saved = self.reference_cost - self.answered_cost
        return {
            "cost": _sum(self.answered_cost, self.unanswered_cost),
            "unanswered_cost": self.unanswered_cost,
            "estimated_reference_cost": self.reference_cost,
            "estimated_savings": saved,
            "turns": self.turns,
        }

    def _keep(self, asked: list[dict[str, Any]], response: RoutedResponse) -> None:
        self.messages = [*asked, response.message]
        self.last = response
        self.turns.append(response.summary())
        self.answered_cost = _sum(self.answered_cost, response.cost)
        self.reference_cost = _sum(self.reference_cost, response.estimated_reference_cost)


def _sum(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more
