"""What a call to a provider says, whom it goes to, and its record when it fails."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bestroute import catalog
from bestroute._plain import well_formed
from bestroute.failures import describe
from bestroute.pool import PooledModel
from bestroute.query import Request
from bestroute.samples import Call


def call_params(request: Request, member: PooledModel) -> dict[str, Any]:
    """LiteLLM parameters of a call: the pool's, overridden by the request's."""
    return {**member.call_params(), **request.params}


def settings(request: Request, member: PooledModel) -> dict[str, Any]:
    """What a call would say, secrets still wrapped: to decide takes no key."""
    return {**member.params, **request.params}


def failed(member: PooledModel, requested: int, began: float, error: Exception) -> Call:
    """The record of a call that brought nothing."""
    return Call(
        model=member.name,
        requested=requested,
        latency=time.monotonic() - began,
        error=member.masked(describe(error)),
    )


def acompletion_of(litellm: Any, member: PooledModel) -> Callable[..., Awaitable[Any]]:
    """What answers for a member: its own client, or LiteLLM."""
    if member.client is not None:
        return member.client.acompletion
    catalog.provider(member)  # a typo in the pool is not a provider's failure
    return partial(litellm.acompletion, model=member.model, max_retries=0, caching=False)


def split_up(n: int, native: int) -> list[int]:
    """Sizes of the calls that together ask for n samples."""
    whole, rest = divmod(n, native)
    return [native] * whole + ([rest] if rest else [])


def seeded(params: dict[str, Any], offset: int) -> dict[str, Any]:
    """One seed for all parallel calls would buy the same sample n times."""
    if params.get("seed") is None:
        return params
    return {**params, "seed": params["seed"] + offset}


def copied(value: Any) -> Any:
    """A copy of plain data at any depth: LiteLLM rewrites messages and tools in place.

    Lone surrogates, which no provider can be sent, are replaced by `?`.
    """
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list | tuple) else value
