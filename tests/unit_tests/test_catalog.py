"""The pool's word first, then LiteLLM's map, and nothing that is true of another provider."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bestroute import PooledModel, Price, catalog
from bestroute.errors import UnknownModelError


def member(model: str, **fields: Any) -> PooledModel:
    return PooledModel(model=model, name="m", **fields)


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o", "azure/gpt-4o"])
def test_litellm_s_map_fills_in_what_the_pool_leaves_out(model: str) -> None:
    price = catalog.price(member(model))
    assert price is not None and 0 < price.input < price.output
    assert (catalog.context_window(member(model)) or 0) >= 100_000
    assert catalog.can(member(model), "vision")
    assert catalog.native_n(member(model)) == 128


def test_prices_of_cached_prompts_come_from_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    entry = {"input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6}
    monkeypatch.setitem(litellm.model_cost, "openai/plain", entry)
    cached = {**entry, "cache_read_input_token_cost": 5e-7}
    monkeypatch.setitem(litellm.model_cost, "openai/cached", cached)
    assert catalog.price(member("openai/plain")) == Price(input=2, output=4)
    assert catalog.price(member("openai/cached")) == Price(input=2, output=4, cached_input=0.5)


@pytest.mark.parametrize(
    ("model", "params", "kept"),
    [
        ("openai/gpt-4o", {}, 1024),
        ("anthropic/claude-sonnet-4-5", {}, math.inf),
        ("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", {}, math.inf),
        ("anthropic/claude-sonnet-4-5", {"cache_control_injection_points": [{}]}, 1024),
    ],
)
def test_long_prompts_are_kept_unless_they_must_be_marked(
    model: str, params: dict[str, Any], kept: float
) -> None:
    assert catalog.cached_from(member(model, params=params)) == kept


def test_the_pool_s_word_wins() -> None:
    given: Any = {
        "price": {"input": 1, "output": 2},
        "context_window": 10,
        "vision": False,
        "native_n": False,
    }
    own = member("openai/gpt-4o", **given)
    assert catalog.price(own) == Price(input=1, output=2)
    assert catalog.context_window(own) == 10
    assert not catalog.can(own, "vision")
    assert catalog.native_n(own) == 1


def test_the_same_name_at_another_provider_is_another_model() -> None:
    own = member("hosted_vllm/gpt-4o")
    assert catalog.price(own) is None
    assert catalog.context_window(own) is None


def test_what_nobody_knows() -> None:
    own = member("openai/our-own-model")
    assert catalog.price(own) is None
    assert catalog.context_window(own) is None
    able = {need: catalog.can(own, need) for need in ("vision", "audio", "tools")}
    assert able == {"vision": False, "audio": False, "tools": True}
    assert catalog.can(own, "response_format")


def test_documents_and_video_are_known_of_some() -> None:
    assert catalog.can(member("anthropic/claude-sonnet-4-5"), "documents")
    assert catalog.can(member("gemini/gemini-2.5-pro"), "video")
    assert not catalog.can(member("openai/gpt-3.5-turbo"), "documents")
    assert not catalog.can(member("openai/gpt-4o"), "video")


def test_half_a_price_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    monkeypatch.setitem(litellm.model_cost, "openai/half", {"input_cost_per_token": 1e-6})
    assert catalog.price(member("openai/half")) is None


@pytest.mark.parametrize(("model", "n"), [("openai/x", 128), ("ollama/x", 1), ("mistral/x", 1)])
def test_native_n_follows_the_provider(model: str, n: int) -> None:
    assert catalog.native_n(member(model)) == n


def test_native_n_has_the_pool_s_limit() -> None:
    assert catalog.native_n(member("openai/x", max_native_n=8)) == 8


@pytest.mark.parametrize("model", ["opnai/gpt-4o", "no-such-model"])
def test_an_unknown_provider_is_one_clear_error(model: str) -> None:
    with pytest.raises(UnknownModelError, match=f"'m'.*{model}"):
        catalog.native_n(member(model))
    with pytest.raises(UnknownModelError, match=model):
        catalog.provider(member(model))


def test_a_provider_named_in_the_parameters_is_known() -> None:
    own = member("served-name", params={"custom_llm_provider": "openai"})
    assert catalog.provider(own) == "openai"
    assert catalog.native_n(own) == 128


def test_a_recorded_model_without_a_recording_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("litellm.custom_provider_map", [])
    with pytest.raises(UnknownModelError, match=r"'m'.*Recording\(rows\)\.install\(\).*--recorded"):
        catalog.provider(member("recorded/some"))
