"""What is known of a model: the pool's word first, then LiteLLM's map of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bestroute._litellm import litellm
from bestroute.errors import UnknownModelError
from bestroute.pool import PooledModel, Price
from bestroute.query import Need

_SUPPORTS: Mapping[Need, str] = {
    "vision": "supports_vision",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
    "documents": "supports_pdf_input",
    "tools": "supports_function_calling",
    "response_format": "supports_response_schema",
}
# Most chat models take these and LiteLLM's map often does not say so.
_POSSIBLE_WHEN_UNKNOWN = ("tools", "response_format")


def provider(member: PooledModel) -> str:
    """LiteLLM's name of the provider that serves a model.

    Raises:
        UnknownModelError: LiteLLM knows no such provider.
    """
    prefix = member.model.partition("/")[0]
    if member.client is not None:
        return prefix
    module = litellm()
    if prefix in {each["provider"] for each in module.custom_provider_map}:
        return prefix
    names = ("custom_llm_provider", "api_base")
    given = {name: str(member.params[name]) for name in names if name in member.params}
    try:
        return str(module.get_llm_provider(model=member.model, **given)[1])
    except module.BadRequestError:
        raise UnknownModelError(
            f"model {member.name!r}: LiteLLM knows no provider for {member.model!r}; "
            "ids look like openai/gpt-4o or ollama/llama3"
        ) from None


def _entry(member: PooledModel) -> Mapping[str, Any]:
    """The row of LiteLLM's map; empty for a model that it does not know."""
    known: Mapping[str, Any] = litellm().model_cost
    if member.model in known:
        return known[member.model] or {}
    prefix, _, bare = member.model.partition("/")
    entry = known.get(bare) or {}
    # The same name at another provider has another price: hosted_vllm/gpt-4o is not OpenAI's.
    return entry if str(entry.get("litellm_provider", "")).startswith(prefix) else {}


def price(member: PooledModel) -> Price | None:
    """$ per 1M tokens, or `None` where nobody knows."""
    if member.price is not None:
        return member.price
    entry = _entry(member)
    given, made = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if given is None or made is None:
        return None
    cached = entry.get("cache_read_input_token_cost")
    return Price(
        input=given * 1e6,
        output=made * 1e6,
        cached_input=None if cached is None else cached * 1e6,
    )


def context_window(member: PooledModel) -> int | None:
    """Tokens that the model holds, or `None` where nobody knows."""
    if member.context_window is not None:
        return member.context_window
    entry = _entry(member)
    window = entry.get("max_input_tokens") or entry.get("max_tokens")
    return int(window) if window else None


def native_n(member: PooledModel) -> int:
    """How many choices one call may ask for; 1 where the provider or client does not take n.

    Raises:
        UnknownModelError: LiteLLM, which had to be asked, knows no such provider.
    """
    if member.client is not None:
        return 1
    supported = member.native_n
    if supported is None:
        listed = litellm().get_supported_openai_params(
            model=member.model, custom_llm_provider=provider(member)
        )
        supported = "n" in (listed or ())
    return member.max_native_n if supported else 1


def can(member: PooledModel, need: Need) -> bool:
    """Whether the model can do what a request needs."""
    said: bool | None = getattr(member, need)
    if said is not None:
        return said
    listed = _entry(member).get(_SUPPORTS[need])
    return need in _POSSIBLE_WHEN_UNKNOWN if listed is None else bool(listed)


def count_tokens(text: str) -> int:
    """Tokens of a text by OpenAI's tokenizer, which LiteLLM brings; other models' differ a little.

    Takes about a second for a million tokens: for where a guess will not do.
    """
    sound = text.encode("utf-8", "replace").decode()
    return len(litellm().encode(model="gpt-4o", text=sound))
