"""The recorded provider: exact keys, draws without replacement, honest bills, through LiteLLM."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from bestroute import BestRoute, ModelPool, PooledModel
from bestroute._routed import cached_from, drawn_so_far, recorded_before
from bestroute.errors import SampleLimitError, UnrecordedError
from bestroute.query import Request
from bestroute.recorded import PROVIDER, Recording, recording_key
from bestroute.sampling import Drawn, Sampler

SAMPLING = {"temperature": 1, "max_tokens": 9}
CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2 + 2?"}]


def rows(count: int, model: str = "small", answer: str = "answer") -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "messages": json.dumps(CHAT),
            "sampling": json.dumps(SAMPLING),
            "response": f"{answer} {index}",
            "finish_reason": "stop",
            "prompt_tokens": 7,
            "completion_tokens": 10 + index,
        }
        for index in range(count)
    ]


@pytest.fixture
def recording() -> Iterator[Recording]:
    found = Recording([*rows(6), *rows(2, "big", "sure")], seed=3)
    found.install()
    yield found
    found.uninstall()


def member(name: str = "small", **fields: Any) -> PooledModel:
    price = {"input": 1, "output": 10}
    given = {"model": f"recorded/{name}", "name": name, "price": price, "params": SAMPLING}
    return PooledModel(**{**given, "native_n": True, **fields})


POOL = ModelPool(
    models=(
        member(max_samples=3),
        member("big", price={"input": 10, "output": 100}, reference=True),
    )
)


async def test_n_choices_without_replacement_and_the_prompt_billed_once(
    recording: Recording,
) -> None:
    drawn = await Sampler().draw(Request.build(CHAT), member(), 4)
    texts = [sample.text for sample in drawn.samples]
    assert len(set(texts)) == 4
    (call,) = drawn.calls
    assert call.usage.prompt_tokens == 7
    assert call.usage.completion_tokens == sum(10 + int(text.split()[1]) for text in texts)
    assert call.cost == pytest.approx((7 + 10 * call.usage.completion_tokens) / 1e6)


@pytest.mark.parametrize("native", [True, False])
async def test_waves_and_top_ups_of_one_request_continue(
    recording: Recording, native: bool
) -> None:
    token = drawn_so_far.set({})
    try:
        texts = []
        for n in (1, 3, 2):
            drawn = await Sampler().draw(Request.build(CHAT), member(native_n=native), n)
            texts += [sample.text for sample in drawn.samples]
        assert sorted(texts) == [f"answer {index}" for index in range(6)]
        with pytest.raises(SampleLimitError, match="0 of 6"):
            await Sampler().draw(Request.build(CHAT), member(native_n=native), 1)
    finally:
        drawn_so_far.reset(token)


@pytest.mark.parametrize("native", [True, False])
async def test_outside_a_routed_request_draws_go_on_where_they_are_told(
    recording: Recording, native: bool
) -> None:
    texts = []
    for before in range(6):
        token = recorded_before.set(before)
        drawn = await Sampler().draw(Request.build(CHAT), member(native_n=native), 1)
        recorded_before.reset(token)
        texts += [sample.text for sample in drawn.samples]
    assert sorted(texts) == [f"answer {index}" for index in range(6)]


async def test_every_request_starts_anew_in_the_same_order(recording: Recording) -> None:
    texts = []
    for _ in range(2):
        drawn = await Sampler().draw(Request.build(CHAT), member(), 3)
        texts.append([sample.text for sample in drawn.samples])
    assert texts[0] == texts[1]


def test_the_order_follows_seed_and_query() -> None:
    key = recording_key("small", CHAT, SAMPLING)
    orders = {
        seed: [row["response"] for row in Recording(rows(6), seed=seed).take(key, 6)]
        for seed in range(4)
    }
    assert len({tuple(order) for order in orders.values()}) > 1
    assert all(sorted(order) == sorted(orders[0]) for order in orders.values())
    again = Recording(reversed(rows(6)[::-1]), seed=2).take(key, 6)
    assert [row["response"] for row in again] == orders[2]


async def test_more_than_was_recorded_is_one_clear_error(recording: Recording) -> None:
    with pytest.raises(SampleLimitError, match="7 samples asked, 6 of 6"):
        await Sampler().draw(Request.build(CHAT), member(), 7)


@pytest.mark.parametrize(
    ("chat", "params"),
    [
        ([{"role": "user", "content": "2 + 3?"}], {}),
        (CHAT[1:], {}),
        (CHAT, {"temperature": 0.5}),
        (CHAT, {"max_tokens": 10}),
        (CHAT, {"top_p": 0.5}),
    ],
)
@pytest.mark.parametrize("way", ["draw", "stream"])
async def test_what_was_not_recorded_raises(
    recording: Recording, chat: Any, params: dict[str, Any], way: str
) -> None:
    request = Request.build(chat, params)
    with pytest.raises(UnrecordedError, match="nothing recorded"):
        if way == "draw":
            await Sampler().draw(request, member(), 1)
        else:
            async for _ in Sampler().stream(request, member(), Drawn()):
                pass


async def test_the_same_request_in_other_words_is_found(recording: Recording) -> None:
    parts = [{"type": "text", "text": "2 + 2?"}]
    chat = [CHAT[0], {"role": "user", "content": parts, "name": None}]
    params = {"temperature": 1.0, "max_tokens": 9, "seed": 5, "user": "me"}
    drawn = await Sampler().draw(Request.build(chat, params), member(), 1)
    assert len(drawn.samples) == 1


@pytest.mark.parametrize(("length", "cached"), [(1024, 1024), (1023, 0)])
async def test_a_later_wave_reads_a_long_prompt_from_the_cache(length: int, cached: int) -> None:
    recording = Recording([{**row, "prompt_tokens": length} for row in rows(6)])
    recording.install()
    price = {"input": 1, "output": 0, "cached_input": 0.25}
    try:
        for kept, read in ((math.inf, 0), (1024, cached)):
            token = cached_from.set(kept)
            drawn = await Sampler().draw(Request.build(CHAT), member(price=price), 2)
            cached_from.reset(token)
            (call,) = drawn.calls
            assert call.usage.cached_tokens == read
            assert call.cost == pytest.approx((length - 0.75 * read) / 1e6)
    finally:
        recording.uninstall()


async def test_log_probabilities_come_where_they_were_recorded() -> None:
    recording = Recording([{**row, "logprob": -0.25} for row in rows(2)] + rows(1, "big"))
    recording.install()
    try:
        for name, logprob in (("small", -0.25), ("big", None)):
            drawn = await Sampler().draw(Request.build(CHAT), member(name), 1)
            assert drawn.samples[0].logprob == logprob
    finally:
        recording.uninstall()


async def test_streams_say_the_same_words(recording: Recording) -> None:
    drawn = Drawn()
    pieces = [each.text async for each in Sampler().stream(Request.build(CHAT), member(), drawn)]
    (sample,) = drawn.samples
    assert len(pieces) > 1 and "".join(pieces) == sample.text
    assert drawn.calls[0].usage.completion_tokens == 10 + int(sample.text.split()[1])
    assert drawn.calls[0].usage.prompt_tokens == 7


async def test_the_later_recording_answers_first(recording: Recording) -> None:
    later = Recording(rows(1, answer="later"))
    later.install()
    try:
        drawn = await Sampler().draw(Request.build(CHAT), member(), 1)
        assert drawn.samples[0].text == "later 0"
    finally:
        later.uninstall()
    drawn = await Sampler().draw(Request.build(CHAT), member(), 1)
    assert drawn.samples[0].text.startswith("answer")


async def test_litellm_hears_of_the_provider_once_and_again_when_forgotten(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm

    recording.install()
    try:
        ours = [each for each in litellm.custom_provider_map if each["provider"] == PROVIDER]
        assert len(ours) == 1
        monkeypatch.setattr(litellm, "custom_provider_map", [])
        recording.install()
        recording.uninstall()
        drawn = await Sampler().draw(Request.build(CHAT), member(), 1)
        assert len(drawn.samples) == 1
    finally:
        recording.uninstall()


@pytest.mark.parametrize("native", [True, False])
async def test_through_the_engine_each_request_is_its_own(
    recording: Recording, native: bool
) -> None:
    models = (member(max_samples=3, native_n=native), POOL.reference)
    engine = BestRoute(ModelPool(models=models))
    for _ in range(3):  # 2 recorded samples of the reference would not do for 3 requests
        response = await engine.acomplete(CHAT)
        assert response.model == "big" and len(response.samples) == 4
        assert len({sample.text for sample in response.samples}) == 4


@pytest.mark.parametrize("way", ["complete", "stream"])
@pytest.mark.parametrize("held", ["small", "big"])
async def test_a_hole_in_the_recording_is_not_hidden_by_the_fallback(way: str, held: str) -> None:
    partly = Recording(rows(3, held))
    partly.install()
    engine = BestRoute(POOL)
    try:
        with pytest.raises(UnrecordedError, match="nothing recorded"):
            if way == "complete":
                await engine.acomplete(CHAT)
            else:
                _ = [item async for item in engine.astream(CHAT)]
    finally:
        partly.uninstall()
