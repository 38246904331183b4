"""The engine end to end over HTTP: what is decided, asked, selected, billed and said."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bestroute import (
    Arm,
    BestRoute,
    Cascade,
    ModelPool,
    OneShot,
    Prediction,
    Price,
    RoutedResponse,
    Sample,
    asking,
)
from bestroute.errors import (
    ConfigError,
    MissingPriceError,
    NoEligibleArmError,
    PoolMismatchError,
    RouterNotTrained,
    SamplingError,
)
from bestroute.events import Delta
from bestroute.policy import Accept, Draw, State
from bestroute.rewards import FunctionReward, JudgeReward
from bestroute.sampling import Sampler
from tests.servers import ChatServer, Reply

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


def pool(server: ChatServer, small: int = 3, **fields: Any) -> ModelPool:
    members = [
        {"name": "small", "price": {"input": 1, "output": 1}, "max_samples": small, **fields},
        {"name": "middle", "price": {"input": 5, "output": 5}, "max_samples": 2},
        {"name": "big", "price": {"input": 50, "output": 50}, "reference": True},
    ]
    for member in members:
        member.setdefault("model", f"openai/{member['name']}")
        member["params"] = {**server.params, **member.get("params", {})}
    return ModelPool.from_dict({"models": members})


class Fixed:
    """A router that says the same of every query, and keeps what it read."""

    def __init__(self, models: ModelPool, match: Mapping[str, float]) -> None:
        self._arms = models.arms
        self._match = [match.get(str(arm), 0.0) for arm in models.arms]
        self.read: list[str] = []

    @property
    def arms(self) -> tuple[Arm, ...]:
        return self._arms

    def predict(self, queries: Sequence[str]) -> Prediction:
        self.read += queries
        return Prediction(self._arms, np.array([self._match] * len(queries)))


MATCH = {"small:1": 0.3, "small:2": 0.5, "small:3": 0.7, "middle:1": 0.8, "big:1": 1.0}


def routed(server: ChatServer, threshold: float = 0.6, **options: Any) -> BestRoute:
    models = options.pop("models", None) or pool(server)
    match = options.pop("match", MATCH)
    return BestRoute(models, router=Fixed(models, match), threshold=threshold, **options)


def asked(server: ChatServer) -> Counter[str]:
    """Samples asked of each model."""
    counts: Counter[str] = Counter()
    for body in server.requests:
        counts[body["model"]] += body.get("n", 1)
    return counts


def by_model(**replies: Reply | str) -> Callable[[dict[str, Any]], Reply | str]:
    return lambda body: replies.get(body["model"], "ok")


def failing(*models: str) -> Callable[[dict[str, Any]], Reply | str]:
    return by_model(**dict.fromkeys(models, Reply("no", status=401)))


# What can be built


def test_one_shot_needs_a_router_and_the_error_names_the_command(chat_server: ChatServer) -> None:
    for options in ({"threshold": 0.5}, {"policy": OneShot(0.5)}):
        with pytest.raises(RouterNotTrained, match="bestroute fit"):
            BestRoute(pool(chat_server), **options)
    with pytest.raises(RouterNotTrained, match="bestroute fit"):
        BestRoute(pool(chat_server)).complete("hi", threshold=0.5)


def test_contradicting_options(chat_server: ChatServer) -> None:
    with pytest.raises(ConfigError, match="not both"):
        routed(chat_server, policy=Cascade())
    models = pool(chat_server)
    with pytest.raises(ConfigError, match="needs a threshold"):
        BestRoute(models, router=Fixed(models, {}))


def test_a_router_for_other_arms_or_another_reference_is_refused(chat_server: ChatServer) -> None:
    fewer, more = pool(chat_server, small=2), pool(chat_server, small=3)
    with pytest.raises(PoolMismatchError, match="no head for small:3"):
        BestRoute(more, router=Fixed(fewer, {}), threshold=0.5)
    router = Fixed(more, {})
    router.reference = "small"  # type: ignore[attr-defined]
    with pytest.raises(PoolMismatchError, match="against the reference 'small'"):
        BestRoute(more, router=router, threshold=0.5)


def test_a_missing_price_is_told_when_the_engine_is_built_not_later(
    chat_server: ChatServer,
) -> None:
    models = pool(chat_server, price=None)
    with pytest.raises(MissingPriceError, match="'small'"):
        BestRoute(models, router=Fixed(models, {}), threshold=0.5)
    response = BestRoute(models).complete("hi")  # the cascade needs none
    assert response.text == "ok"
    assert response.cost is None and response.estimated_savings is None


# Decisions


def test_route_decides_and_calls_nobody(chat_server: ChatServer) -> None:
    decision = routed(chat_server, threshold=0.6).route("hi")
    assert decision.arm == Arm("small", 3)
    assert (decision.match_probability, decision.threshold) == (0.7, 0.6)
    assert decision.match_probabilities == {**MATCH, "middle:2": 0.0}
    assert set(decision.estimated_costs) == {str(arm) for arm in pool(chat_server).arms}
    assert decision.estimated_cost == decision.estimated_costs["small:3"]
    assert not decision.calibrated and decision.policy == "one-shot"
    assert "0.70" in decision.reason and "0.6" in decision.reason
    assert not chat_server.requests


@pytest.mark.parametrize(
    ("threshold", "arm"), [(0.2, "small:1"), (0.75, "middle:1"), (0.9, "big:1"), (1.1, "big:1")]
)
def test_the_threshold_of_a_call_wins(chat_server: ChatServer, threshold: float, arm: str) -> None:
    engine = routed(chat_server, threshold=0.6)
    assert str(engine.route("hi", threshold=threshold).arm) == arm
    assert str(engine.route("hi").arm) == "small:3"


def test_the_router_reads_the_last_user_turn_or_what_it_is_given(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    chat = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    engine.route(chat)
    engine.route(chat, query_text="three")
    router = engine.router
    assert isinstance(router, Fixed) and router.read == ["two", "three"]


def test_constraints_come_before_the_router(chat_server: ChatServer) -> None:
    engine = routed(chat_server, threshold=0.6, models=pool(chat_server, tools=False))
    assert engine.route("hi", tools=[TOOL]).arm == Arm("middle", 1)
    assert engine.route("hi", max_n=2).arm == Arm("middle", 1)
    decision = engine.route("hi", temperature=0)
    assert decision.arm == Arm("middle", 1)
    assert "temperature 0" in decision.excluded["small:3"]
    assert "small:3" not in decision.match_probabilities


def test_no_arm_left_is_one_clear_error(chat_server: ChatServer) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    with pytest.raises(NoEligibleArmError, match="small does not support vision"):
        routed(chat_server).route([{"role": "user", "content": [image]}])
    with pytest.raises(ConfigError, match="max_n is 0"):
        BestRoute(pool(chat_server)).route("hi", max_n=0)


def test_deciding_needs_no_key(chat_server: ChatServer) -> None:
    models = pool(chat_server, params={"api_key": "os.environ/NOT_SET_ANYWHERE"})
    assert routed(chat_server, models=models).route("hi").arm == Arm("small", 3)
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        routed(chat_server, models=models).complete("hi")


def test_a_differing_sampling_parameter_is_warned_of_once(
    chat_server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"small": {"temperature": 0.8}, "big": {"temperature": 0.5}, "gone": {"top_p": 1}}
    models = pool(chat_server, params={"temperature": 0.8})
    engine = routed(chat_server, models=models, label_sampling=labels)
    with caplog.at_level(logging.WARNING, logger="bestroute"):
        engine.route("hi", temperature=0.5)  # asks nobody
        engine.complete("hi", temperature=0.8)  # asks small, as the labels were made
        assert not caplog.records
        engine.complete("hi", temperature=0.5)
        engine.complete("hi", temperature=0.5)
        engine.complete("hi", model="big", temperature=0.8)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "small is called with {'temperature': 0.5}" in said[0]
    assert "big is called with {'temperature': 0.8}" in said[1]


def test_the_warning_shows_no_secret(
    chat_server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    models = pool(chat_server, params={"api_key": "sk-secret"})
    engine = routed(chat_server, models=models, label_sampling={"small": {"api_key": "x"}})
    with caplog.at_level(logging.WARNING, logger="bestroute"):
        engine.complete("hi")
    assert "small is called with" in caplog.text
    assert "sk-secret" not in caplog.text


# Completion


async def test_n_samples_are_drawn_and_the_best_is_given(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["a", "the longest", "bb"])
    engine = routed(chat_server, reward=FunctionReward(lambda query, text: float(len(text))))
    response = await engine.acomplete("hi")
    assert response.text == "the longest" and response.model == "small"
    assert [sample.score for sample in response.samples] == [1, 11, 2]
    assert response.winner in response.samples
    assert asked(chat_server) == {"small": 3}
    assert response.degraded == ()
    assert len(response.steps) == 2


async def test_usage_and_cost_are_those_of_every_call(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small")
    response = await routed(chat_server).acomplete("two words")
    assert response.model == "middle"
    middle = response.usage_by_model["middle"]
    assert (middle.prompt_tokens, middle.completion_tokens) == (2, 1)
    assert response.usage.total_tokens == 3
    assert response.cost == pytest.approx(3 * 5 / 1e6)
    assert [call.error is None for call in response.calls] == [False, True]
    reference = 3 * 50 / 1e6  # the same prompt and answer at the reference's price
    assert response.estimated_savings == pytest.approx(reference - response.cost)


def test_nothing_is_saved_where_the_reference_answers(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small=Reply(["1", "2", "3"]), big="It is 42")
    engine = BestRoute(pool(chat_server), policy=Cascade())
    named, escalated = engine.complete("hi", model="big"), engine.complete("hi")
    assert named.estimated_savings == pytest.approx(0)
    assert escalated.cost is not None
    assert named.cost is not None
    assert escalated.estimated_savings == pytest.approx(named.cost - escalated.cost)


async def test_a_judge_s_calls_are_billed(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(judge="Score: 7")
    judge = JudgeReward(
        "openai/judge", params=chat_server.params, price=Price(input=1000, output=1000)
    )
    response = await routed(chat_server, reward=judge).acomplete("hi")
    assert [sample.score for sample in response.samples] != [None] * 3
    judged = [call for call in response.calls if call.model == "openai/judge"]
    assert len(response.calls) == len(judged) + 1 > 1
    assert response.usage.total_tokens == sum(call.usage.total_tokens for call in response.calls)
    assert response.cost is not None
    assert response.cost > sum(call.usage.total_tokens for call in judged) / 1000


@pytest.mark.parametrize(
    ("down", "threshold", "winner"),
    [
        (["small"], 0.6, "middle"),  # the next qualifying arm
        (["small"], 0.75, "middle"),
        (["small", "middle"], 0.6, "big"),  # finally the reference
        (["middle"], 0.75, "big"),
        (["big"], 0.9, "middle"),  # nobody qualifies: the most promising
    ],
)
async def test_the_fallback_order(
    chat_server: ChatServer, down: list[str], threshold: float, winner: str
) -> None:
    chat_server.reply = failing(*down)
    response = await routed(chat_server, threshold).acomplete("hi")
    assert response.model == winner
    assert bool(response.degraded) == (threshold != 0.75 or down == ["middle"])


async def test_when_all_fail_the_error_carries_causes_and_calls(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small", "middle", "big")
    with pytest.raises(SamplingError, match="no model gave a response") as caught:
        await routed(chat_server).acomplete("hi")
    assert {call.model for call in caught.value.calls} == {"small", "middle", "big"}
    assert len(caught.value.causes) >= 3
    assert "test" not in [word.strip("'\",()") for word in str(caught.value).split()]  # the key


async def test_part_of_a_draw_is_used_and_said(chat_server: ChatServer) -> None:
    lock, seen = threading.Lock(), []

    def reply(body: dict[str, Any]) -> Reply:
        with lock:
            seen.append(body)
            return Reply("no", status=401) if len(seen) == 1 else Reply("ok")

    chat_server.reply = reply
    models = pool(chat_server, native_n=False)
    response = await routed(chat_server, models=models).acomplete("hi")
    assert len(response.samples) == 2
    (degraded,) = response.degraded
    assert degraded.startswith("2 of 3 samples of small came (small: AuthenticationError")


async def test_a_reward_model_that_fails_loses_no_answer(chat_server: ChatServer) -> None:
    def broken(query: str, text: str) -> float:
        return float("nan")

    response = await routed(chat_server, reward=FunctionReward(broken)).acomplete("hi")
    assert response.text == "ok"
    assert any("NaN" in why for why in response.degraded)


async def test_invalid_samples_are_a_failed_draw(chat_server: ChatServer) -> None:
    chat_server.reply = by_model(small="not json", middle='{"a": 1}')
    response = await routed(chat_server).acomplete("hi", response_format={"type": "json_object"})
    assert response.model == "middle" and json.loads(response.text) == {"a": 1}
    assert len(response.samples) == 4  # what was paid for is shown
    assert any("not JSON" in why for why in response.degraded)


async def test_when_no_sample_is_valid_one_is_given_and_said(chat_server: ChatServer) -> None:
    chat_server.reply = "not json"
    response = await routed(chat_server).acomplete("hi", response_format={"type": "json_object"})
    assert response.model == "big"
    assert any("no valid sample" in why for why in response.degraded)


async def test_parameters_reach_the_provider(chat_server: ChatServer) -> None:
    await routed(chat_server).acomplete("hi", tools=[TOOL], temperature=0.3, seed=5)
    (body,) = chat_server.requests
    assert body["tools"] == [TOOL]
    assert (body["temperature"], body["seed"], body["n"]) == (0.3, 5, 3)


# The cascade


async def test_from_a_pool_alone_agreement_is_trusted(chat_server: ChatServer) -> None:
    chat_server.reply = "The answer is 42."
    response = await BestRoute(pool(chat_server)).acomplete("hi")
    assert response.model == "small" and asked(chat_server) == {"small": 3}
    assert response.decision.policy == "cascade" and not response.decision.calibrated
    assert "uncalibrated" in response.decision.reason
    assert response.decision.match_probabilities == {}


async def test_from_a_pool_alone_disagreement_goes_to_the_reference(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = lambda body: (
        Reply(["The answer is 1.", "The answer is 2.", "The answer is 3."])
        if body["model"] == "small"
        else Reply("The answer is 42.")
    )
    response = await BestRoute(pool(chat_server)).acomplete("hi")
    assert (response.model, response.text) == ("big", "The answer is 42.")
    assert asked(chat_server) == {"small": 3, "big": 1}
    assert len(response.samples) == 4


async def test_a_cascade_whose_agreeing_samples_are_invalid_escalates(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = by_model(small="not json", middle="nor this", big='{"a": 1}')
    response = await BestRoute(pool(chat_server)).acomplete(
        "hi", response_format={"type": "json_object"}
    )
    assert response.model == "big"


async def test_a_cascade_at_temperature_0_asks_the_reference(chat_server: ChatServer) -> None:
    response = await BestRoute(pool(chat_server)).acomplete("hi", temperature=0)
    assert response.model == "big" and asked(chat_server) == {"big": 1}


# Streams


async def stream(engine: BestRoute, **options: Any) -> tuple[list[Delta], RoutedResponse]:
    items = [item async for item in engine.astream("hi", **options)]
    *deltas, last = items
    assert isinstance(last, RoutedResponse)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return deltas, last  # type: ignore[return-value]


async def test_one_sample_streams_as_it_comes(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("one two three")
    deltas, response = await stream(routed(chat_server, 0.2))
    assert [delta.text for delta in deltas] == ["one", " two", " three"]
    assert response.text == "one two three"
    assert response.usage.completion_tokens == 3
    assert asked(chat_server) == {"small": 1} and chat_server.requests[0]["stream"]


async def test_of_several_samples_only_the_winner_shows(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["no", "the longest one", "nor"])
    reward = FunctionReward(lambda query, text: float(len(text)))
    deltas, response = await stream(routed(chat_server, 0.6, reward=reward))
    assert [delta.text for delta in deltas] == ["the longest one"] == [response.text]
    assert len(response.samples) == 3


async def test_tool_calls_of_the_winner_carry_their_index(chat_server: ChatServer) -> None:
    function = {"name": "find", "arguments": "{}"}
    calls = [{"id": str(i), "type": "function", "function": function} for i in range(2)]
    chat_server.reply = lambda body: Reply([{"tool_calls": calls}] * body.get("n", 1))
    deltas, _ = await stream(routed(chat_server, 0.6), tools=[TOOL])
    assert [call["index"] for call in deltas[0].tool_calls] == [0, 1]


async def test_a_stream_that_does_not_open_falls_back(chat_server: ChatServer) -> None:
    chat_server.reply = failing("small")
    deltas, response = await stream(routed(chat_server, 0.2))
    assert response.model == "middle"
    assert "".join(delta.text for delta in deltas) == "ok"
    (degraded,) = response.degraded
    assert degraded.startswith("0 of 1 samples of small came (small: AuthenticationError")


async def test_a_stream_that_breaks_off_is_an_error_not_two_answers(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = Reply("a b c d", cut_after=3)
    pieces = []
    with pytest.raises(SamplingError, match="broke off") as caught:
        async for item in routed(chat_server, 0.2).astream("hi"):
            pieces.append(item)
    assert pieces and asked(chat_server) == {"small": 1}
    assert caught.value.calls[0].usage.completion_tokens > 0


async def test_a_streamed_answer_that_breaks_the_format_is_said_to(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = "not json"
    _, response = await stream(routed(chat_server, 0.2), response_format={"type": "json_object"})
    assert response.text == "not json"
    assert any("not JSON" in why for why in response.degraded)


async def test_a_cascade_streams_only_the_reference(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: (
        Reply(["The answer is 1.", "The answer is 2.", "The answer is 3."])
        if body["model"] == "small"
        else Reply("The answer is 42.")
    )
    deltas, response = await stream(BestRoute(pool(chat_server)))
    assert "".join(delta.text for delta in deltas) == "The answer is 42." == response.text
    assert len(deltas) > 1


async def test_leaving_a_stream_early_closes_the_connection(
    chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litellm import CustomStreamWrapper

    closed = asyncio.Event()
    original = CustomStreamWrapper.aclose

    async def noted(self: Any) -> None:
        await original(self)
        closed.set()

    monkeypatch.setattr(CustomStreamWrapper, "aclose", noted)
    chat_server.reply = Reply("one two three")
    items = routed(chat_server, 0.2).astream("hi")
    await anext(items)
    await items.aclose()
    assert closed.is_set()


# Sync doors, concurrency, cancellation


async def test_the_sync_doors_work_inside_a_running_loop(chat_server: ChatServer) -> None:
    engine = routed(chat_server, 0.2)
    assert engine.complete("hi").text == "ok"
    *deltas, last = engine.stream("hi")
    assert isinstance(last, RoutedResponse) and last.text == "ok" and deltas


async def test_requests_at_the_same_time_do_not_mix(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply([body["messages"][0]["content"]] * body["n"])
    engine = routed(chat_server)
    responses = await asyncio.gather(*(engine.acomplete(f"echo {i}") for i in range(12)))
    assert [response.text for response in responses] == [f"echo {i}" for i in range(12)]
    assert all(len(response.samples) == len(response.calls) + 2 == 3 for response in responses)


def test_one_engine_serves_several_event_loops(chat_server: ChatServer) -> None:
    engine = routed(chat_server, 0.2)
    texts = [asyncio.run(engine.acomplete("hi")).text for _ in range(2)]
    assert [*texts, engine.complete("hi").text] == ["ok"] * 3


async def test_cancelling_a_request_leaves_no_task_behind(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=20)
    models = pool(chat_server, native_n=False)
    request = asyncio.create_task(routed(chat_server, models=models).acomplete("hi"))
    while len(chat_server.requests) < 3:
        await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.sleep(0.05)
    left = [repr(task.get_coro()) for task in asyncio.all_tasks()]
    assert not [each for each in left if "Sampler." in each or "Loop." in each]


async def test_seeds_stay_apart_across_waves(chat_server: ChatServer) -> None:
    class Twice:
        name, needs_router, calibrated = "twice", False, False

        def next(self, state: State) -> tuple[Draw, ...] | Accept:
            if len(state.samples.get("small", ())) < 4:
                return (Draw(model="small", n=2),)
            return Accept()

    models = pool(chat_server, native_n=False)
    await BestRoute(models, policy=Twice()).acomplete("hi", seed=10)
    assert sorted(body["seed"] for body in chat_server.requests) == [10, 11, 12, 13]


async def test_what_was_decided_is_what_is_drawn(chat_server: ChatServer) -> None:
    class Coin:
        """Says something else each time it is asked."""

        name, needs_router, calibrated = "coin", False, False

        def __init__(self) -> None:
            self.asked = 0

        def next(self, state: State) -> tuple[Draw, ...] | Accept:
            self.asked += 1
            drawn = [model for model, samples in state.samples.items() if samples]
            if drawn:
                return Accept(model=drawn[0])
            return (Draw(model=("small", "big")[self.asked % 2], n=1),)

    engine = BestRoute(pool(chat_server), policy=Coin())
    for _ in range(4):
        response = await engine.acomplete("hi")
        assert response.model == response.decision.arm.model


async def test_warmup_asks_the_router_once_and_no_model(chat_server: ChatServer) -> None:
    engine = routed(chat_server)
    await engine.warmup()
    assert isinstance(engine.router, Fixed) and len(engine.router.read) == 1
    assert not chat_server.requests


# What is shown


async def test_nothing_that_is_shown_holds_a_key(chat_server: ChatServer) -> None:
    models = pool(chat_server, params={"api_key": "sk-secret"})
    chat_server.reply = failing("middle")
    response = await routed(chat_server, models=models).acomplete("hi")
    assert chat_server.headers[0]["authorization"] == "Bearer sk-secret"
    shown = [repr(response), response.model_dump_json(), json.dumps(response.summary())]
    assert not [text for text in shown if "sk-secret" in text]


async def test_a_response_is_read_back_from_json(chat_server: ChatServer) -> None:
    response = await routed(chat_server).acomplete("hi")
    again = RoutedResponse.model_validate_json(response.model_dump_json())
    assert again == response
    assert json.loads(response.model_dump_json())["usage"]["completion_tokens"] == 3
    summary = json.loads(json.dumps(response.summary()))
    assert (summary["arm"], summary["n"], summary["model"]) == ("small:3", 3, "small")


async def test_the_winner_is_one_of_the_samples_as_scored(chat_server: ChatServer) -> None:
    response = await routed(chat_server).acomplete("hi")
    assert isinstance(response.winner, Sample)
    assert any(sample is response.winner for sample in response.samples)


async def test_the_caller_s_messages_stay_as_they_are(chat_server: ChatServer) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    before = json.dumps(messages)
    await BestRoute(pool(chat_server), sampler=Sampler(retries=0)).acomplete(messages)
    assert json.dumps(messages) == before
