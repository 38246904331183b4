"""Engines over a fault server."""

from __future__ import annotations

from typing import Any

from bestroute import BestRoute, ModelPool, RoutedResponse
from bestroute.policy import FixedArm
from bestroute.sampling import Sampler
from tests.fault_server import FaultServer


def pool(server: FaultServer, *names: str, **small: Any) -> ModelPool:
    """Models of these names, the last one the reference; the first one, `small`, is special."""
    members: list[dict[str, Any]] = []
    for index, name in enumerate(names or ("small", "big")):
        special = dict(small) if index == 0 else {}
        params = {"api_base": server.url, "api_key": "k", **special.pop("params", {})}
        member = {"name": name, "model": f"openai/{name}", "context_window": 1_000_000, **special}
        members.append({**member, "params": params, "price": {"input": 1, "output": 1}})
    members[0].setdefault("max_samples", 3)
    members[-1] |= {"reference": True, "price": {"input": 50, "output": 50}}
    return ModelPool.from_dict({"models": members})


def engine(server: FaultServer, *names: str, arm: str = "small:3", **options: Any) -> BestRoute:
    """Always draws that arm first."""
    models = options.pop("models", None) or pool(server, *names, **options.pop("small", {}))
    options.setdefault("policy", FixedArm(arm))
    options.setdefault("sampler", Sampler(timeout=5.0))
    return BestRoute(models, **options)


async def answered(router: BestRoute, *, streaming: bool = False, **options: Any) -> RoutedResponse:
    """The response, streamed or not."""
    if not streaming:
        return await router.acomplete("three short words", **options)
    async for item in router.astream("three short words", **options):
        last = item
    assert isinstance(last, RoutedResponse)
    return last
