"""`timeout=`: a call is over when its time is, and somebody who is well always answers."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from bestroute import BestRoute, Cascade, Prediction
from bestroute.deadline import Deadline, paced
from bestroute.errors import BestRouteError, ConfigError, DeadlineError
from bestroute.policy import FixedArm, OneShot
from bestroute.rewards.base import RewardModel
from langchain_bestroute import ChatBestRoute
from llamaindex_bestroute import BestRouteLLM
from tests.fault_server import (
    Exchange,
    Fault,
    FaultServer,
    answer,
    hang,
    reset_mid_body,
    status,
    trickle,
)
from tests.unit_tests.faults.engines import answered, engine, pool
from tests.unit_tests.test_engine import Fixed

WHOLE = 2.0
SLACK = 0.5  # the machine may be busy
ALL = ("small", "middle", "big")
SLOW = answer(before=0.25 * WHOLE)

ILL: dict[str, Fault] = {
    "hangs": hang,
    "trickles": trickle,
    "is busy": status(429, headers={"Retry-After": "1"}),
    "breaks off": reset_mid_body,
}


async def timed(router: BestRoute, **options: Any) -> tuple[Any, float]:
    """The response or error, and how long it took."""
    await router.warmup()
    began = time.monotonic()
    try:
        outcome: Any = await answered(router, **options)
    except BestRouteError as error:
        outcome = error
    return outcome, time.monotonic() - began


@pytest.mark.parametrize("well", ALL)
@pytest.mark.parametrize(
    ("ill", "streaming"), [(ill, False) for ill in ILL] + [("hangs", True), ("breaks off", True)]
)
async def test_whoever_is_well_answers(
    ill: str, streaming: bool, well: str, server: FaultServer
) -> None:
    server.script = {name: SLOW if name == well else ILL[ill] for name in ALL}
    router = engine(server, *ALL, arm="small:1")
    response, lasted = await timed(router, timeout=WHOLE, streaming=streaming)
    assert response.model == well
    assert lasted < WHOLE + SLACK
    assert server.all_closed()


async def test_a_stream_that_stalls_and_breaks_off_is_a_failed_draw(server: FaultServer) -> None:
    async def stalls(exchange: Exchange) -> None:
        await asyncio.sleep(0.6 * WHOLE)
        await reset_mid_body(exchange)

    server.script = {"small": stalls, "big": answer(before=0.3 * WHOLE)}
    router = engine(server, "small", "big", arm="small:1")
    response, lasted = await timed(router, timeout=WHOLE, streaming=True)
    assert response.model == "big"
    assert lasted < WHOLE + SLACK
    assert {call.model for call in response.calls if call.error} == {"small"}


async def test_threads_that_are_all_taken_hold_up_no_plan(server: FaultServer) -> None:
    router = engine(server)
    leave = threading.Event()
    taken = [asyncio.create_task(asyncio.to_thread(leave.wait, 60)) for _ in range(64)]
    await asyncio.sleep(0)
    events = router.aevents("hi")
    try:
        await asyncio.wait_for(anext(events), 5)  # what was decided
    finally:
        leave.set()
        await events.aclose()
        await asyncio.gather(*taken)


@pytest.mark.parametrize(("share", "well"), [(0.3, "big"), (0.8, "small"), (0.8, "middle")])
async def test_within_any_share(share: float, well: str, server: FaultServer) -> None:
    slow = answer(before=(share - 0.2) * 1.5)
    server.script = {name: slow if name == well else hang for name in ALL}
    router = engine(server, *ALL, fallback_share=share)
    response, lasted = await timed(router, timeout=1.5)
    assert response.model == well
    assert lasted < 1.5 + SLACK


async def test_what_came_in_time_is_the_answer(server: FaultServer) -> None:
    server.script = {"small": [answer("a"), answer("a"), hang]}
    router = engine(server, small={"native_n": False})
    response, lasted = await timed(router, timeout=WHOLE)
    assert [sample.text for sample in response.samples] == ["a", "a"]
    assert WHOLE / 2 <= lasted < WHOLE
    assert "2 of 3" in response.degraded[0]
    assert [call.received for call in response.calls].count(1) == 2
    (cut,) = [call for call in response.calls if call.error]
    assert "cut off" in str(cut.error)
    assert cut.usage.prompt_tokens > 0  # it was sent
    assert {body["model"] for body in server.requests} == {"small"}


async def test_nobody_in_time_is_one_error(server: FaultServer) -> None:
    server.script = {"*": hang}
    error, lasted = await timed(engine(server, *ALL), timeout=WHOLE)
    assert isinstance(error, DeadlineError)
    assert isinstance(error, TimeoutError)
    assert {call.model for call in error.calls} == set(ALL)
    assert ["Timeout" in type(cause).__name__ for cause in error.causes] == [True] * 3
    assert WHOLE <= lasted < WHOLE + SLACK
    assert server.all_closed()


async def test_the_others_are_asked_once_each(server: FaultServer) -> None:
    server.script = {"small": hang, "middle": SLOW, "big": answer("sure", before=0.3 * WHOLE)}
    response, _ = await timed(engine(server, *ALL), timeout=WHOLE)
    assert response.text == "sure"  # the reference's, though another was faster
    asked = [(body["model"], body.get("n", 1)) for body in server.requests[1:]]
    assert sorted(asked) == [("big", 1), ("middle", 1)]  # side by side
    assert any("everyone else" in why for why in response.degraded)


async def test_a_wait_that_the_deadline_does_not_allow_is_not_begun(server: FaultServer) -> None:
    server.script = {"small": status(429, headers={"Retry-After": "30"})}
    response, lasted = await timed(engine(server), timeout=20.0)
    assert response.model == "big"
    assert lasted < 1.0


async def test_the_reference_is_waited_for_to_the_end(server: FaultServer) -> None:
    server.script = {
        "small": answer("The answer is 1.", "The answer is 2.", "The answer is 3."),
        "big": answer("42", before=0.75 * WHOLE),
    }
    response, _ = await timed(engine(server, policy=Cascade()), timeout=WHOLE)
    assert response.text == "42"
    assert not response.degraded


async def test_the_best_in_hand_if_the_reference_is_late(server: FaultServer) -> None:
    server.script = {"small": answer("1", "1", "2"), "big": hang}
    response, lasted = await timed(engine(server, policy=Cascade()), timeout=WHOLE)
    assert response.text == "1"
    assert lasted < WHOLE + SLACK


async def test_alone_a_model_has_all_the_time(server: FaultServer) -> None:
    server.script = {"small": answer(before=0.7 * WHOLE)}
    for streaming in (False, True):
        router = engine(server, "small", arm="small:1")
        response, _ = await timed(router, timeout=WHOLE, streaming=streaming)
        assert response.text.strip() == "ok"


class Hanging(RewardModel):
    """Scores until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def score(self, query: str, responses: Sequence[str]) -> Any:
        self.let_go.wait(30)
        return [0.0] * len(responses)


async def test_a_reward_model_that_hangs(server: FaultServer) -> None:
    server.script = {"small": answer("a", "b", "b")}
    reward = Hanging()
    response, lasted = await timed(engine(server, reward=reward), timeout=WHOLE)
    reward.let_go.set()
    assert response.text == "b"
    assert "self-consistency" in "; ".join(response.degraded) or "Hanging" in response.degraded[0]
    assert lasted < WHOLE + SLACK
    assert len(response.samples) == 3


async def test_a_router_that_hangs(server: FaultServer) -> None:
    models, let_go = pool(server), threading.Event()

    class Stuck(Fixed):
        """Says nothing."""

        def predict(self, queries: Sequence[str]) -> Prediction:
            let_go.wait(30)
            return super().predict(queries)

    router = BestRoute(models, router=Stuck(models, {}), policy=OneShot(0.5))
    began = time.monotonic()
    response = await router.acomplete("hi", timeout=WHOLE)
    let_go.set()
    assert response.model == "big"
    assert "the router did not answer in time" in response.decision.reason
    assert time.monotonic() - began < WHOLE + SLACK


async def test_a_call_is_sent_what_is_left(server: FaultServer) -> None:
    given: list[float] = []

    class Slow:
        """Notes its timeout."""

        async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
            given.append(params["timeout"])
            await asyncio.sleep(0.2)
            raise TimeoutError("late")

    models = pool(server, client=Slow())
    response = await BestRoute(models, policy=FixedArm("small:1")).acomplete("hi", timeout=10)
    assert response.model == "big"
    assert given == sorted(given, reverse=True)
    assert 9.7 < given[0] <= 10
    assert given[1] <= given[0] - 0.2


@pytest.mark.parametrize("jump", [-1e6, 1e6, math.inf])
async def test_wall_clocks_may_jump(
    jump: float, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = engine(server)
    await router.warmup()
    clock, now = time.time, [0.0]

    def jumping() -> float:
        now[0] += jump if math.isfinite(jump) else (-1e6) ** (len(server.requests) % 2)
        return clock() + now[0]

    monkeypatch.setattr(time, "time", jumping)
    server.script = {"small": [status(503), answer()]}
    response, lasted = await timed(router, timeout=10.0)
    assert response.model == "small"
    assert lasted < 5
    assert all(call.latency >= 0 for call in response.calls)
    server.script = {"*": hang}
    error, lasted = await timed(router, timeout=0.3)
    assert isinstance(error, DeadlineError)
    assert 0.3 <= lasted < 0.3 + SLACK


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "1", True])
def test_times_that_are_none(timeout: Any, server: FaultServer) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        engine(server).route("hi", timeout=timeout)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, math.nan])
def test_shares_that_are_none(share: float, server: FaultServer) -> None:
    with pytest.raises(ConfigError, match="fallback_share"):
        engine(server, fallback_share=share)


def test_without_a_timeout_there_is_no_deadline() -> None:
    for timeout in (None, math.inf):
        deadline = Deadline(timeout)
        assert (deadline.cut, deadline.end) == (math.inf, math.inf)
        assert not deadline.is_cut


async def test_a_stream_has_an_end_without_a_timeout() -> None:
    async def words() -> Any:
        while True:
            await asyncio.sleep(0.01)
            yield "word"

    with pytest.raises(TimeoutError, match="no end"):
        async for _ in paced(words(), 5.0, time.monotonic() + 0.1):
            pass

    async def stalls() -> Any:
        yield "word"
        await asyncio.sleep(5)

    with pytest.raises(TimeoutError, match="nothing came"):
        async for _ in paced(stalls(), 0.05, math.inf):
            pass


def test_the_integrations_bound_the_whole_call(server: FaultServer) -> None:
    server.script = {"*": hang}
    models = pool(server)
    for call in (
        ChatBestRoute(pool=models, timeout=0.4).invoke,
        BestRouteLLM(models, timeout=0.4).complete,
    ):
        began = time.monotonic()
        with pytest.raises(DeadlineError) as caught:
            call("hi")
        assert isinstance(caught.value, TimeoutError)
        assert time.monotonic() - began < 0.4 + SLACK
    assert server.all_closed()
