"""What a chat says: answers as they come, and after each its arm, cost and savings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from bestroute.cli.conversation import Conversation
from bestroute.cli.pictures import arms_table, decision_text, trace_tree
from bestroute.errors import BestRouteError, ConfigError
from bestroute.events import Delta, Drawing
from bestroute.explanation import explain
from bestroute.learning.evaluation.report import dollars
from bestroute.response import RoutedResponse
from bestroute.target import Target

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What an answer could do to a terminal beside showing text; tabs and line ends may stay."""


class Talk:
    """The user's lines, and what is shown of the turns.

    Args:
        conversation: What is said.
        console: Where it is shown.
        params: Options of every call.
        examples: Recorded questions, and options of their calls.
    """

    def __init__(
        self,
        conversation: Conversation,
        console: Console,
        *,
        params: Mapping[str, Any],
        examples: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._conversation, self._console = conversation, console
        self._params, self._examples = params, examples
        self._left: Iterator[str] = iter(examples)
        self._commands = {
            "/why": self._why,
            "/threshold": self._threshold,
            "/reset": self._reset,
            **({"/example": self._example} if examples else {}),
        }

    def greet(self) -> None:
        """Who is there, and which commands."""
        engine = self._conversation.engine
        names = ", ".join(model.name for model in engine.pool.models)
        self._note(f"{engine.policy.name} over {names}. Commands: {self._known()}")
        if self._examples:
            self._note("Recorded models know recorded questions only: /example asks the next one.")

    def hear(self, line: str) -> bool:
        """Do what a line says; `False` ends the talk. An error of one turn does not."""
        command, _, argument = line.strip().partition(" ")
        if command == "/exit":
            return False
        try:
            if command.startswith("/"):
                self._command(command, argument.strip())
            elif command:
                self._turn(line.strip())
        except BestRouteError as error:
            self._console.print(Text(f"{type(error).__name__}: ", "bold red").append(_safe(error)))
        return True

    def end(self) -> None:
        """What it all cost."""
        self._note(f"\n{self._totals()}")

    def _command(self, command: str, argument: str) -> None:
        if command not in self._commands:
            raise ConfigError(f"there is no command {command}; there are {self._known()}")
        self._commands[command](argument)

    def _known(self) -> str:
        return ", ".join((*self._commands, "/exit"))

    def _turn(self, text: str) -> None:
        params = {**self._examples.get(text, {}), **self._params}
        fresh = True
        try:
            for event in self._conversation.say(text, **params):
                if isinstance(event, Drawing):
                    self._note(f"asking {event.model} for {event.n} ...")
                elif isinstance(event, Delta):
                    self._piece(event)
                    fresh = False
                else:
                    self._answered(event)
        except BestRouteError:
            if not fresh:
                self._console.print()
            self._note(f"That turn cost {dollars(self._conversation.turns[-1]['cost'])}.")
            raise

    def _piece(self, piece: Delta) -> None:
        for text, style in ((piece.reasoning, "dim italic"), (piece.text, "")):
            self._console.print(Text(_safe(text), style), end="", soft_wrap=True)
        for call in piece.tool_calls:
            self._console.print(Text(_safe(call), "dim"))

    def _answered(self, response: RoutedResponse) -> None:
        self._console.print()
        if any(step.seen for step in response.trace):
            self._console.print(trace_tree(response.decision.policy, response.trace))
        for what in response.degraded:
            self._console.print(Text(_safe(what), "yellow"))
        arm = str(response.decision.arm)
        if response.model != response.decision.arm.model:
            arm += f", then {response.model}"
        cost = _cost(response.cost, response.estimated_reference_cost)
        self._console.print(Text(f"{arm}: {cost}", "bold"))
        self._note(self._totals())

    def _totals(self) -> str:
        told, count = self._conversation, len(self._conversation.turns)
        turns = "1 turn" if count == 1 else f"{count} turns"
        lost = told.unanswered_cost
        more = "" if lost == 0 else f"; turns without an answer cost {dollars(lost)}"
        return f"In all ({turns}): {_cost(told.answered_cost, told.reference_cost)}{more}"

    def _why(self, _: str) -> None:
        last, pool = self._conversation.last, self._conversation.engine.pool
        if last is None:
            raise ConfigError("nothing was answered yet")
        self._console.print(arms_table(explain(last.decision, pool.reference_arm)))
        self._console.print(decision_text(last.decision, str(pool.reference_arm)))
        self._console.print(trace_tree(last.decision.policy, last.trace))

    def _threshold(self, argument: str) -> None:
        """Another one from now on; without a number, the engine's own again."""
        try:
            threshold = float(argument) if argument else None
        except ValueError:
            raise ConfigError(f"{argument!r} is no threshold; say /threshold 0.7") from None
        policy = self._conversation.engine.policy_at(Target(threshold=threshold))
        self._conversation.threshold = threshold
        self._note(f"{policy.name}, threshold {getattr(policy, 'threshold', None)}")

    def _reset(self, _: str) -> None:
        self._conversation.reset()
        self._note("What was said is forgotten; what was paid is not.")

    def _example(self, _: str) -> None:
        """The next recorded question, as it was recorded: nothing said before it."""
        text = next(self._left, None)
        if text is None:
            raise ConfigError("there are no further recorded questions")
        self._conversation.reset()
        self._console.print(Text(text, "italic"))
        self._turn(text)

    def _note(self, text: str) -> None:
        self._console.print(Text(text, "dim"))


def _cost(cost: float | None, reference: float | None) -> str:
    """$, and how it stands beside asking the reference."""
    if cost is None or reference is None:
        return f"cost {dollars(cost)}, beside the reference n/a: a price is unknown"
    saved = round(reference - cost, 12)  # the same prices, added up in another order
    share = f" ({abs(saved) / reference:.0%})" if reference else ""
    verb = "saved" if saved >= 0 else "lost"
    return f"cost {dollars(cost)}, {verb} {dollars(abs(saved))}{share} against the reference"


def _safe(text: object) -> str:
    return _CONTROL.sub("\ufffd", str(text))
