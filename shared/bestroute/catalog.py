"""What is known of a model: the pool's word first, then LiteLLM's map of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bestroute._litellm import litellm
from bestroute.pool import PooledModel, Price
from bestroute.query import Need

_SUPPORTS: Mapping[Need, str] = {
    "vision": "supports_vision",
    "audio": "supports_audio_input",
    "tools": "supports_function_calling",
    "response_format": "supports_response_schema",
}
# Most chat models take these and LiteLLM's map often does not say so.
_POSSIBLE_WHEN_UNKNOWN = ("tools", "response_format")


def _entry(member: PooledModel) -> Mapping[str, Any]:
    """The row of LiteLLM's map; empty for a model that it does not know."""
    known: Mapping[str, Any] = litellm().model_cost
    return known.get(member.model) or known.get(member.model.split("/", 1)[-1]) or {}


def price(member: PooledModel) -> Price | None:
    """$ per 1M tokens, or `None` where nobody knows."""
    if member.price is not None:
        return member.price
    entry = _entry(member)
    if entry.get("input_cost_per_token") is None:
        return None
    return Price(
        input=entry["input_cost_per_token"] * 1e6,
        output=(entry.get("output_cost_per_token") or 0.0) * 1e6,
    )


def context_window(member: PooledModel) -> int | None:
    """Tokens that the model holds, or `None` where nobody knows."""
    if member.context_window is not None:
        return member.context_window
    entry = _entry(member)
    window = entry.get("max_input_tokens") or entry.get("max_tokens")
    return int(window) if window else None


def native_n(member: PooledModel) -> int:
    """How many choices one call may ask for; 1 where the provider does not take n."""
    supported = member.native_n
    if supported is None:
        supported = "n" in (litellm().get_supported_openai_params(model=member.model) or ())
    return member.max_native_n if supported else 1


def can(member: PooledModel, need: Need) -> bool:
    """Whether the model can do what a request needs."""
    said: bool | None = getattr(member, need)
    if said is not None:
        return said
    listed = _entry(member).get(_SUPPORTS[need])
    return need in _POSSIBLE_WHEN_UNKNOWN if listed is None else bool(listed)
