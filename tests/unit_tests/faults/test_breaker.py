"""Models that fail again and again are left out for a while, and tried again."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from bestroute import breaker
from bestroute.breaker import Breaker
from bestroute.errors import SamplingError
from bestroute.policy import FixedArm
from tests.fault_server import FaultServer, answer, status
from tests.unit_tests.faults.engines import engine, pool

DOWN = status(503, "down")


def asked(server: FaultServer, model: str = "small") -> int:
    return sum(body["model"] == model for body in server.requests)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The breaker's clock alone: event loops go by the same module."""
    now = [1000.0]
    monkeypatch.setattr(breaker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_rest_is_twice_as_long_each_time_and_has_a_limit(clock: list[float]) -> None:
    health = Breaker(failures=2, rest=10, longest=35)
    health.failed("m", [TimeoutError()])
    assert not health.resting()
    lengths = []
    for _ in range(4):
        assert health.admits("m")
        health.failed("m", [TimeoutError()])
        began = clock[0]
        while health.resting():
            assert not health.admits("m")
            clock[0] += 1
        lengths.append(clock[0] - began)
    assert lengths == [10, 20, 35, 35]
    health.succeeded("m")
    health.failed("m", [TimeoutError()])
    assert not health.resting()


def test_what_was_under_way_when_a_rest_began_does_not_lengthen_it(clock: list[float]) -> None:
    health = Breaker(rest=10)
    for _ in range(64):
        health.failed("m", [TimeoutError()])
    clock[0] += 10
    assert health.admits("m")
    for _ in range(64):
        health.failed("m", [TimeoutError()])
    clock[0] += 19
    assert health.resting()
    clock[0] += 1
    assert health.admits("m")


def test_an_answer_in_between_starts_the_count_again(clock: list[float]) -> None:
    health = Breaker(failures=2)
    for _ in range(5):
        health.failed("m", [TimeoutError()])
        health.succeeded("m")
    assert not health.resting()


def test_what_is_the_request_s_fault_is_not_the_model_s(clock: list[float]) -> None:
    health = Breaker(failures=1)
    health.failed("m", [ValueError("no such parameter")])
    assert not health.resting()
    assert health.admits("m")


def test_only_one_of_many_threads_makes_the_trial() -> None:
    health = Breaker(failures=1, rest=0.05)
    health.failed("m", [TimeoutError()])
    time.sleep(0.1)
    together, admitted = threading.Barrier(16), list[bool]()

    def ask() -> None:
        together.wait()
        admitted.append(health.admits("m"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False] * 15 + [True]


async def test_left_out_then_tried_then_back(server: FaultServer, clock: list[float]) -> None:
    server.script = {"small": DOWN}
    router = engine(server, breaker=Breaker(failures=2, rest=10))
    for _ in range(2):
        assert (await router.acomplete("hi")).model == "big"
    assert asked(server) == 6
    decision = router.route("hi")
    assert decision.arm.model == "big"
    assert set(decision.excluded) == {"small:1", "small:2", "small:3"}
    assert "ServiceUnavailableError" in decision.excluded["small:1"]
    assert (await router.acomplete("hi")).model == "big"
    assert asked(server) == 6
    clock[0] += 11
    responses = await asyncio.gather(*(router.acomplete("hi") for _ in range(8)))
    assert {response.model for response in responses} == {"big"}
    assert asked(server) == 7  # one trial, once
    clock[0] += 11
    assert (await router.acomplete("hi")).model == "big"  # it rests twice as long now
    assert asked(server) == 7
    clock[0] += 10
    server.script = {"small": answer()}
    assert (await router.acomplete("hi")).model == "small"
    responses = await asyncio.gather(*(router.acomplete("hi") for _ in range(4)))
    assert {response.model for response in responses} == {"small"}


async def test_a_refused_key_is_left_out_at_once(server: FaultServer) -> None:
    server.script = {"small": status(401)}
    router = engine(server)
    await router.acomplete("hi")
    assert asked(server) == 1
    await router.acomplete("hi")
    assert asked(server) == 1


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/small", "OPENAI_API_KEY"), ("gemini/gemini-2.0-flash", "GEMINI_API_KEY")],
)
async def test_a_missing_key_is_not_asked_with(
    model: str, variable: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (variable, "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    router = engine(server, small={"model": model, "params": {"api_key": None}})
    response = await router.acomplete("hi")
    assert response.model == "big"
    (call,) = [call for call in response.calls if call.model == "small"]
    assert str(call.error).startswith("no API key") and variable in str(call.error)
    assert "small" in router.breaker.resting()


async def test_errors_are_told_in_few_words(server: FaultServer) -> None:
    server.script = {"small": status(401, "a key that is none")}
    response = await engine(server).acomplete("hi")
    error = str(next(call.error for call in response.calls if call.model == "small"))
    assert error.count("AuthenticationError") == 1  # which LiteLLM says three times
    assert "OpenAIException" in error


async def test_when_all_rest_the_least_recently_failed_is_asked(server: FaultServer) -> None:
    server.script = {"*": status(401)}
    router = engine(server, "small", "middle", "big")
    with pytest.raises(SamplingError):
        await router.acomplete("hi")
    assert list(router.breaker.resting()) == ["small", "big", "middle"]  # as they were asked
    server.script = {}
    assert router.route("hi").arm.model == "small"
    assert (await router.acomplete("hi")).model == "small"


async def test_who_rests_is_the_last_resort(server: FaultServer) -> None:
    server.script = {"small": status(401)}
    router = engine(server)
    await router.acomplete("hi")
    server.script = {"small": answer("well again"), "big": DOWN}
    response = await router.acomplete("hi")
    assert response.text == "well again"
    assert "small" not in router.breaker.resting()


async def test_a_named_model_is_asked_even_if_it_rests(server: FaultServer) -> None:
    server.script = {"small": status(401)}
    router = engine(server)
    await router.acomplete("hi")
    server.script = {}
    assert (await router.acomplete("hi", model="small")).model == "small"


async def test_each_engine_has_its_own_unless_it_is_shared(server: FaultServer) -> None:
    server.script = {"small": status(401)}
    shared = Breaker()
    first, second = (engine(server, models=pool(server), breaker=shared) for _ in range(2))
    await first.acomplete("hi")
    assert second.route("hi").arm.model == "big"
    assert engine(server, policy=FixedArm("small:1")).route("hi").arm.model == "small"
