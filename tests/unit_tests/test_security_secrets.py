"""Secrets reach the provider and nothing else: canaries are planted, and searched for."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bestroute import BestRoute, ModelPool
from bestroute.errors import BestRouteError, SamplingError
from bestroute.ledger import Ledger
from bestroute.sampling import Sampler
from tests.canaries import Cage, assert_free, cage, canary, files, shown
from tests.small_router import EASY, routed

__all__ = ["cage"]

ASK = EASY[0]


def engines(cage: Cage, folder: Path) -> tuple[BestRoute, BestRoute]:
    """From a pool alone, and with a router; both keep a ledger."""
    ledger = Ledger(folder / "ledger.db", texts=True)
    one = BestRoute(cage.pool, sampler=Sampler(retries=0), ledger=ledger)
    two = routed(cage.pool)
    two.sampler, two.ledger = Sampler(retries=0), ledger
    return one, two


def test_they_do_reach_the_provider(cage: Cage, tmp_path: Path) -> None:
    for engine in engines(cage, tmp_path):
        engine.complete(ASK)
        engine.complete(ASK, **cage.options)
        engine.complete(ASK, model="big")
    served = cage.served()
    for place in ("key", "header", "nested", "query", "call-header", "call-token", "environment"):
        assert canary(place) in served, place


@pytest.mark.parametrize("refuses", [(), ("small",), ("small", "big")], ids=str)
async def test_nothing_else_ever_holds_one(
    cage: Cage, tmp_path: Path, refuses: tuple[str, ...]
) -> None:
    cage.refuses = set(refuses)
    things: list[Any] = [ModelPool.from_dict(cage.pool)]
    for engine in engines(cage, tmp_path):
        things += [engine.pool, deepcopy(engine.pool), engine.route(ASK, **cage.options)]
        things += await everything(engine, cage)
        if engine.router is not None:
            engine.save_pretrained(tmp_path / "router", card="A card.")
        if engine.ledger is not None:
            engine.ledger.flush()
    assert_free(shown(*things))
    assert_free(files(tmp_path))
    assert_free({"logs": "\n".join(cage.logged)})


async def everything(engine: BestRoute, cage: Cage) -> list[Any]:
    """What a call gives by every door, errors included."""
    found: list[Any] = []
    models = (None, "walled", "small:2")
    for streaming, model, options in product((False, True), models, ({}, cage.options)):
        try:
            events = engine.aevents(ASK, streaming=streaming, model=model, **options)
            async for event in events:
                found.append(event)
        except BestRouteError as error:
            found.append(error)
    return found


def test_causes_keep_their_class_and_lose_the_secret(cage: Cage) -> None:
    cage.refuses = {"small", "big"}
    engine = BestRoute(cage.pool, sampler=Sampler(retries=0))
    with pytest.raises(SamplingError) as caught:
        engine.complete(ASK, **cage.options)
    assert {type(cause).__name__ for cause in caught.value.causes} == {
        "AuthenticationError",
        "InternalServerError",  # `walled`
    }
    assert any("***" in str(cause) for cause in caught.value.causes)
    assert_free(shown(caught.value))


OTHER = ("b" * 20, "a" * 40)
"""Secrets that only their form gives away."""


class Leaky:
    """A client whose package quotes its key, deep in what went wrong."""

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        try:
            raise KeyError({"request": [params, {"Authorization": f"Bearer {OTHER[0]}"}]})
        except KeyError as error:
            failure = ExceptionGroup("all of it", [ValueError(f"sk-{OTHER[1]}"), error])
            failure.add_note(f"called with {params}")
            raise RuntimeError(f"no luck with {params}") from failure


def test_a_client_that_quotes_its_key_is_silenced(cage: Cage) -> None:
    data = cage.pool
    for member in data["models"]:
        member["client"] = Leaky()
    with pytest.raises(SamplingError) as caught:
        BestRoute(data, sampler=Sampler(retries=0)).complete(ASK, **cage.options)
    places = shown(caught.value)
    assert_free(places)
    assert not [secret for secret in OTHER if secret in repr(places)]
    assert "no luck with" in repr(places)


@pytest.mark.parametrize("name", ["api_base", "base_url", "azure_endpoint", "proxy"])
def test_addresses_are_shown_without_what_they_hide(name: str) -> None:
    url = f"https://{canary('user')}:{canary('pw')}@host.example/v1?sig={canary('sig')}#x"
    pool = ModelPool.from_dict(
        {"models": [{"model": "openai/a", "reference": True, "params": {name: url}}]}
    )
    assert_free(shown(pool))
    assert "host.example/v1" in repr(pool)


def test_mistakes_in_a_pool_do_not_quote_it(tmp_path: Path) -> None:
    key = canary("key")
    for text in (
        f"models:\n  - model: openai/a\n    api_key: {key}\n    reference: true\n",
        f"models:\n  - model: openai/a\n    max_samples: {key}\n",
        f"models:\n  - model: openai/a\n    params: {{api_key: {key}\n",
        f"models:\n  - model: openai/a\n    price: {{input: {key}}}\n",
        f"models: {key}\n",
        f"{key}\n\n",
    ):
        with pytest.raises(BestRouteError) as caught:
            ModelPool.from_yaml(text)
        assert_free({"error": str(caught.value), "repr": repr(caught.value)})


def test_asyncio_debug_shows_none(cage: Cage, caplog: pytest.LogCaptureFixture) -> None:
    engine = BestRoute(cage.pool, sampler=Sampler(retries=0))
    asyncio.run(engine.acomplete(ASK, **cage.options), debug=True)
    assert_free({"asyncio": caplog.text or "-"})
