"""Usage and cost add up, and an unknown price is not a free one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.samples import Call, Sample, Usage, total_cost, total_usage

USAGES = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    cached_tokens=st.integers(0, 100),
    reasoning_tokens=st.integers(0, 100),
    estimated=st.booleans(),
)


@given(st.lists(USAGES))
def test_usage_adds_up_field_by_field(usages: list[Usage]) -> None:
    total = total_usage(Call(model="a", requested=1, usage=each) for each in usages)
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
        assert getattr(total, name) == sum(getattr(each, name) for each in usages)
    assert total.total_tokens == sum(each.total_tokens for each in usages)
    assert total.estimated == any(each.estimated for each in usages)


def call(cost: float | None, tokens: int) -> Call:
    return Call(model="a", requested=1, cost=cost, usage=Usage(completion_tokens=tokens))


@pytest.mark.parametrize(
    ("calls", "cost"),
    [
        ([], 0.0),
        ([call(0.5, 3), call(0.25, 1)], 0.75),
        ([call(0.5, 3), call(None, 1)], None),
        ([call(0.5, 3), call(None, 0)], 0.5),  # failed: it used nothing
        ([call(0.5, 0)], 0.5),  # billed by the call
    ],
)
def test_cost_is_known_only_if_every_billed_call_s_is(
    calls: list[Call], cost: float | None
) -> None:
    assert total_cost(calls) == cost


def test_a_sample_without_text_reads_as_empty() -> None:
    tool = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    sample = Sample(model="a", message={"content": None, "tool_calls": [tool]})
    assert (sample.text, sample.tool_calls) == ("", [tool])
    assert Sample(model="a", message={"content": "x", "tool_calls": None}).tool_calls == []
