"""The knobs of one call, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bestroute import Arm, BestRoute, Cascade
from bestroute.errors import (
    BudgetError,
    ConfigError,
    NoEligibleArmError,
    RequestError,
    SamplingError,
    UnknownModelError,
)
from bestroute.events import Decided, Delta, Drawing, Drew, Selected
from bestroute.query import Request
from bestroute.reservation import most_of, reserve
from bestroute.response import RoutedResponse
from bestroute.sampling import Sampler
from tests.servers import ChatServer, Reply
from tests.unit_tests.test_engine import MATCH, TOOL, asked, by_model, failing, pool, routed

# A model that the call names


@pytest.mark.parametrize("name", ["middle", "openai/middle", "middle:1"])
def test_a_named_model_answers_without_routing(name: str, chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    response = engine.complete("hi", model=name)
    assert response.model == "middle"
    assert response.decision.policy == "named"
    assert response.decision.match_probabilities == {}
    assert set(response.decision.excluded.values()) == {"the call names middle"}
    assert asked(chat_server) == {"middle": 1}
    assert engine.router is not None
    assert engine.router.read == []  # type: ignore[attr-defined]


def test_a_named_arm_is_drawn_as_often_as_it_says(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    assert engine.route("hi", model="small:3").arm == Arm("small", 3)
    assert engine.route("hi", model="small:3", max_n=2).arm == Arm("small", 2)
    assert engine.route("hi", model="small:3", temperature=0).arm == Arm("small", 1)


def test_nobody_stands_in_for_a_named_model(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small")
    with pytest.raises(SamplingError, match="small: "):
        routed(chat_server).complete("hi", model="small")
    assert set(asked(chat_server)) == {"small"}


def test_a_named_model_that_cannot_or_is_not_there(chat_server: ChatServer) -> None:
    engine = routed(chat_server, models=pool(chat_server, context_window=10))
    with pytest.raises(NoEligibleArmError, match="context window of 10"):
        engine.complete("word " * 100, model="small")
    with pytest.raises(UnknownModelError, match="'huge'; the pool holds: small, middle, big"):
        engine.complete("hi", model="huge")
    with pytest.raises(ConfigError, match="leave out model="):
        engine.complete("hi", model="small", threshold=0.5)


# Models among which it is routed


def test_a_call_may_be_routed_among_some_models_only(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    assert engine.route("hi").arm == Arm("small", 3)
    assert engine.route("hi", models=("middle", "big")).arm == Arm("middle", 1)
    decision = engine.route("hi", models=("big",))
    assert decision.arm == Arm("big", 1)
    assert set(decision.excluded.values()) == {"the call is for big only"}


def test_of_one_model_the_policy_still_chooses_n(chat_server: ChatServer) -> None:
    engine = routed(chat_server, threshold=0.4)
    assert engine.route("hi", models=("small",)).arm == Arm("small", 2)
    assert engine.route("hi", models=("small",), threshold=0.9).arm == Arm("small", 3)  # the best


def test_nobody_else_stands_in_for_them(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small")
    with pytest.raises(SamplingError, match="small: "):
        routed(chat_server).complete("hi", models=("small",))
    assert set(asked(chat_server)) == {"small"}


def test_models_that_are_not_there_or_not_allowed(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    with pytest.raises(UnknownModelError, match="'huge'"):
        engine.route("hi", models=("small", "huge"))
    with pytest.raises(NoEligibleArmError, match="the call is for big only"):
        engine.route("hi", model="small", models=("big",))


def test_the_longest_prompt_of_each_model_is_known(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["1", "2", "3"]))  # they disagree
    engine = BestRoute(pool(chat_server, native_n=False), policy=Cascade())
    response = engine.complete("one two three")
    assert response.usage_by_model["small"].prompt_tokens > 3
    assert response.prompt_tokens_by_model == {"small": 3, "big": 3}


# What a request may cost


def most(engine: BestRoute, arm: str, **params: Any) -> float:
    """$ that an arm can cost at most for "hi"."""
    chosen = Arm.parse(arm)
    member = engine.pool[chosen.model]
    return most_of(chosen, member, reserve(Request.build("hi", params), member))


def test_max_cost_rules_out_what_may_be_dearer(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    cap = most(engine, "middle:2", max_tokens=20)
    decision = engine.route("hi", threshold=1.0, max_cost=cap, max_tokens=20)
    assert set(decision.match_probabilities) == set(MATCH) - {"big:1"} | {"middle:2"}
    assert "more than max_cost" in decision.excluded["big:1"]
    with pytest.raises(BudgetError, match="more than max_cost") as caught:
        engine.route("hi", max_cost=cap / 1000, max_tokens=20)
    assert (caught.value.left, caught.value.frees_in) == (cap / 1000, None)


def test_among_what_max_cost_allows_the_estimate_decides(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    without = engine.route("hi", max_tokens=20)
    capped = engine.route("hi", max_cost=1, max_tokens=20)
    assert (capped.arm, capped.estimated_costs) == (without.arm, without.estimated_costs)


def test_max_cost_counts_what_was_paid_before(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["1", "2", "3"]))  # they disagree
    engine = BestRoute(pool(chat_server), policy=Cascade())
    big, small = (most(engine, arm, max_tokens=20) for arm in ("big:1", "small:3"))
    free = engine.complete("hi", max_cost=small + big, max_tokens=20)
    assert free.model == "big"
    assert free.degraded == ()
    tight = engine.complete("hi", max_cost=big, max_tokens=20)
    assert tight.model == "small"
    assert "the reference cannot answer" in tight.steps[-1]
    assert "do not pay for big:1" in tight.degraded[-1]


def test_max_cost_does_not_speak_of_what_nobody_wanted(chat_server: ChatServer) -> None:
    chat_server.reply = "4"  # they agree
    engine = BestRoute(pool(chat_server), policy=Cascade())
    content = engine.complete("hi", max_cost=most(engine, "big:1", max_tokens=20), max_tokens=20)
    assert (content.model, content.degraded) == ("small", ())


def test_max_cost_needs_prices(chat_server: ChatServer) -> None:
    models = pool(chat_server, price=None, model="hosted_vllm/nobody-prices-this")
    decision = BestRoute(models).route("hi", max_cost=1, max_tokens=20)
    assert "no price" in decision.excluded["small:1"]
    assert decision.arm.model == "middle"


def test_max_cost_needs_an_end_of_answers(chat_server: ChatServer) -> None:
    models = pool(chat_server, max_output_tokens=20)
    decision = BestRoute(models).route("hi", max_cost=1)
    assert decision.arm.model == "small"
    assert "give max_tokens" in decision.excluded["big:1"]
    with pytest.raises(BudgetError, match="give max_tokens"):
        BestRoute(models).route("hi", max_cost=1, models=["big"])


# Prompt caches


def test_a_cached_prompt_keeps_the_session_where_it_is(chat_server: ChatServer) -> None:
    price = {"input": 6.0, "output": 1.0, "cached_input": 0.5}
    match = {"small:1": 0.9, "middle:1": 1.0, "big:1": 1.0}
    engine = routed(chat_server, models=pool(chat_server, price=price), match=match)
    ask = "word " * 4000
    fresh, cached = engine.route(ask), engine.route(ask, cached_tokens={"small": 4900})
    assert (fresh.arm, cached.arm) == (Arm("middle", 1), Arm("small", 1))
    saved = (6.0 - 0.5) * 4900 / 1e6
    assert fresh.estimated_costs["small:1"] - cached.estimated_costs["small:1"] == (
        pytest.approx(saved)
    )
    with pytest.raises(UnknownModelError, match="smal"):
        engine.route(ask, cached_tokens={"smal": 1})


IMPOSSIBLE = (
    {"max_n": 0},
    {"max_cost": -1},
    {"max_cost": float("nan")},
    {"cached_tokens": {"small": -1}},
)


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_impossible_options(options: Any, chat_server: ChatServer) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} "):
        routed(chat_server).route("hi", **options)


WRONG = (
    {"max_n": "two"},
    {"max_n": 1.5},
    {"max_n": True},
    {"streaming_max_n": "1"},
    {"max_cost": "0.1"},
    {"threshold": "high"},
    {"max_drop": [0.1]},
    {"target_cost": {}},
    {"confidence": "0.9", "max_drop": 0.1},
    {"model": 3},
    {"models": "small"},
    {"models": 3},
    {"cached_tokens": ["small"]},
    {"cached_tokens": {"small": "many"}},
    {"query_turns": "2"},
    {"query_pattern": 3},
    {"query_text": b"?"},
    {"answer_schema": "object"},
    {"max_tokens": "9"},
    {"temperature": "0"},
)


@pytest.mark.parametrize("options", WRONG)
def test_options_of_a_wrong_type(options: Any, chat_server: ChatServer) -> None:
    with pytest.raises(ConfigError, match=rf"^{next(iter(options))} .*; expected "):
        routed(chat_server).route("hi", **options)


def test_options_of_a_right_type(chat_server: ChatServer) -> None:
    options: Any = {"threshold": np.float32(0.5), "max_n": np.int64(2), "models": {"small", "big"}}
    given = {"query_pattern": re.compile("h(i)"), "cached_tokens": {"small": np.int64(3)}}
    assert routed(chat_server).route("hi", **options, **given).arm.model == "small"


def test_parameters_of_tools_need_tools(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    engine.complete("hi", tools=[], tool_choice="auto", parallel_tool_calls=False, max_tokens=9)
    assert chat_server.requests[-1]["max_tokens"] == 9
    assert not chat_server.requests[-1].keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_what_the_router_reads_is_the_callers_choice(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    ask = "Context: nothing\nQuestion: why?"
    engine.route(ask, query_pattern="Question: (.*)")
    engine.route([{"role": "user", "content": each} for each in "abc"], query_turns=2)
    engine.route(ask, query_text="so?")
    assert engine.router.read == ["why?", "b\nc", "so?"]  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="query_turns"):
        engine.route(ask, query_turns=0)


# Streaming


async def test_fewer_samples_when_streaming(chat_server: ChatServer) -> None:
    chat_server.reply = "one two three"
    engine = BestRoute(pool(chat_server), policy=Cascade())
    assert engine.complete("hi", streaming_max_n=2).decision.arm == Arm("small", 3)
    items = [item async for item in engine.astream("hi", streaming_max_n=2)]
    assert isinstance(items[-1], RoutedResponse)
    assert items[-1].decision.arm == Arm("small", 2)
    with_both = list(engine.stream("hi", streaming_max_n=3, max_n=2))[-1]
    assert isinstance(with_both, RoutedResponse)
    assert with_both.decision.arm == Arm("small", 2)
    routed_one = routed(chat_server, match={"small:1": 0.5, "small:3": 0.9, "big:1": 1.0})
    pieces = list(routed_one.stream("hi", threshold=0.5, streaming_max_n=1))
    assert [piece.text for piece in pieces] == ["one", " two", " three", "one two three"]


# Events


def kinds(events: Sequence[object]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_events_tell_all_in_order(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["1", "2", "3"]), big="four five")
    engine = BestRoute(pool(chat_server), policy=Cascade())
    told = ["Decided", "Drawing", "Drew", "Drawing", "Drew", "Selected", "RoutedResponse"]
    whole = [event async for event in engine.aevents("hi")]
    assert kinds(whole) == told
    decided, drawing, drew = whole[:3]
    assert isinstance(decided, Decided)
    assert decided.decision.arm == Arm("small", 3)
    assert isinstance(drawing, Drawing)
    assert (drawing.index, drawing.model, drawing.n) == (0, "small", 3)
    assert isinstance(drew, Drew)
    assert [sample.text for sample in drew.samples] == ["1", "2", "3"]
    assert len(drew.calls) == 1
    assert kinds(list(engine.events("hi"))) == told
    streamed = list(engine.events("hi", streaming=True))
    assert kinds(streamed) == [*told[:4], "Delta", "Delta", *told[4:]]


def test_a_selection_is_told_with_what_is_invalid(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["{}", "no", "{}"]))
    engine = BestRoute(pool(chat_server), policy=Cascade(agreement=0.6))
    events = list(engine.events("hi", response_format={"type": "json_object"}))
    (selected,) = (event for event in events if isinstance(event, Selected))
    assert selected.invalid == {1: "it is not JSON"}
    assert selected.winner in (0, 2)
    assert [sample.text for sample in selected.samples] == ["{}", "no", "{}"]


async def test_nothing_is_sent_before_a_drawing_was_seen(chat_server: ChatServer) -> None:
    events = routed(chat_server).aevents("hi")
    assert kinds([await anext(events), await anext(events)]) == ["Decided", "Drawing"]
    assert chat_server.requests == []
    await events.aclose()
    assert chat_server.requests == []


def test_a_draw_that_failed_is_told_with_its_calls(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small")
    engine = routed(chat_server, sampler=Sampler(retries=0))
    drew = [event for event in engine.events("hi") if isinstance(event, Drew)]
    assert [(each.model, each.asked, len(each.samples)) for each in drew] == [
        ("small", 3, 0),
        ("middle", 1, 1),
    ]
    assert all(call.error for call in drew[0].calls)


def test_deltas_are_the_winners(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["a b", "c d", "a b"]))
    engine = BestRoute(pool(chat_server), policy=Cascade(agreement=0.6))
    deltas = [item for item in engine.events("hi", streaming=True) if isinstance(item, Delta)]
    assert deltas == [Delta("a b")]


def call(arguments: str) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "find", "arguments": arguments}}


async def test_a_streamed_tool_call_that_is_broken_is_not_shown(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(
        small=Reply([{"tool_calls": [call('{"a": ')]}]),
        middle=Reply([{"tool_calls": [call("{}")]}]),
    )
    engine = routed(chat_server, match={"small:1": 0.9, "middle:1": 0.8, "big:1": 1.0})
    items = [item async for item in engine.astream("hi", tools=[TOOL])]
    assert items[:-1] == [Delta(tool_calls=({"index": 0, **call("{}")},))]
    response = items[-1]
    assert isinstance(response, RoutedResponse)
    assert response.model == "middle"
    assert "not a JSON object" in response.degraded[0]
    assert set(response.usage_by_model) == {"small", "middle"}


def test_a_broken_sample_is_no_disagreement(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(['{"a": 1}', "no", '{"a": 1}']))
    engine = BestRoute(pool(chat_server), policy=Cascade())
    response = engine.complete("hi", response_format={"type": "json_object"})
    assert response.model == "small"
    assert response.text == '{"a": 1}'


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("treshold", "threshold"), ("max_drp", "max_drop"), ("querytext", "query_text")],
)
def test_a_misspelt_option_is_not_sent_to_the_provider(
    wrong: str, right: str, chat_server: ChatServer
) -> None:
    with pytest.raises(ConfigError, match=f"'{wrong}'; did you mean '{right}'"):
        routed(chat_server).complete("hi", **{wrong: 1})  # type: ignore[arg-type]
    assert chat_server.requests == []
    routed(chat_server).complete("hi", top_k=5, mode="fast")  # type: ignore[call-arg]
