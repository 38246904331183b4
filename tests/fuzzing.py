"""Hostile inputs for hypothesis, and how many of them.

BESTROUTE_FUZZ is the number of cases of all fuzz tests together: 500 where it is not set, 10,000
or more in the nightly run (`BESTROUTE_FUZZ=10000 pytest tests/unit_tests -k fuzz_ --timeout 3600`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bestroute.errors import BestRouteError

CASES = int(os.environ.get("BESTROUTE_FUZZ", "500"))


def cases(share: float) -> Callable[[Any], Any]:
    """A test takes so much of all cases, each in its own time."""
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
    return settings(
        max_examples=max(1, round(share * CASES)),
        deadline=None,
        suppress_health_check=[*slow, HealthCheck.function_scoped_fixture],
        print_blob=True,
    )


def only_ours(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a call gives; `None` where it raises an error of ours. Any other comes out."""
    try:
        return call(*args, **options)
    except BestRouteError as error:
        assert str(error).strip(), "an error says what is wrong"
        return None


# Values

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates, NUL, controls too
long_text = st.builds(
    lambda piece, size: (piece * size)[:size],
    st.sampled_from(["x", "word ", "\U0001f600", "\ud800", "1,", "\n", "((", "é"]),
    st.sampled_from([10_000, 1_000_000]),
)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**30), 2**63, float("nan"), float("inf"), 1e308, 1e-320]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, any_text, st.binary(max_size=8))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), any_text, st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(any_text, inner, max_size=4)
    ),
    max_leaves=12,
)
junk = st.one_of(
    scalars,
    plain,
    st.sampled_from([object(), {1, 2}, (), [[]], {}, {"": None}, {1: 2}, lambda: 1, int, 1j]),
)


def nested(depth: int) -> Any:
    """Lists and objects in each other, so deep."""
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def deep() -> st.SearchStrategy[Any]:
    """Nested plain data, up to far beyond what recursion bears."""
    return st.sampled_from([5, 60, 900, 20_000]).map(nested)


def sometimes(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is usual, else junk."""
    return st.one_of(usual, usual, usual, usual, junk)


# Chats

_parts = st.fixed_dictionaries(
    {"type": sometimes(st.sampled_from(["text", "image_url", "file", "input_audio", "video_url"]))},
    optional={
        "text": sometimes(any_text),
        "image_url": sometimes(st.fixed_dictionaries({"url": any_text})),
        "file": sometimes(st.fixed_dictionaries({"file_data": any_text, "format": any_text})),
        "input_audio": junk,
        "cache_control": junk,
    },
)
_calls = st.fixed_dictionaries(
    {},
    optional={
        "id": sometimes(any_text),
        "type": sometimes(st.just("function")),
        "function": sometimes(
            st.fixed_dictionaries({"name": any_text, "arguments": sometimes(any_text)})
        ),
        "index": junk,
        "nested": deep(),
    },
)
_content = st.one_of(
    any_text, long_text, st.none(), st.lists(sometimes(_parts), max_size=3), deep()
)
_message = st.fixed_dictionaries(
    {
        "role": sometimes(
            st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
        )
    },
    optional={
        "content": sometimes(_content),
        "name": sometimes(any_text),
        "tool_calls": sometimes(st.lists(sometimes(_calls), max_size=3)),
        "tool_call_id": sometimes(any_text),
        "function_call": junk,
        "made_by": sometimes(st.sampled_from(["small", "big"])),
        "reasoning_content": sometimes(any_text),
        "thinking_blocks": junk,
    },
)
chats = st.one_of(st.lists(sometimes(_message), min_size=1, max_size=4), any_text, long_text, junk)

# Options

_tools = st.lists(
    sometimes(
        st.fixed_dictionaries(
            {"type": sometimes(st.just("function"))},
            optional={"function": sometimes(st.fixed_dictionaries({"name": any_text}))},
        )
    ),
    max_size=2,
)
_shares = st.sampled_from([0, 0.5, 1, 2, -1])
_counts = st.sampled_from([0, 1, 2, 99, -1])
_known: dict[str, st.SearchStrategy[Any]] = {
    "threshold": _shares,
    "max_drop": _shares,
    "target_cost": _shares,
    "confidence": _shares,
    "on_uncertified": st.sampled_from(["raise", "reference"]),
    "model": st.sampled_from(["small", "big:1", "openai/big", "small:99"]),
    "models": st.lists(st.sampled_from(["small", "big", "none"]), max_size=2),
    "max_n": _counts,
    "streaming_max_n": _counts,
    "max_cost": _shares,
    "cached_tokens": st.dictionaries(st.sampled_from(["small", "x"]), _counts, max_size=2),
    "query_text": st.one_of(any_text, long_text),
    "query_turns": _counts,
    "query_pattern": st.sampled_from(["(.*)", "(", "a|b", "(?P<x>.)"]),
    "answer_schema": plain,
    "temperature": _shares,
    "max_tokens": _counts,
    "max_completion_tokens": _counts,
    "stop": any_text,
    "seed": _counts,
    "timeout": _shares,
    "tools": _tools,
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "response_format": st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["json_object", "json_schema", "text"])}),
        plain,
    ),
    "extra_body": plain,
    "logit_bias": junk,
    "n": _counts,
    "stream": st.booleans(),
}
call_options = st.fixed_dictionaries(
    {}, optional={name: sometimes(usual) for name, usual in _known.items()}
)
some_options = st.lists(st.sampled_from(sorted(_known)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: sometimes(_known[name]) for name in names})
)
