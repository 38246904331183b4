"""The provider behind the suite: OpenAI's rules to the letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.faithful_model import FaithfulModel
from tests.openai_rules import why_refused
from tests.servers import Body, Reply, Script


class Provider:
    """The script of a `ChatServer`.

    Attributes:
        script: Instead of the faithful model's answers.
        delay: Seconds before each answer.
        refused: Why requests were refused.
        asked: Bodies of the requests that were not.
    """

    def __init__(self) -> None:
        self.script: Script | Reply | str | None = None
        self.delay = 0.0
        self.refused: list[str] = []
        self.asked: list[Body] = []
        self._faithful = FaithfulModel()
        self._bills: list[Any] = []

    def __call__(self, body: Body) -> Reply:
        """Answer, or refuse."""
        body = _tolerated(body)
        if fault := why_refused(body):
            self.refused.append(fault)
            return Reply(fault, status=400)
        self.asked.append(body)
        given = self.script or self._faithful
        reply = given(body) if callable(given) else given
        reply = reply if isinstance(reply, Reply) else Reply(reply)
        usage = reply.usage and _with_arguments(reply.usage, reply.content)
        self._bills.append(usage or {})
        return replace(reply, usage=usage, delay=self.delay or reply.delay)

    @property
    def billed(self) -> dict[str, int]:
        """Tokens of all answers of the faithful model."""
        kinds = ("prompt_tokens", "completion_tokens", "total_tokens")
        return {kind: sum(bill.get(kind, 0) for bill in self._bills) for kind in kinds}

    @property
    def last(self) -> Body:
        """The latest request."""
        return self.asked[-1]


def _tolerated(body: Body) -> Body:
    """The request as OpenAI takes it: parameters of null are absent, calls may be numbered."""
    given = {name: value for name, value in body.items() if value is not None}
    given["messages"] = [_unnumbered(message) for message in body["messages"]]
    return given


def _unnumbered(message: Body) -> Body:
    if not message.get("tool_calls"):
        return message
    calls = [{k: v for k, v in call.items() if k != "index"} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def _with_arguments(usage: Mapping[str, Any], choices: Sequence[Any]) -> dict[str, Any]:
    """The usage with the arguments of tool calls: four characters are a token."""
    calls = [call for choice in choices for call in choice.get("tool_calls", ())]
    more = sum(len(call["function"]["arguments"]) // 4 for call in calls)
    counts = {kind: usage[kind] + more for kind in ("completion_tokens", "total_tokens")}
    return {**usage, **counts}
