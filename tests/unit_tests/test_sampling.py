"""The sampler against a real HTTP server: n, top-up, retries, usage, streams, cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute import PooledModel, asking
from bestroute.calls import split_up
from bestroute.errors import ConfigError, SampleLimitError, UnknownModelError
from bestroute.events import Delta
from bestroute.query import Request
from bestroute.sampling import Drawn, Sampler
from tests.servers import ChatServer, Reply

HI = Request.build("two words")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


def member(server: ChatServer, **fields: Any) -> PooledModel:
    params = {**server.params, **fields.pop("params", {})}
    return PooledModel(
        **{"model": "openai/m", "name": "m", "max_samples": 8, **fields, "params": params}
    )


def counting(server: ChatServer) -> Counter[int]:
    return Counter(body.get("n", 1) for body in server.requests)


def numbered(body: dict[str, Any]) -> Reply:
    return Reply([f"text {index}" for index in range(body.get("n", 1))])


@given(st.integers(1, 200), st.integers(1, 200))
def test_calls_together_ask_for_n_and_no_call_for_too_many(n: int, native: int) -> None:
    sizes = split_up(n, native)
    assert sum(sizes) == n
    assert 1 <= min(sizes) <= max(sizes) <= native
    assert len(sizes) == -(-n // native)


async def test_native_n_is_one_call_that_bills_the_prompt_once(chat_server: ChatServer) -> None:
    chat_server.reply = numbered
    drawn = await Sampler().draw(HI, member(chat_server), 3)
    assert [sample.text for sample in drawn.samples] == ["text 0", "text 1", "text 2"]
    assert counting(chat_server) == {3: 1}
    (call,) = drawn.calls
    assert (call.requested, call.received) == (3, 3)
    assert (call.usage.prompt_tokens, call.usage.completion_tokens) == (2, 6)
    assert not call.usage.estimated


@pytest.mark.parametrize(
    ("fields", "calls"),
    [({"native_n": False}, {1: 5}), ({"max_native_n": 2}, {2: 2, 1: 1}), ({}, {5: 1})],
)
async def test_more_than_one_call_may_give_goes_over_several(
    chat_server: ChatServer, fields: dict[str, Any], calls: dict[int, int]
) -> None:
    drawn = await Sampler().draw(HI, member(chat_server, **fields), 5)
    assert len(drawn.samples) == 5
    assert counting(chat_server) == calls
    assert sum(call.usage.prompt_tokens for call in drawn.calls) == 2 * sum(calls.values())


async def test_without_top_up_a_draw_is_its_first_calls_alone(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["one"])
    drawn = await Sampler().draw(HI, member(chat_server), 4, top_up=False)
    assert (len(drawn.samples), drawn.failures, counting(chat_server)) == (1, [], {4: 1})
    chat_server.reply = Reply("no n here", status=400)
    drawn = await Sampler().draw(HI, member(chat_server), 4, top_up=False)
    assert (drawn.samples, len(drawn.failures)) == ([], 1)
    assert counting(chat_server) == {4: 2}


async def test_a_backend_that_gives_one_choice_is_topped_up(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["one"])
    drawn = await Sampler().draw(HI, member(chat_server), 4)
    assert len(drawn.samples) == 4
    assert counting(chat_server) == {4: 1, 1: 3}
    assert not drawn.failures


async def test_an_empty_choice_is_topped_up_and_paid_for(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["a", "", "c"]) if "n" in body else Reply("d")
    drawn = await Sampler().draw(HI, member(chat_server), 3)
    assert [sample.text for sample in drawn.samples] == ["a", "c", "d"]
    assert [call.received for call in drawn.calls] == [2, 1]


async def test_a_server_that_refuses_n_gets_parallel_calls_and_is_remembered(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = lambda body: Reply("only 4 slots", status=400) if "n" in body else "ok"
    sampler = Sampler()
    for _ in range(2):
        drawn = await sampler.draw(HI, member(chat_server), 3)
        assert len(drawn.samples) == 3
        assert not drawn.failures
    assert counting(chat_server) == {3: 1, 1: 6}


async def test_a_refused_prompt_is_not_taken_for_a_refused_n(chat_server: ChatServer) -> None:
    sampler = Sampler()
    chat_server.reply = Reply("your prompt is no good", status=400)
    drawn = await sampler.draw(HI, member(chat_server), 3)
    assert not drawn.samples and drawn.failures
    chat_server.requests.clear()
    chat_server.reply = "ok"
    await sampler.draw(HI, member(chat_server), 3)
    assert counting(chat_server) == {3: 1}


async def test_a_prompt_that_is_too_long_is_not_asked_again(chat_server: ChatServer) -> None:
    says = "This model's maximum context length is 10 tokens."
    chat_server.reply = Reply(says, status=400)
    drawn = await Sampler().draw(HI, member(chat_server), 3)
    assert counting(chat_server) == {3: 1}
    assert len(drawn.failures) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_failure_is_tried_again_and_billed_once(
    chat_server: ChatServer, status: int
) -> None:
    chat_server.reply = lambda body: (
        Reply("busy", status=status) if len(chat_server.requests) < 3 else "all is well"
    )
    drawn = await Sampler(retries=2).draw(HI, member(chat_server), 1)
    assert [sample.text for sample in drawn.samples] == ["all is well"]
    assert not drawn.failures
    assert [call.error is None for call in drawn.calls] == [False, False, True]
    assert [call.usage.total_tokens for call in drawn.calls] == [0, 0, 5]


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (404, 1), (503, 3)])
async def test_a_lasting_failure_is_returned_not_raised(
    chat_server: ChatServer, status: int, tries: int
) -> None:
    chat_server.reply = Reply("no", status=status)
    drawn = await Sampler(retries=2).draw(HI, member(chat_server), 1)
    assert len(chat_server.requests) == len(drawn.calls) == tries
    assert len(drawn.failures) == 1
    assert not drawn.samples


async def test_the_provider_says_how_long_to_wait(
    chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asking.asyncio, "sleep", noted)
    chat_server.reply = Reply("slow down", status=429, headers={"Retry-After": "7"})
    await Sampler(retries=1).draw(HI, member(chat_server), 1)
    assert 7.0 in waits


async def test_partial_failures_are_kept(chat_server: ChatServer) -> None:
    lock, seen = threading.Lock(), []

    def reply(body: dict[str, Any]) -> Reply:
        with lock:
            seen.append(body)
            return Reply("no", status=401) if len(seen) == 2 else Reply("yes")

    chat_server.reply = reply
    drawn = await Sampler().draw(HI, member(chat_server, native_n=False), 3)
    assert [sample.text for sample in drawn.samples] == ["yes", "yes"]
    assert len(drawn.failures) == 1
    assert len(drawn.calls) == 3


async def test_a_call_has_a_time_limit(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=5)
    drawn = await Sampler(timeout=0.2, retries=0).draw(HI, member(chat_server), 1)
    assert not drawn.samples
    assert "Timeout" in str(drawn.calls[0].error)


async def test_parallel_calls_run_side_by_side(chat_server: ChatServer) -> None:
    everyone = threading.Barrier(4, timeout=30)

    def reply(body: dict[str, Any]) -> str:
        everyone.wait()  # breaks unless all four are in flight at once
        return "ok"

    chat_server.reply = reply
    drawn = await Sampler(retries=0).draw(HI, member(chat_server, native_n=False), 4)
    assert len(drawn.samples) == 4


async def test_a_seed_is_never_used_twice(chat_server: ChatServer) -> None:
    seeded = Request.build("hi", {"seed": 100})
    chat_server.reply = lambda body: Reply(["one"])
    sampler, whom = Sampler(), member(chat_server, max_native_n=3)
    await sampler.draw(seeded, whom, 5, start=7)
    spans = [(body["seed"], body.get("n", 1)) for body in chat_server.requests]
    assert sorted(spans)[:2] == [(107, 3), (110, 2)]  # sent once with native n
    used = [seed + index for seed, n in spans for index in range(n)]
    assert len(used) == len(set(used))


async def test_no_seed_is_invented(chat_server: ChatServer) -> None:
    await Sampler().draw(HI, member(chat_server, native_n=False), 2)
    assert not any("seed" in body for body in chat_server.requests)


@pytest.mark.parametrize(("n", "temperature"), [(0, 1), (-1, 1), (2, 0), (2, 0.0)])
async def test_n_that_makes_no_sense(chat_server: ChatServer, n: int, temperature: float) -> None:
    with pytest.raises(SampleLimitError):
        await Sampler().draw(HI, member(chat_server, params={"temperature": temperature}), n)
    assert not chat_server.requests


async def test_the_request_wins_over_the_pool(chat_server: ChatServer) -> None:
    request = Request.build("hi", {"temperature": 0.1, "stop": ["x"]})
    params = {"temperature": 0.9, "max_tokens": 5, "max_retries": 4, "timeout": 60}
    await Sampler().draw(request, member(chat_server, params=params), 1)
    (body,) = chat_server.requests
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.1, 5, ["x"])


async def test_messages_and_tools_are_never_changed(chat_server: ChatServer) -> None:
    parts = [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    request = Request.build([{"role": "user", "content": parts}], {"tools": tools})
    import litellm

    seen = []
    original = litellm.acompletion

    async def vandal(**call: Any) -> Any:
        response = await original(**call)
        seen.append(call["messages"][0]["content"].pop())
        call["tools"][0]["function"].clear()
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litellm, "acompletion", vandal)
        await Sampler().draw(request, member(chat_server, native_n=False), 2)
    assert len(seen) == 2
    assert parts[0]["text"] == "hi" and tools[0]["function"]["name"] == "f"


async def test_tool_calls_come_through(chat_server: ChatServer) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chat_server.reply = Reply([{"tool_calls": [call]}])
    drawn = await Sampler().draw(HI, member(chat_server), 1)
    assert drawn.samples[0].tool_calls[0]["function"] == {"name": "f", "arguments": "{}"}
    assert drawn.samples[0].finish_reason == "tool_calls"


async def test_an_empty_answer_is_a_failure_that_was_paid_for(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("", usage={"prompt_tokens": 9, "completion_tokens": 4})
    drawn = await Sampler().draw(HI, member(chat_server), 1)
    assert not drawn.samples and len(drawn.failures) == 1
    assert drawn.calls[0].usage.total_tokens == 13


async def test_no_choices_at_all_is_a_failure(chat_server: ChatServer) -> None:
    chat_server.reply = Reply([])
    drawn = await Sampler().draw(HI, member(chat_server), 1)
    assert not drawn.samples and len(drawn.failures) == 1


@pytest.mark.parametrize("model", ["opnai/gpt-4o", "no-such-model"])
async def test_an_unknown_model_is_a_mistake_not_a_failed_call(model: str) -> None:
    with pytest.raises(UnknownModelError, match=model):
        await Sampler().draw(HI, PooledModel(model=model, name="m", native_n=True), 1)


async def test_a_missing_key_is_a_mistake_not_a_failed_call(chat_server: ChatServer) -> None:
    whom = member(chat_server, params={"api_key": "os.environ/NOT_SET_ANYWHERE"})
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        await Sampler().draw(HI, whom, 1)


# Usage and cost


async def test_usage_that_was_not_reported_is_estimated(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("x" * 40, usage={})
    drawn = await Sampler().draw(Request.build("y" * 80), member(chat_server), 2)
    usage = drawn.calls[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 20)
    assert usage.estimated


async def test_our_own_counter_is_asked_where_there_is_one(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("a b c", usage={})
    sampler = Sampler(count_tokens=lambda model, text: len(text.split()))
    drawn = await sampler.draw(HI, member(chat_server), 2)
    usage = drawn.calls[0].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, 6)


@pytest.mark.parametrize("n", [2, 3, 8])
async def test_a_report_of_one_choice_only_is_corrected(chat_server: ChatServer, n: int) -> None:
    chat_server.reply = Reply("w" * 400, usage={"prompt_tokens": 9, "completion_tokens": 100})
    drawn = await Sampler().draw(HI, member(chat_server), n)
    assert drawn.calls[0].usage.completion_tokens == 100 * n
    assert drawn.calls[0].usage.prompt_tokens == 9
    assert drawn.calls[0].usage.estimated


async def test_an_honest_report_of_long_tokens_is_believed(chat_server: ChatServer) -> None:
    # 6 characters a token: our rough count says 200, the provider 133.
    chat_server.reply = Reply("w" * 400, usage={"prompt_tokens": 9, "completion_tokens": 200})
    drawn = await Sampler().draw(HI, member(chat_server), 3)
    assert drawn.calls[0].usage.completion_tokens == 200
    assert not drawn.calls[0].usage.estimated


async def test_absent_usage_is_not_held_against_later_reports(chat_server: ChatServer) -> None:
    sampler = Sampler()
    chat_server.reply = Reply("w" * 400, usage={})
    await sampler.draw(HI, member(chat_server), 2)
    chat_server.reply = Reply("w" * 400, usage={"prompt_tokens": 9, "completion_tokens": 150})
    drawn = await sampler.draw(HI, member(chat_server), 2)
    assert drawn.calls[0].usage.completion_tokens == 150


async def test_cached_and_reasoning_tokens_are_reported(chat_server: ChatServer) -> None:
    chat_server.reply = Reply(
        "a",
        usage={
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    )
    usage = (await Sampler().draw(HI, member(chat_server), 1)).calls[0].usage
    assert (usage.cached_tokens, usage.reasoning_tokens) == (8, 4)


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"price": {"input": 1, "output": 10}}, (2 * 1 + 6 * 10) / 1e6),
        ({"model": "openai/gpt-4o"}, (2 * 2.5 + 6 * 10) / 1e6),
        ({}, None),
    ],
)
async def test_the_price_is_the_pool_s_then_litellm_s_then_unknown(
    chat_server: ChatServer, fields: dict[str, Any], cost: float | None
) -> None:
    chat_server.reply = numbered
    drawn = await Sampler().draw(HI, member(chat_server, **fields), 3)
    assert drawn.calls[0].cost == (cost if cost is None else pytest.approx(cost))


def wordy(body: dict[str, Any]) -> Reply:
    """Choices of 1, 2, 3 ... tokens, as our own counter counts them."""
    return Reply([" ".join(["w"] * (index + 1)) for index in range(body.get("n", 1))])


@pytest.mark.parametrize("prompt_tokens", [2, 9, 100])
async def test_samples_share_what_their_call_used_and_cost(
    chat_server: ChatServer, prompt_tokens: int
) -> None:
    chat_server.reply = lambda body: replace(
        wordy(body), usage={"prompt_tokens": prompt_tokens, "completion_tokens": 12}
    )
    sampler = Sampler(count_tokens=lambda model, text: len(text.split()))
    whom = member(chat_server, price={"input": 3, "output": 10})
    drawn = await sampler.draw(HI, whom, 3)
    (call,) = drawn.calls
    samples = drawn.samples
    assert [sample.completion_tokens for sample in samples] == [2, 4, 6]  # as 1 : 2 : 3
    prompts = [sample.prompt_tokens for sample in samples]
    assert sum(prompts) == prompt_tokens and max(prompts) - min(prompts) <= 1
    costs = [sample.cost or 0.0 for sample in samples]
    assert sum(costs) == pytest.approx(call.cost)
    for sample, cost in zip(samples, costs, strict=True):
        tokens = sample.prompt_tokens * 3 + sample.completion_tokens * 10
        assert cost == pytest.approx(tokens / 1e6)


async def test_the_samples_bear_what_an_empty_choice_cost(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: Reply(["a b", "", "c d"])
    whom = member(chat_server, price={"input": 3, "output": 10})
    drawn = await Sampler().draw(HI, whom, 3, top_up=False)
    assert len(drawn.samples) == 2
    assert sum(sample.prompt_tokens for sample in drawn.samples) == 2
    assert sum(sample.cost or 0 for sample in drawn.samples) == pytest.approx(drawn.calls[0].cost)


@pytest.mark.parametrize(("price", "cost"), [({"input": 0, "output": 0}, 0.0), (None, None)])
async def test_a_share_of_nothing_and_of_an_unknown_cost(
    chat_server: ChatServer, price: dict[str, int] | None, cost: float | None
) -> None:
    drawn = await Sampler().draw(HI, member(chat_server, price=price), 2)
    assert [sample.cost for sample in drawn.samples] == [cost, cost]


async def test_cached_prompt_tokens_cost_their_own_price(chat_server: ChatServer) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 60}}
    chat_server.reply = Reply("a", usage={"prompt_tokens": 100, "completion_tokens": 5, **details})
    price = {"input": 2, "output": 10, "cached_input": 0.5}
    drawn = await Sampler().draw(HI, member(chat_server, price=price), 1)
    assert drawn.calls[0].cost == pytest.approx((40 * 2 + 60 * 0.5 + 5 * 10) / 1e6)


# Streams


async def streamed(
    server: ChatServer, request: Request = HI, *, retries: int = 2, **fields: Any
) -> tuple[list[Delta], Drawn]:
    drawn = Drawn()
    sampler = Sampler(retries=retries)
    return [each async for each in sampler.stream(request, member(server, **fields), drawn)], drawn


async def test_a_stream_brings_pieces_and_at_last_the_sample(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("one two three")
    deltas, drawn = await streamed(chat_server, price={"input": 1, "output": 10})
    assert [delta.text for delta in deltas] == ["one", " two", " three"]
    assert [sample.text for sample in drawn.samples] == ["one two three"]
    (call,) = drawn.calls
    assert (call.usage.prompt_tokens, call.usage.completion_tokens) == (2, 3)
    assert call.cost == pytest.approx((2 * 1 + 3 * 10) / 1e6)
    assert "n" not in chat_server.requests[0]


async def test_streamed_tool_calls_are_put_together(chat_server: ChatServer) -> None:
    calls = [
        {"id": str(i), "type": "function", "function": {"name": f"f{i}", "arguments": "{}"}}
        for i in range(2)
    ]
    chat_server.reply = Reply([{"tool_calls": calls}])
    deltas, drawn = await streamed(chat_server)
    pieces = [call["index"] for delta in deltas for call in delta.tool_calls]
    assert pieces == [0, 0, 1, 1]  # of each the name, then the arguments
    names = [call["function"]["name"] for call in drawn.samples[0].tool_calls]
    assert names == ["f0", "f1"]


async def test_opening_a_stream_is_tried_again(chat_server: ChatServer) -> None:
    chat_server.reply = lambda body: (
        Reply("busy", status=429) if len(chat_server.requests) < 2 else "all is well"
    )
    deltas, drawn = await streamed(chat_server)
    assert "".join(delta.text for delta in deltas) == "all is well"
    assert [call.error is None for call in drawn.calls] == [False, True]


async def test_a_stream_that_does_not_open_raises_and_is_recorded(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("no", status=401)
    drawn = Drawn()
    with pytest.raises(Exception, match="no"):
        async for _ in Sampler().stream(HI, member(chat_server), drawn):
            pass
    assert [call.usage.total_tokens for call in drawn.calls] == [0]


async def test_a_stream_that_breaks_off_bills_what_was_written(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("aaaa bbbb cccc dddd", cut_after=4)
    drawn = Drawn()
    seen = []
    with pytest.raises(Exception, match="(?i)not completed|connection"):
        async for delta in Sampler().stream(
            HI, member(chat_server, price={"input": 1, "output": 1}), drawn
        ):
            seen.append(delta.text)
    assert not drawn.samples
    (call,) = drawn.calls
    assert call.error and call.usage.estimated
    assert call.usage.completion_tokens == round(len("".join(seen)) / 4) > 0
    assert call.cost == pytest.approx(call.usage.total_tokens / 1e6)


async def test_an_empty_stream_is_a_failure(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("")
    deltas, drawn = await streamed(chat_server)
    assert (deltas, drawn.samples) == ([], [])
    assert len(drawn.failures) == len(drawn.calls) == 1


# Cancellation


async def test_cancelling_a_draw_leaves_no_task_behind(chat_server: ChatServer) -> None:
    chat_server.reply = Reply("late", delay=20)
    draw = asyncio.create_task(Sampler().draw(HI, member(chat_server, native_n=False), 3))
    while len(chat_server.requests) < 3:
        await asyncio.sleep(0.01)
    draw.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draw
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "Sampler._call" in repr(task.get_coro())]


async def test_a_mistake_in_one_call_ends_the_others(
    chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm

    original = litellm.acompletion
    made = []

    async def once(**call: Any) -> Any:
        made.append(call)
        if len(made) == 2:
            raise ConfigError("a mistake")
        return await original(**call)

    monkeypatch.setattr(litellm, "acompletion", once)
    chat_server.reply = Reply("late", delay=20)
    with pytest.raises(ConfigError, match="a mistake"):
        await Sampler().draw(HI, member(chat_server, native_n=False), 3)
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if "Sampler._call" in repr(task.get_coro())]


async def test_an_error_that_the_caller_is_handling_is_not_mistaken_for_ours(
    chat_server: ChatServer,
) -> None:
    chat_server.reply = Reply("no", status=401)
    drawn = Drawn()
    try:
        raise ConfigError("an older story")
    except ConfigError:
        with pytest.raises(Exception, match="no") as caught:
            async for _ in Sampler().stream(HI, member(chat_server), drawn):
                pass
    assert not isinstance(caught.value, ConfigError)


# Members with a client of their own


class Client:
    """Answers from a list: texts and errors, the last one again and again."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        """As LiteLLM's."""
        from litellm import ModelResponse

        self.asked.append({"messages": messages, "stream": stream, **params})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if stream:
            return self._pieces(answer)
        message = {"role": "assistant", "content": answer}
        usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        return ModelResponse(choices=[{"index": 0, "message": message}], usage=usage)

    async def _pieces(self, answer: str) -> AsyncGenerator[Any, None]:
        from litellm import ModelResponseStream
        from litellm.types.utils import Usage

        for word in answer.split():
            yield ModelResponseStream(choices=[{"index": 0, "delta": {"content": word}}])
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        yield ModelResponseStream(
            choices=[end], usage=Usage(prompt_tokens=2, completion_tokens=3, total_tokens=5)
        )


def own(client: Client, **fields: Any) -> PooledModel:
    """A member whose id no provider of LiteLLM's serves."""
    return PooledModel(
        **{"model": "house/m", "name": "m", "max_samples": 8, "client": client, **fields}
    )


async def test_a_client_is_asked_by_parallel_calls_and_priced_by_the_pool() -> None:
    client = Client("one", "two", "three")
    params = {"temperature": 0.5, "top_p": 0.9}
    drawn = await Sampler(timeout=9).draw(
        Request.build("hi", {"stop": ["x"], "seed": 7}),
        own(client, params=params, native_n=True, price={"input": 1, "output": 10}),
        3,
    )
    assert [sample.text for sample in drawn.samples] == ["one", "two", "three"]
    assert [sample.cost for sample in drawn.samples] == [pytest.approx(32e-6)] * 3
    assert client.asked == [
        {
            "messages": [{"role": "user", "content": "hi"}],
            "stream": False,
            "timeout": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["x"],
            "seed": seed,
        }
        for seed in (7, 8, 9)
    ]


class RefusedError(Exception):
    """A provider's error in another package's words."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status_code = status


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (RefusedError(429), 3),
        (RefusedError(503), 3),
        (TimeoutError("late"), 3),
        (ConnectionResetError("gone"), 3),
        (RefusedError(401), 1),
        (ValueError("no such parameter"), 1),
    ],
)
async def test_a_client_s_passing_failures_are_tried_again(error: Exception, tries: int) -> None:
    client = Client(error)
    drawn = await Sampler(retries=2).draw(HI, own(client), 1)
    assert len(client.asked) == len(drawn.calls) == tries
    assert drawn.failures == [error]
    assert str(error) in str(drawn.calls[0].error)


async def test_a_failure_for_want_of_a_connection_is_passing() -> None:
    import httpx

    error = ValueError("could not connect")
    error.__cause__ = httpx.ConnectError("refused")
    drawn = await Sampler(retries=1).draw(HI, own(Client(error, "ok")), 1)
    assert [sample.text for sample in drawn.samples] == ["ok"]


async def test_a_client_s_own_mistake_is_raised() -> None:
    with pytest.raises(ConfigError, match="a mistake"):
        await Sampler().draw(HI, own(Client(ConfigError("a mistake"))), 1)


async def test_a_client_streams_through_the_same_code() -> None:
    drawn, client = Drawn(), Client(RefusedError(429), "a b c")
    whom = own(client, price={"input": 1, "output": 10})
    deltas = [each async for each in Sampler().stream(HI, whom, drawn)]
    assert [delta.text for delta in deltas] == ["a", "b", "c"]
    assert [sample.text for sample in drawn.samples] == ["abc"]
    assert [call.error is None for call in drawn.calls] == [False, True]
    assert drawn.calls[1].cost == pytest.approx(32e-6)
    assert all(asked["stream"] for asked in client.asked)
