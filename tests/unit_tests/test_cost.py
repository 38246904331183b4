"""The cost estimate: its formula, what it falls back on, and that a missing price is said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bestroute import Arm, ModelPool
from bestroute.catalog import CACHED_FROM
from bestroute.cost import CostModel, TokenStats
from bestroute.errors import MissingPriceError, UnknownModelError


def pool(**fields: Any) -> ModelPool:
    small = {"model": "openai/small", "name": "small", "max_samples": 128, **fields}
    return ModelPool.from_dict({"models": [small, {"model": "openai/big", "reference": True}]})


@given(
    n=st.integers(1, 128),
    limit=st.integers(1, 128),
    native=st.booleans(),
    price=st.tuples(st.floats(0, 100), st.floats(0, 100)),
    prompt=st.integers(0, 10_000),
    output=st.floats(0, 5_000),
)
def test_the_prompt_is_billed_once_a_call_and_the_output_n_times(
    n: int, limit: int, native: bool, price: tuple[float, float], prompt: int, output: float
) -> None:
    prices = {"input": price[0], "output": price[1]}
    model = CostModel(
        pool(price=prices, native_n=native, max_native_n=limit),
        {"small": TokenStats(prompt_base=3, prompt_ratio=0.5, output_tokens=output)},
    )
    calls = math.ceil(n / limit) if native else n
    expected = calls * (3 + prompt / 2) * price[0] + n * output * price[1]
    assert model.estimate(Arm("small", n), "x" * prompt) == pytest.approx(expected / 1e6)


@given(
    st.lists(st.integers(0, 5_000), min_size=1, max_size=4),
    st.lists(st.one_of(st.just(math.nan), st.floats(0, 5_000)), min_size=3, max_size=3),
)
def test_many_prompts_cost_what_each_costs(lengths: list[int], expected: list[float]) -> None:
    members = pool(price={"input": 2, "output": 3}, native_n=True, max_native_n=2)
    model = CostModel(members, {"small": TokenStats(prompt_base=-9, output_tokens=11)})
    arms = [Arm("small", n) for n in (1, 2, 3)]
    found = model.estimates(arms, lengths, np.array([expected] * len(lengths)))
    for row, length in zip(found, lengths, strict=True):
        for cost, arm, tokens in zip(row, arms, expected, strict=True):
            known = None if math.isnan(tokens) else tokens
            one = model.estimate(arm, "x" * length, output_tokens=known)
            assert cost == pytest.approx(one)


@given(
    n=st.integers(1, 9),
    native=st.booleans(),
    prompt=st.integers(0, 5_000),
    cached=st.integers(-10, 10_000),
    price=st.floats(0, 2),
)
def test_every_call_reads_what_is_cached_at_its_own_price(
    n: int, native: bool, prompt: int, cached: int, price: float
) -> None:
    prices = {"input": 2, "output": 5, "cached_input": price}
    model = CostModel(
        pool(price=prices, native_n=native), {"small": TokenStats(prompt_ratio=1, output_tokens=7)}
    )
    read = min(max(cached, 0), prompt)
    calls = 1 if native else n
    expected = calls * ((prompt - read) * 2 + read * price) + n * 7 * 5
    found = model.estimate(Arm("small", n), "x" * prompt, cached_tokens=cached)
    assert found == pytest.approx(expected / 1e6)


@given(
    n=st.integers(1, 9),
    prompts=st.lists(st.integers(0, 2 * CACHED_FROM), min_size=1, max_size=4),
    price=st.one_of(st.none(), st.floats(0, 2)),
    limit=st.integers(1, 9),
)
def test_a_long_prompt_sent_again_is_read_from_the_cache(
    n: int, prompts: list[int], price: float | None, limit: int
) -> None:
    """One at a time, many at once, and by rates: the same."""
    prices = {"input": 2, "output": 5, "cached_input": price}
    model = CostModel(
        pool(price=prices, native_n=True, max_native_n=limit),
        {"small": TokenStats(prompt_ratio=1, output_tokens=7)},
    )
    arm, calls = Arm("small", n), math.ceil(n / limit)
    many = model.estimates([arm], prompts, np.full((len(prompts), 1), math.nan), again=True)
    for prompt, found in zip(prompts, many[:, 0], strict=True):
        reading = price if price is not None and prompt >= CACHED_FROM else 2
        expected = (calls * prompt * reading + n * 7 * 5) / 1e6
        assert found == pytest.approx(expected)
        assert model.estimate(arm, "x" * prompt, again=True) == pytest.approx(expected)
        rates = model.rates(arm, cached=prompt >= CACHED_FROM)
        assert rates[0] * prompt + rates[1] * 7 == pytest.approx(expected)


def test_without_a_cached_price_a_cache_saves_nothing() -> None:
    model = CostModel(pool(price={"input": 2, "output": 5}))
    arm, prompt = Arm("small", 2), "x" * 400
    assert model.estimate(arm, prompt, cached_tokens=90) == model.estimate(arm, prompt)


def test_a_router_s_word_on_the_length_wins() -> None:
    model = CostModel(pool(price={"input": 0, "output": 1}, native_n=True))
    assert model.estimate(Arm("small", 2), "hi", output_tokens=10) == pytest.approx(20e-6)


def test_without_statistics_it_guesses_from_characters() -> None:
    model = CostModel(pool())
    assert model.prompt_tokens("small", "x" * 400) == 100
    assert model.output_tokens("small") == 256


def test_no_prompt_has_fewer_than_no_tokens() -> None:
    model = CostModel(pool(), {"small": TokenStats(prompt_base=-50)})
    assert model.prompt_tokens("small", "hi") == 0


@pytest.mark.parametrize("field", ["prompt_base", "prompt_ratio", "output_tokens"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_statistics_are_finite(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        TokenStats(**{field: value})


def test_a_missing_price_is_named_with_the_remedy() -> None:
    with pytest.raises(MissingPriceError, match=r"'small' \(openai/small\).*price: \{input"):
        CostModel(pool()).price("small")


def test_a_model_outside_the_pool_is_unknown() -> None:
    with pytest.raises(UnknownModelError, match="'other'"):
        CostModel(pool()).price("other")


@given(
    st.integers(0, 9_000),
    st.one_of(st.none(), st.lists(st.floats(0, 5_000), min_size=6, max_size=6)),
    st.one_of(st.none(), st.integers(0, 9_000)),
)
def test_the_whole_pool_costs_what_each_arm_costs(
    length: int, expected: list[float] | None, held: int | None
) -> None:
    members = ModelPool.from_dict(
        {
            "models": [
                {"model": "openai/a", "max_samples": 3, "native_n": True, "max_native_n": 2}
                | {"price": {"input": 2, "output": 3, "cached_input": 1}},
                {"model": "nobody/b", "max_samples": 2, "native_n": False},
                {"model": "openai/c", "reference": True, "price": {"input": 9, "output": 8}}
                | {"native_n": True},
            ]
        }
    )
    model = CostModel(members, {"openai/a": TokenStats(prompt_base=-9, prompt_ratio=0.9)})
    held_tokens = {} if held is None else {"openai/a": held, "openai/c": held}
    tokens = None if expected is None else np.array(expected)
    for again, found in enumerate(model.of_prompt(length, tokens, held_tokens)):
        for place, (cost, arm) in enumerate(zip(found, members.arms, strict=True)):
            if arm.model == "nobody/b":
                assert math.isnan(cost)
                continue
            one = model.estimate(
                arm,
                "x" * length,
                output_tokens=None if expected is None else expected[place],
                cached_tokens=held_tokens.get(arm.model, 0),
                again=bool(again),
            )
            assert cost == pytest.approx(one)
