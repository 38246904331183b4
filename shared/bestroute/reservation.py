"""The most that a call can cost, before it is sent: what the caps set aside for it.

Prompt: no tokenizer makes more tokens of a text than it has bytes in UTF-8; images and files fill
the context window at most. Completion: `max_tokens`, else the model's own limit. Both at the
highest of its prices that may apply.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from bestroute import catalog
from bestroute.calls import settings
from bestroute.pool import Arm, PooledModel
from bestroute.query import Request

_AROUND = 128
"""Tokens that a provider writes around the messages: tags, dates, a system prompt of its own."""
_AROUND_TOOLS = 1024
"""The same where it explains tools, or a format, to the model."""
_EXPLAINED = ("tools", "functions", "response_format")
_SENT = (*_EXPLAINED, "tool_choice", "extra_body")


@dataclass(frozen=True)
class Reservation:
    """What to set aside for calls to one model.

    Attributes:
        prompt: $ that the prompt of one call costs at most.
        sample: $ that one sample costs at most.
        unknown: Why there is no bound, and what would make one; then both are infinite.
    """

    prompt: float = math.inf
    sample: float = math.inf
    unknown: str = ""

    def dollars(self, samples: int, calls: int = 1) -> float:
        """$ that so many samples, drawn by so many calls, cost at most."""
        return calls * self.prompt + samples * self.sample


def reserve(request: Request, member: PooledModel) -> Reservation:
    """The most that a call of a model can cost."""
    params = settings(request, member)
    prompt = _prompt_tokens(request, member, params)
    price = catalog.highest_price(member, request, params, prompt or math.inf)
    if price is None:
        return Reservation(unknown=f"{member.name} has no price")
    if prompt is None and price.input:
        return Reservation(
            unknown=f"nobody knows how long a prompt with images or files is to {member.name}: "
            "give its context_window in the pool"
        )
    answer = _answer_tokens(member, params)
    if answer is None and price.output:
        return Reservation(
            unknown=f"nobody knows how long an answer of {member.name} can be: give max_tokens, "
            "or max_output_tokens in the pool"
        )
    return Reservation(price.cost(prompt or 0, 0), price.cost(0, answer or 0))


def most_of(arm: Arm, member: PooledModel, reservation: Reservation) -> float:
    """$ that an arm costs at most, each of its calls answered once."""
    return reservation.dollars(arm.n, -(-arm.n // catalog.native_n(member)))


def _prompt_tokens(request: Request, member: PooledModel, params: dict[str, Any]) -> int | None:
    """No more tokens than these; `None` where only an unknown context window would tell."""
    if request.needs - {"tools", "response_format"}:
        return catalog.context_window(member)
    sent = {name: params[name] for name in _SENT if params.get(name)}
    around = _AROUND_TOOLS if any(name in sent for name in _EXPLAINED) else _AROUND
    tokens = request.message_bytes + (_json_bytes(sent) if sent else 0) + around
    return min(tokens, member.context_window or tokens)  # LiteLLM's map knows no beta windows


def _answer_tokens(member: PooledModel, params: dict[str, Any]) -> int | None:
    """Tokens at which an answer ends, thoughts included; `None` where nobody knows."""
    given = {**params, **(params.get("extra_body") or {})}
    asked = [given[name] for name in ("max_completion_tokens", "max_tokens") if given.get(name)]
    return max(asked) if asked else catalog.max_output_tokens(member)


def _json_bytes(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, default=_schema)
    return len(text.encode("utf-8", "surrogatepass"))


def _schema(value: Any) -> Any:
    """A class that stands for its JSON schema, as LiteLLM reads it."""
    schema = getattr(value, "model_json_schema", None)
    return schema() if callable(schema) else str(value)
