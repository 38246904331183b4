"""What a call is billed: the provider's report where it is credible, else our own count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bestroute import catalog
from bestroute.pool import PooledModel
from bestroute.samples import Usage

TokenCounter = Callable[[str, str], int]
"""(pool name of the model, text) -> tokens; used where a provider's report is not credible."""

_CREDIBLE = 0.75

# Classes by name, whoever brings them: HTTP libraries, SDKs, LiteLLM.
_NOTHING_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ClientConnectorError"}
_NOTHING_SENT |= {"ConnectionRefusedError", "gaierror"}
_NO_ANSWER = {"TransportError", "APIConnectionError", "ConnectionError", "TimeoutError"}
_NO_ANSWER |= {"TimeoutException", "ClientPayloadError", "JSONDecodeError"}
_GIVEN_UP = (408, 499, 504, 524)  # the provider may have worked all the same


class Billing:
    """Reads usage out of responses, and remembers whose reports cover one choice only.

    Args:
        count_tokens: Counts tokens where a provider's own report is not credible; by default
            four characters are one.
    """

    def __init__(self, count_tokens: TokenCounter | None = None) -> None:
        self._count_tokens = count_tokens
        self._counts_one_choice: set[str] = set()

    def usage(
        self, response: Any, member: PooledModel, prompt_text: str, counts: Sequence[int]
    ) -> Usage:
        """What the provider reports; what it leaves out is counted here.

        Args:
            response: LiteLLM's.
            member: Who answered.
            prompt_text: What was sent.
            counts: Tokens of each choice, counted here.
        """
        report = getattr(response, "usage", None)
        prompt = max(0, int(getattr(report, "prompt_tokens", 0) or 0))
        completion = max(0, int(getattr(report, "completion_tokens", 0) or 0))
        written = sum(counts)
        doubtful = completion == 0 < written or self._reports_one_choice(member, completion, counts)
        return Usage(
            prompt_tokens=prompt or self.count(member, prompt_text),
            completion_tokens=max(completion, written) if doubtful else completion,
            cached_tokens=_detail(report, "prompt_tokens_details", "cached_tokens"),
            reasoning_tokens=_detail(report, "completion_tokens_details", "reasoning_tokens"),
            estimated=doubtful or not prompt,
        )

    def _reports_one_choice(
        self, member: PooledModel, completion: int, counts: Sequence[int]
    ) -> bool:
        """Whether a provider's report covers one of several choices (llama.cpp's does)."""
        if len(counts) < 2:
            return False
        # Without a tokenizer our own count is rough: halfway between one choice and all.
        share = _CREDIBLE if self._count_tokens else len(counts) ** -0.5
        if completion < share * sum(counts):
            self._counts_one_choice.add(member.name)
        return member.name in self._counts_one_choice

    def unreported(self, member: PooledModel, prompt_text: str, written: str) -> Usage:
        """What a call used whose report never came."""
        return Usage(
            prompt_tokens=self.count(member, prompt_text),
            completion_tokens=self.count(member, written),
            estimated=True,
        )

    def tokens(self, member: PooledModel, message: Mapping[str, Any]) -> int:
        """Tokens of all that a model wrote in one choice."""
        return self.count(member, _written(message))

    def count(self, member: PooledModel, text: str) -> int:
        """Tokens of a text, by the caller's counter or roughly."""
        if self._count_tokens is not None:
            return self._count_tokens(member.name, text)
        return max(1, round(len(text) / 4)) if text else 0


def _written(message: Mapping[str, Any]) -> str:
    """All that the model wrote: text, reasoning, tool calls."""
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    parts = [message.get("content"), message.get("reasoning_content")]
    parts += [f"{call.get('name')}{call.get('arguments')}" for call in calls]
    return "".join(part for part in parts if isinstance(part, str))


def _detail(usage: Any, group: str, name: str) -> int:
    return max(0, int(getattr(getattr(usage, group, None), name, None) or 0))


def is_unbilled(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether a failed call is sure to cost nothing: refused, or never sent.

    Args:
        error: What the call raised.
        handled: What the caller was handling meanwhile: Python chains that on as well.
    """
    kinds: set[str] = set()
    each: BaseException | None = error
    while each is not None and each is not handled:
        kinds |= {kind.__name__ for kind in type(each).__mro__}
        each = each.__cause__ or each.__context__
    if kinds & _NOTHING_SENT:
        return True
    status = getattr(error, "status_code", None)
    refused = isinstance(status, int) and status >= 400 and status not in _GIVEN_UP
    return refused and not kinds & _NO_ANSWER


def call_cost(response: Any, member: PooledModel, usage: Usage) -> float | None:
    """$ of one call: the pool's price first, then what LiteLLM made of an honest report."""
    if member.price is None and not usage.estimated:
        hidden = getattr(response, "_hidden_params", None) or {}
        if hidden.get("response_cost") is not None:
            return float(hidden["response_cost"])
    return list_cost(member, usage)


def list_cost(member: PooledModel, usage: Usage) -> float | None:
    """$ of so many tokens at the list price; `None` where nobody knows it."""
    price = catalog.price(member)
    if price is None:
        return None
    return price.cost(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
