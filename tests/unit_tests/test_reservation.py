"""What is set aside for a call bounds what it can be billed."""

from __future__ import annotations

import json
import math
from typing import Any

import litellm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bestroute import Arm, PooledModel, Price
from bestroute.catalog import count_tokens
from bestroute.query import Request
from bestroute.reservation import Reservation, most_of, reserve
from tests.servers import Body

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}


def member(**fields: Any) -> PooledModel:
    """A model that nobody else knows, at $1 and $2 for 1M tokens."""
    price = {"input": 1, "output": 2}
    return PooledModel(**{"model": "hosted_vllm/m", "name": "m", "price": price, **fields})


def prompt_tokens(request: Request, **fields: Any) -> int:
    return round(reserve(request, member(max_output_tokens=1, **fields)).prompt * 1e6)


# The prompt

ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
TEXTS = st.text() | st.text(st.characters(max_codepoint=0x7F)) | st.sampled_from(["\U0001f9d1" * 9])
CHATS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": TEXTS}), min_size=1, max_size=6)


def as_openai_counts(messages: list[Body]) -> int:
    """OpenAI's documented rule: three tokens a message, three for the answer's beginning."""
    return 3 + sum(3 + count_tokens(m["role"]) + count_tokens(m["content"]) for m in messages)


@given(CHATS)
@settings(deadline=None, max_examples=200)
def test_no_text_is_more_tokens(messages: list[Body]) -> None:
    asked = [*messages, {"role": "user", "content": "?"}]
    assert as_openai_counts(asked) <= prompt_tokens(Request.build(asked))


@given(CHATS)
@settings(deadline=None, max_examples=100)
def test_nor_are_its_bytes_and_its_tags(messages: list[Body]) -> None:
    """The worst of tokenizers: a token a byte, and eight around every message."""
    asked = [*messages, {"role": "user", "content": "?"}]
    worst = sum(8 + len(m["content"].encode(errors="surrogatepass")) for m in asked)
    assert worst <= prompt_tokens(Request.build(asked))


def test_everything_that_is_sent_counts() -> None:
    plain = prompt_tokens(Request.build("hi"))

    class Answer(BaseModel):
        """A long description that a provider is sent as well."""

        number: int

    for params in (
        {"tools": [TOOL]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": TOOL}}},
        {"response_format": Answer},
    ):
        sent = params.get("tools") or params["response_format"]
        schema = Answer.model_json_schema() if sent is Answer else sent
        assert prompt_tokens(Request.build("hi", params)) > plain + len(json.dumps(schema))
        assert prompt_tokens(Request.build("hi"), params=params) > plain + len(json.dumps(schema))
    called = {"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 500}}]}
    assert prompt_tokens(Request.build([called, {"role": "user", "content": "hi"}])) > plain + 500


def test_a_context_window_holds_no_more() -> None:
    assert prompt_tokens(Request.build("hi"), context_window=90) == 90
    assert prompt_tokens(Request.build("x" * 100), context_window=10_000) < 400


def test_images_are_bounded_by_the_window_alone() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    request = Request.build([{"role": "user", "content": [image]}])
    assert prompt_tokens(request, context_window=8000) == 8000
    unknown = reserve(request, member(max_output_tokens=1))
    assert "give its context_window" in unknown.unknown
    assert math.isinf(unknown.dollars(1))
    free = member(price={"input": 0, "output": 1}, max_output_tokens=1)
    assert reserve(request, free).dollars(1) == pytest.approx(1e-6)


# The answer


@pytest.mark.parametrize(
    ("fields", "params", "tokens"),
    [
        ({}, {"max_tokens": 7}, 7),
        ({}, {"max_completion_tokens": 7}, 7),
        ({}, {"max_completion_tokens": 7, "max_tokens": 9}, 9),
        ({"params": {"max_tokens": 5}}, {}, 5),
        ({"params": {"max_tokens": 5}}, {"max_tokens": 7}, 7),
        ({"max_output_tokens": 11}, {}, 11),
        ({"max_output_tokens": 11}, {"max_tokens": 7}, 7),
        ({}, {"extra_body": {"max_tokens": 13}}, 13),
        ({"model": "openai/gpt-4o"}, {}, 16384),
    ],
)
def test_where_an_answer_ends(fields: Any, params: Any, tokens: int) -> None:
    reservation = reserve(Request.build("hi", params), member(**fields))
    assert reservation.sample == pytest.approx(2 * tokens / 1e6)


def test_an_end_that_nobody_knows() -> None:
    assert "give max_tokens" in reserve(Request.build("hi"), member()).unknown
    free = member(price={"input": 1, "output": 0})
    assert reserve(Request.build("hi"), free).unknown == ""
    assert "no price" in reserve(Request.build("hi"), member(price=None)).unknown


def test_an_arm_pays_for_each_prompt() -> None:
    known = Reservation(prompt=3.0, sample=1.0)
    assert most_of(Arm("m", 5), member(native_n=True), known) == 8
    assert most_of(Arm("m", 5), member(native_n=True, max_native_n=2), known) == 14
    assert most_of(Arm("m", 5), member(native_n=False), known) == 20


# The price


def rates(model: str, params: Body | None = None, content: Any = "hi") -> Price:
    """$ per 1M tokens that are reckoned with."""
    given = {"max_tokens": 1_000_000, **(params or {})}
    request = Request.build([{"role": "user", "content": content}], given)
    reservation = reserve(request, PooledModel(model=model))
    tokens = reserve(request, PooledModel(model=model, price=Price(input=1, output=1)))
    return Price(input=reservation.prompt / tokens.prompt, output=reservation.sample)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of LiteLLM's map, with all kinds of prices."""
    entry = {
        "litellm_provider": "openai",
        "max_input_tokens": 1_000_000,
        "input_cost_per_token": 1e-6,
        "cache_read_input_token_cost": 0.1e-6,
        "cache_creation_input_token_cost": 1.25e-6,
        "cache_creation_input_token_cost_above_1hr": 2e-6,
        "input_cost_per_token_above_200k_tokens": 3e-6,
        "input_cost_per_token_priority": 1.75e-6,
        "input_cost_per_token_batches": 0.5e-6,
        "input_cost_per_audio_token": 40e-6,
        "output_cost_per_token": 4e-6,
        "output_cost_per_reasoning_token": 6e-6,
        "output_cost_per_token_above_200k_tokens": 8e-6,
        "output_cost_per_audio_token": 80e-6,
    }
    monkeypatch.setitem(litellm.model_cost, "listed", entry)
    return "openai/listed"


def test_the_dearest_rate_that_may_apply(listed: str) -> None:
    usual = rates(listed)
    assert (usual.input, usual.output) == (pytest.approx(1), pytest.approx(6))
    cached = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    assert rates(listed, content=cached).input == pytest.approx(2)
    marked = {**TOOL, "cache_control": {"type": "ephemeral"}}
    assert rates(listed, {"tools": [marked]}).input == pytest.approx(2)
    long = rates(listed, content="x" * 210_000)
    assert (long.input, long.output) == (pytest.approx(3), pytest.approx(8))
    assert rates(listed, {"service_tier": "auto"}).input == pytest.approx(1.75)
    spoken = rates(listed, {"modalities": ["text", "audio"], "audio": {"voice": "x"}})
    assert spoken.output == pytest.approx(80)


def test_the_price_in_the_pool_is_the_whole_price(listed: str) -> None:
    own = PooledModel(model=listed, price=Price(input=1, output=1, cached_input=2))
    reservation = reserve(Request.build("x" * 210_000, {"max_tokens": 10}), own)
    assert reservation.sample == pytest.approx(10e-6)
    assert reservation.prompt == pytest.approx(2 * 0.21, rel=0.01)


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini/gemini-2.5-pro"]
)
@given(prompt=st.integers(1, 300_000), answer=st.integers(0, 8000), cached=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_litellm_bills_no_more(model: str, prompt: int, answer: int, cached: float) -> None:
    """Its own calculator, over what its map says of real models."""
    usage = litellm.Usage(
        prompt_tokens=prompt,
        completion_tokens=answer,
        prompt_tokens_details={"cached_tokens": round(prompt * cached)},
    )
    response = litellm.ModelResponse(model=model, usage=usage)
    billed = litellm.completion_cost(response, model=model)
    request = Request.build("x" * prompt, {"max_tokens": answer or 1})
    assert billed <= reserve(request, PooledModel(model=model)).dollars(1) + 1e-12
