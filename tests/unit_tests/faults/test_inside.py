"""Faults of our own parts: router, artifact, reward model; and paid samples under any of them."""

from __future__ import annotations

import asyncio
import importlib
import math
import random
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bestroute import BestRoute, Prediction
from bestroute._litellm import litellm
from bestroute.errors import ArtifactError, ConfigError, PoolMismatchError, SamplingError
from bestroute.failures import Failure, waiting_time
from bestroute.policy import Draw, FixedArm, OneShot, State
from bestroute.rewards.base import RewardModel
from bestroute.samples import total_usage
from tests.fault_server import (
    Choice,
    Exchange,
    Fault,
    FaultServer,
    answer,
    raw,
    reset_mid_body,
    status,
)
from tests.small_router import routed
from tests.unit_tests.faults.engines import engine, pool
from tests.unit_tests.test_engine import Fixed


class Broken(Fixed):
    """A router that says what it is told to, or raises it."""

    def __init__(self, models: Any, says: Any) -> None:
        super().__init__(models, {})
        self.says = says

    def predict(self, queries: Sequence[str]) -> Prediction:
        if isinstance(self.says, Exception):
            raise self.says
        match = np.array(self.says, dtype=float)
        return Prediction(self.arms, match, *([match] if match.ndim == 2 else []))


@pytest.mark.parametrize(
    "says",
    [
        RuntimeError("out of memory"),
        StopIteration(),
        [[0.9, math.nan, 0.9, 1.0]],
        [[0.9, math.inf, 0.9, 1.0]],
        [[0.9, 1.5, 0.9, 1.0]],
        [[0.9, -0.1, 0.9, 1.0]],
        [[0.9, 0.9, 1.0]],
        [0.9, 0.9, 0.9, 1.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("door", ["complete", "route"])
async def test_a_router_that_cannot_be_relied_on(says: Any, door: str, server: FaultServer) -> None:
    models = pool(server)
    router = BestRoute(models, router=Broken(models, says), policy=OneShot(0.5))
    if door == "route":
        decision = router.route("hi")
    else:
        response = await asyncio.wait_for(router.acomplete("hi"), 10)
        decision = response.decision
        assert response.model == "big"
        assert "the router failed" in response.degraded[0]
    assert str(decision.arm) == "big:1"
    assert "the router failed" in decision.reason
    assert "reference" in decision.reason


def test_a_router_without_a_head_for_an_arm(server: FaultServer) -> None:
    few, more = pool(server), pool(server, "small", "middle", "big")
    with pytest.raises(PoolMismatchError, match="no head for middle:1"):
        BestRoute(more, router=Fixed(few, {}), threshold=0.5)


def test_an_artifact_that_lacks_heads(tmp_path: Path) -> None:
    models = [{"model": "openai/small", "max_samples": 2}, {"model": "openai/big"}]
    models = [{**each, "price": {"input": 1, "output": 1}} for each in models]
    models[1]["reference"] = True
    saved = routed({"models": models}).save_pretrained(tmp_path)
    (weights,) = saved.rglob("*.safetensors")
    tensors = load_file(weights)
    short = {"match": np.ascontiguousarray(tensors["match"][:, :-1])}
    for damaged in ({**tensors, **short}, {"vectors": tensors["vectors"]}):
        save_file(damaged, weights)
        with pytest.raises(ArtifactError):
            BestRoute.from_pretrained(saved)


@pytest.mark.parametrize("theirs", [False, True])
def test_what_litellm_prints_is_silenced_unless_it_is_the_application_s(
    theirs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.ModuleType("litellm")
    fake.suppress_debug_info = False  # type: ignore[attr-defined]

    def imported(name: str) -> types.ModuleType:
        return sys.modules.setdefault(name, fake)

    monkeypatch.setitem(sys.modules, "litellm", fake)  # to be undone in any case
    if not theirs:
        del sys.modules["litellm"]
    monkeypatch.setattr(importlib, "import_module", imported)
    assert litellm.__wrapped__().suppress_debug_info is not theirs


class Says(RewardModel):
    """Scores that are none."""

    def __init__(self, says: Any) -> None:
        self.says = says

    def score(self, query: str, responses: Sequence[str]) -> Any:
        if isinstance(self.says, BaseException):
            raise self.says
        return np.array(self.says)


@pytest.mark.parametrize(
    "says",
    [
        MemoryError("full"),
        StopIteration(),
        asyncio.CancelledError(),
        [math.nan, 1, 2],
        [math.inf, 1, 2],
        [1, 2],
        [],
    ],
    ids=str,
)
async def test_a_reward_model_that_cannot_be_relied_on(says: Any, server: FaultServer) -> None:
    server.script = {"small": answer("a", "b", "b")}
    response = await asyncio.wait_for(engine(server, reward=Says(says)).acomplete("hi"), 10)
    assert response.text == "b"  # the most frequent
    assert len(response.samples) == 3
    assert any("Says" in why for why in response.degraded)


@dataclass
class Wants:
    """A policy that cannot be followed."""

    move: tuple[Draw, ...]
    name = "wants"
    needs_router = False
    calibrated = False

    def next(self, state: State) -> tuple[Draw, ...]:
        return self.move


@pytest.mark.parametrize("models", [(), ("small", "small")], ids=str)
async def test_a_policy_that_cannot_be_followed(
    models: tuple[str, ...], server: FaultServer
) -> None:
    move = tuple(Draw(model=model, n=index + 1) for index, model in enumerate(models))
    with pytest.raises(ConfigError, match="policy 'wants'"):
        await engine(server, policy=Wants(move)).acomplete("hi")
    assert not server.requests


class Forgets(Wants):
    """A policy that fails when it is asked again."""

    def next(self, state: State) -> tuple[Draw, ...]:
        if state.waves:
            raise KeyError("plan")
        return self.move


async def test_a_policy_that_fails_amid_a_call(server: FaultServer) -> None:
    router = engine(server, policy=Forgets((Draw(model="small", n=2),)))
    response = await router.acomplete("hi")
    assert response.model == "small" and len(response.samples) == 2  # paid for, so used
    assert response.degraded == (
        "the policy 'wants' failed (KeyError: 'plan'): what came is taken",
    )
    response = await router.acomplete("hi", response_format={"type": "json_object"})
    assert response.model == "small"  # no JSON, but all that there is
    assert any("no valid sample" in why for why in response.degraded)
    server.script = {"small": status(401)}
    with pytest.raises(KeyError, match="plan"):  # there is nothing to answer with
        await router.acomplete("hi")


def numbered(server: FaultServer) -> Fault:
    """An answer with a text of its own for each choice; the server remembers what it gave."""

    async def play(exchange: Exchange) -> None:
        count = exchange.body.get("n") or 1
        texts = [f"text {len(server.given) + index}" for index in range(count)]
        server.given += texts
        await answer(*texts)(exchange)

    return play


class Giving(FaultServer):
    """Knows the texts of all sound answers that it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []


@pytest.mark.parametrize("seed", range(24))
async def test_no_fault_loses_a_paid_sample(seed: int) -> None:
    rng = random.Random(seed)
    with Giving() as server:
        good = numbered(server)
        faults = [good, good, reset_mid_body, raw("{"), raw('{"choices": []}')]
        faults += [status(code) for code in (400, 401, 413, 422, 429, 500, 503)]
        faults += [answer(""), answer(Choice(None, finish="content_filter"))]
        server.script = {
            name: [rng.choice(faults) for _ in range(9)] for name in ("small", "middle", "big")
        }
        router = engine(server, "small", "middle", "big", small={"native_n": seed % 2 == 0})
        try:
            response = await router.acomplete("three short words", timeout=20)
        except SamplingError as error:
            calls, texts = error.calls, list[str]()
            assert error.causes
        else:
            calls, texts = response.calls, [sample.text for sample in response.samples]
        assert sorted(texts) == sorted(server.given)
        assert len(calls) == len(server.requests)
        assert sum(call.received for call in calls) == len(texts)
        paid = total_usage(calls)
        assert paid.completion_tokens >= 2 * len(server.given) > -1


HEADERS = {
    "7": 7.0,
    "0.5": 0.5,
    "0": 0.0,
    "59.9": 59.9,
    "61": math.inf,
    "1e9": math.inf,
    "inf": math.inf,
    "nan": None,
    "-5": None,
    "": None,
    "soon": None,
    "Wed, 25 Nov 2026 10:00:08 GMT": 8.0,
    "Wed, 25 Nov 2026 09:00:00 GMT": None,
    "Wed, 25 Nov 2099 10:00:00 GMT": math.inf,
    "Wed, 99 Nov 2026 10:00:00 GMT": None,
}


@pytest.mark.parametrize("asked", HEADERS)
def test_how_long_a_provider_asks_to_wait(asked: str) -> None:
    error = Exception("slow down")
    date = "Wed, 25 Nov 2026 10:00:00 GMT"  # of the provider's clock, whatever ours says
    error.litellm_response_headers = {"retry-after": asked, "date": date}  # type: ignore[attr-defined]
    wait, expected = waiting_time(error, 2.0), HEADERS[asked]
    if expected is None:
        assert 1.0 <= wait <= 3.0
    else:
        assert wait == expected


async def test_another_story_is_not_taken_for_a_failure_s_cause(server: FaultServer) -> None:
    """The caller may be handling an error of its own, such as a prompt too long for a model."""
    server.script = {"small": status(503)}

    class TooLong(Exception):  # noqa: N818
        status_code = 413

    router = engine(server, policy=FixedArm("small:1"), small={"context_window": 2_000_000})
    for streaming in (False, True):
        try:
            raise TooLong
        except TooLong:
            if streaming:
                *_, response = [item async for item in router.astream("hi")]
            else:
                response = await router.acomplete("hi")
        assert response.model == "big"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (asyncio.TimeoutError, Failure.PASSING),
        (ConnectionResetError, Failure.PASSING),
        (ValueError, Failure.OTHER),
    ],
)
def test_errors_without_a_status(kind: type[Exception], failure: Failure) -> None:
    assert Failure.of(kind()) is failure
