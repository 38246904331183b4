"""What is known of a model: the pool's word first, then LiteLLM's map of models."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from bestroute._litellm import litellm
from bestroute.errors import UnknownModelError
from bestroute.pool import PooledModel, Price
from bestroute.query import Need, Request

CACHED_FROM = 1024
"""OpenAI's and Google's documented minimum, and that of most models of Anthropic."""

SUPPORTS: Mapping[Need, str] = {
    "vision": "supports_vision",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
    "documents": "supports_pdf_input",
    "tools": "supports_function_calling",
    "response_format": "supports_response_schema",
}
"""Names of abilities in LiteLLM's map."""

_RATE = re.compile(
    r"(?P<written>cache_creation_)?(?P<side>input|output)_"
    r"(?:token_cost|cost_per_(?:(?P<kind>\w+?)_)?token)"
    r"(?:_above_\d+hr)?(?:_above_(?P<above>\d+)k_tokens)?(?:_(?P<tier>[a-z]+))?"
)
"""Names of prices in LiteLLM's map, in $ a token."""
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
    if prefix == "recorded":
        raise UnknownModelError(
            f"model {member.name!r}: no recording answers for {member.model!r} here: call "
            "bestroute.recorded.Recording(rows).install(), or `collect`, `fit` or `chat` with "
            "--recorded SAMPLES"
        )
    names = ("custom_llm_provider", "api_base")
    given = {name: str(member.params[name]) for name in names if name in member.params}
    try:
        return _listed(member.model, **given)
    except module.BadRequestError:
        raise UnknownModelError(
            f"model {member.name!r}: LiteLLM knows no provider for {member.model!r}; "
            "ids look like openai/gpt-4o or ollama/llama3"
        ) from None


@lru_cache(maxsize=1024)
def _listed(model: str, **given: str) -> str:
    """LiteLLM's own list, which takes a while to go through; what it lacks today may be added."""
    return str(litellm().get_llm_provider(model=model, **given)[1])


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


def highest_price(
    member: PooledModel, request: Request, params: Mapping[str, Any], prompt_tokens: float
) -> Price | None:
    """$ per 1M tokens at the dearest rates that a call may be billed at; `None` as for `price`.

    The pool's price is the whole price. LiteLLM's map knows further ones: of long prompts, of
    writing a cache, of service tiers, of audio and images.

    Args:
        member: Who is asked.
        request: What.
        params: Parameters of the call.
        prompt_tokens: No prompt has more.
    """
    usual = price(member)
    if usual is None or member.price is not None:
        return usual and Price(input=max(usual.input, usual.cached_input or 0), output=usual.output)
    dearest = {"input": usual.input, "output": usual.output}
    kinds = {"reasoning", *_modalities(request, params)}
    caches = _writes_cache(request, params)
    tiers = params.get("service_tier") not in (None, "default")
    for name, dollars in _entry(member).items():
        rate = _RATE.fullmatch(name)
        if (
            rate is not None
            and isinstance(dollars, int | float)
            and (rate["kind"] is None or rate["kind"] in kinds)
            and (rate["written"] is None or caches)
            and (rate["above"] is None or prompt_tokens > int(rate["above"]) * 1000)
            and (rate["tier"] is None or tiers)
        ):
            dearest[rate["side"]] = max(dearest[rate["side"]], dollars * 1e6)
    return Price(**dearest)


def _writes_cache(request: Request, params: Mapping[str, Any]) -> bool:
    """Whether the provider is told to keep the prompt, at a price of its own."""
    if "cache_control_injection_points" in params:
        return True
    contents = [message.get("content") for message in request.messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    tools = params.get("tools") or ()
    return any("cache_control" in each for each in (*request.messages, *parts, *tools))


def _modalities(request: Request, params: Mapping[str, Any]) -> Iterator[str]:
    """What tokens there may be other than those of text, in LiteLLM's words."""
    if request.needs & {"vision", "documents"}:
        yield "image"
    if request.needs & {"video"}:
        yield from ("video", "audio", "image")
    if request.needs & {"audio"} or params.get("audio"):
        yield "audio"
    if params.get("modalities"):
        yield from ("audio", "image", "video")


def max_output_tokens(member: PooledModel) -> int | None:
    """Completion tokens at which an answer ends by itself, or `None` where nobody knows."""
    if member.max_output_tokens is not None:
        return member.max_output_tokens
    limit = _entry(member).get("max_output_tokens")
    return int(limit) if limit else None


def context_window(member: PooledModel) -> int | None:
    """Tokens that the model holds, or `None` where nobody knows."""
    if member.context_window is not None:
        return member.context_window
    entry = _entry(member)
    window = entry.get("max_input_tokens") or entry.get("max_tokens")
    return int(window) if window else None


def cached_from(member: PooledModel) -> float:
    """Tokens from which its provider keeps a prompt in its cache; inf where it keeps none unasked.

    Anthropic keeps what is marked: `cache_control_injection_points` in `params` does that.
    """
    marked = "cache_control_injection_points" in member.params
    return math.inf if "claude" in member.model.lower() and not marked else CACHED_FROM


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
    listed = _entry(member).get(SUPPORTS[need])
    return need in _POSSIBLE_WHEN_UNKNOWN if listed is None else bool(listed)


def count_tokens(text: str) -> int:
    """Tokens of a text by OpenAI's tokenizer, which LiteLLM brings; other models' differ a little.

    Takes about a second for a million tokens: for where a guess will not do.
    """
    sound = text.encode("utf-8", "replace").decode()
    return len(litellm().encode(model="gpt-4o", text=sound))
