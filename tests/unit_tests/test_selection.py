"""The selector: filter, score, pick; nothing that was paid for is lost."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute import BestRoute
from bestroute._litellm import load_litellm
from bestroute._sync import run_sync
from bestroute.policy.fixed import FixedArm
from bestroute.pool import Arm
from bestroute.rewards import FunctionReward, JudgeReward, SelfConsistency
from bestroute.samples import Sample
from bestroute.sampling import Sampler
from bestroute.selection import Selector, sample_text
from tests.servers import ChatServer, Reply

JSON_OBJECT = {"response_format": {"type": "json_object"}}


def says(text: str, **fields: Any) -> Sample:
    return Sample(model="small", message={"role": "assistant", "content": text}, **fields)


def calls(*functions: tuple[str, str]) -> Sample:
    listed = [
        {"id": str(i), "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(functions)
    ]
    return Sample(model="small", message={"role": "assistant", "tool_calls": listed})


class Counting:
    """Length as reward; remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, query: str, responses: Sequence[str]) -> list[float]:
        self.seen += responses
        return [float(len(response)) for response in responses]


async def test_the_best_score_wins() -> None:
    samples = [says("a"), says("abc"), says("ab")]
    selection = await Selector(FunctionReward(Counting(), batch=True)).select("q", samples, {})
    assert selection.winner == 1
    assert selection.scores.tolist() == [1, 3, 2]
    assert [sample.score for sample in selection.samples] == [1, 3, 2]
    assert [sample.text for sample in selection.samples] == ["a", "abc", "ab"]
    assert selection.degraded is None


async def test_ties_go_to_the_first_drawn() -> None:
    samples = [says("a"), says("xyz"), says("abc")]
    selection = await Selector(FunctionReward(Counting(), batch=True)).select("q", samples, {})
    assert selection.winner == 1


async def test_invalid_samples_are_not_scored_and_cannot_win() -> None:
    counting = Counting()
    samples = [says("no JSON, but long"), says('{"a": 1}'), says(""), says("{}")]
    selector = Selector(FunctionReward(counting, batch=True))
    selection = await selector.select("q", samples, JSON_OBJECT)
    assert selection.winner == 1
    assert set(selection.invalid) == {0, 2}
    assert counting.seen == ['{"a": 1}', "{}"]
    assert np.isnan(selection.scores).tolist() == [True, False, True, False]
    assert [sample.score for sample in selection.samples] == [None, 8, None, 2]


async def test_no_valid_sample_no_winner() -> None:
    counting = Counting()
    selector = Selector(FunctionReward(counting, batch=True))
    selection = await selector.select("q", [says("a"), says("b")], JSON_OBJECT, always_score=True)
    assert selection.winner is None
    assert set(selection.invalid) == {0, 1}
    assert not counting.seen
    assert (await selector.select("q", [], {})).winner is None


async def test_a_lone_valid_sample_is_scored_only_if_asked() -> None:
    counting = Counting()
    selector = Selector(FunctionReward(counting, batch=True))
    samples = [says("no JSON"), says("{}")]
    assert (await selector.select("q", samples, JSON_OBJECT)).winner == 1
    assert not counting.seen
    selection = await selector.select("q", samples, JSON_OBJECT, always_score=True)
    assert selection.winner == 1
    assert selection.samples[1].score == 2


async def test_a_score_is_bought_once() -> None:
    counting = Counting()
    selector = Selector(FunctionReward(counting, batch=True))
    first = await selector.select("q", [says("a"), says("abc")], {})
    later = await selector.select("q", [*first.samples, says("ab")], {})
    assert counting.seen == ["a", "abc", "ab"]
    assert later.scores.tolist() == [1, 3, 2]
    assert (await selector.select("q", later.samples, {})).winner == 1
    assert len(counting.seen) == 3


async def test_a_score_that_depends_on_the_set_is_computed_again() -> None:
    selector = Selector(SelfConsistency())
    first = await selector.select("q", [says("1"), says("2")], {})
    later = await selector.select("q", [*first.samples, says("2")], {})
    assert later.winner == 1
    assert later.scores.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def raises(query: str, response: str) -> float:
    raise RuntimeError("secret text")


@pytest.mark.parametrize("function", [raises, lambda query, response: float("nan")])
async def test_a_failing_reward_model_loses_no_sample(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [says("secret 41"), says("secret 42"), says("The answer is 42.")]
    with caplog.at_level(logging.WARNING):
        selection = await Selector(FunctionReward(function)).select("secret query", samples, {})
    assert selection.winner == 1
    assert selection.scores.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert selection.degraded is not None
    assert function.__qualname__ in selection.degraded
    assert [sample.score for sample in selection.samples] == [None] * 3
    assert "self-consistency" in caplog.text
    assert "secret" not in caplog.text + selection.degraded


END = threading.Event()


@pytest.fixture
def hanging() -> Iterator[None]:
    """Whoever hangs goes on at the end of the test."""
    END.clear()
    yield
    END.set()


def hangs(query: str, responses: Sequence[str]) -> list[float]:
    END.wait(60)
    return [0.0] * len(responses)


def infinite(query: str, responses: Sequence[str]) -> list[float]:
    return [float("inf")] * len(responses)


def too_few(query: str, responses: Sequence[str]) -> list[float]:
    return [0.0]


def no_memory(query: str, responses: Sequence[str]) -> list[float]:
    raise MemoryError


FAULTS = [hangs, infinite, too_few, no_memory]


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_reward_model_does_a_sample_is_selected_in_time(fault: Any) -> None:
    samples = [says("41"), says("42"), says("The answer is 42.")]
    selector = Selector(FunctionReward(fault, batch=True))
    began = time.monotonic()
    selection = await selector.select("q", samples, {}, until=began + 0.1)
    END.set()
    assert time.monotonic() - began < 5
    assert selection.winner == 1
    assert "FunctionReward failed" in (selection.degraded or "")
    assert [sample.score for sample in selection.samples] == [None] * 3


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_reward_model_costs_a_routed_call_neither_its_answer_nor_its_bill(
    chat_server: ChatServer, fault: Any
) -> None:
    answers = ["41", "42", "The answer is 42."]
    chat_server.reply = lambda body: Reply(answers if body.get("n") == 3 else "43")
    model = {"model": "openai/small", "max_samples": 3, "native_n": True}
    small = {**model, "params": chat_server.params, "price": {"input": 1, "output": 2}}
    reference = {**small, "model": "openai/big", "max_samples": 1, "reference": True}
    engine = BestRoute(
        {"models": [small, reference]},
        policy=FixedArm(Arm("openai/small", 3)),
        reward=FunctionReward(fault, batch=True),
    )
    await engine.warmup()
    began = time.monotonic()
    response = await engine.acomplete("6 times 7?", timeout=2)
    END.set()
    assert time.monotonic() - began < 6
    assert response.text == "42"
    assert any("FunctionReward failed" in each for each in response.degraded)
    assert response.cost == pytest.approx(sum(call.cost or 0 for call in response.calls))
    assert response.usage.completion_tokens


async def test_a_late_judge_is_paid_for_what_it_graded(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(
        "Score: 9", delay=0.0 if "early" in body["messages"][1]["content"] else 1.5
    )
    judge = JudgeReward("openai/judge", params=chat_server.params, sampler=Sampler(retries=0))
    await load_litellm()
    samples = [says("early 41"), says("late 42"), says("late 42")]
    selection = await Selector(judge).select("q", samples, {}, until=time.monotonic() + 1)
    assert selection.winner == 1
    assert "openai/judge gave no grade for 2 of 3 responses within" in (selection.degraded or "")
    assert len(selection.calls) == 3
    assert [call.error is None for call in selection.calls].count(True) == 1
    assert all(call.usage.prompt_tokens for call in selection.calls)


async def test_long_samples_are_read_off_the_event_loop_with_the_same_result() -> None:
    padding = "Let us think about it once more. " * 100
    threads: set[str] = set()

    def extract(text: str) -> str:
        threads.add(threading.current_thread().name)
        return text[-2:]

    texts = ["41", "42", "42"]
    for samples in ([says(each) for each in texts], [says(padding + each) for each in texts]):
        selection = await Selector(SelfConsistency(extract)).select("q", samples, {})
        assert selection.winner == 1
        assert selection.scores.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert threads == {"MainThread", "bestroute-aside_0"}


async def test_a_silent_judge_is_still_paid(chat_server: ChatServer) -> None:
    chat_server.reply = "no idea"
    judge = JudgeReward("openai/judge", params=chat_server.params, sampler=Sampler(retries=0))
    selection = await Selector(judge).select("q", [says("41"), says("42"), says("42.")], {})
    assert selection.winner == 1
    assert "openai/judge" in (selection.degraded or "")
    assert len(selection.calls) == len(chat_server.requests) == 6


async def test_a_judges_calls_are_on_the_bill(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: (
        "Score: 9" if "good" in body["messages"][1]["content"] else "Score: 1"
    )
    judge = JudgeReward("openai/judge", params=chat_server.params)
    selection = await Selector(judge).select("q", [says("bad"), says("good")], {})
    assert selection.winner == 1
    assert len(selection.calls) == 2
    assert all(call.usage.total_tokens for call in selection.calls)


async def test_agreement_is_the_default() -> None:
    samples = [says("41"), says("The answer is 42."), says("42")]
    assert (await Selector().select("q", samples, {})).winner == 1


def test_tool_calls_have_a_canonical_text() -> None:
    one = sample_text(calls(("add", '{"a": 1, "b": 2}'), ("now", "")))
    other = sample_text(calls(("now", "{}"), ("add", '{"b":2,"a":1}')))
    assert one == other
    assert [call["name"] for call in json.loads(one)] == ["add", "now"]
    assert sample_text(calls(("add", "{broken"))) == '[{"arguments": "{broken", "name": "add"}]'
    assert sample_text(says("hello")) == "hello"


async def test_tool_calls_agree_on_name_and_arguments() -> None:
    tools = {"tools": [{"type": "function", "function": {"name": n}} for n in ("add", "sub")]}
    samples = [
        calls(("sub", '{"a": 1, "b": 2}')),
        calls(("add", '{"b": 2, "a": 1}')),
        calls(("add", '{"a": 1, "b": 2}')),
    ]
    selection = await Selector().select("q", samples, tools)
    assert selection.winner == 1
    assert selection.scores.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_the_winner_is_the_first_of_the_best(values: list[float]) -> None:
    reward = FunctionReward(lambda query, responses: values, batch=True)
    samples = [says(f"sample {i}") for i in range(len(values))]
    selection = run_sync(Selector(reward).select("q", samples, {}))
    assert selection.winner == values.index(max(values))
