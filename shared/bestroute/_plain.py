"""Plain data from outside, before anything walks through it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 100
"""Levels of lists and mappings in each other; no request, pool or JSON schema has so many."""


def parsed(text: str) -> Any:
    """What JSON text holds.

    Raises:
        ValueError: It is not JSON, or nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def flaw(value: Any) -> str | None:
    """Why data cannot be written as JSON, as far as its structure goes; `None` if it can."""
    level = [value]
    for _ in range(DEEPEST):
        if any(not _is_name(key) for each in level if isinstance(each, Mapping) for key in each):
            return "has a key that is no text"
        inner = {id(each): each for outer in level for each in _inside(outer)}
        level = list(inner.values())
        if not level:
            return None
    return f"is nested more than {DEEPEST} levels deep"


def _is_name(key: Any) -> bool:
    return key is None or isinstance(key, str | int | float)  # as JSON writes them


def _inside(value: Any) -> Iterator[Any]:
    """The lists and mappings in a list or mapping."""
    items = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | list | tuple):
        yield from (each for each in items if isinstance(each, Mapping | list | tuple))
