"""Plain data from outside, before anything walks through it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DEEPEST = 100
"""Levels of lists and mappings in each other; no request, pool or JSON schema has so many."""

_PLAIN = (str, int, float, Mapping, list, tuple)


def parsed(text: str) -> Any:
    """What JSON text holds.

    Raises:
        ValueError: It is not JSON, or nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def flaw(value: Any, *, whole: bool = False) -> str | None:
    """Why data cannot be written as JSON; `None` if it can.

    Args:
        value: Lists and mappings, checked for depth and names.
        whole: Whether what is in them is checked as well.
    """
    level = [value]
    for _ in range(DEEPEST):
        if any(not _is_name(key) for each in level if isinstance(each, Mapping) for key in each):
            return "has a key that is no text"
        if whole and (odd := next((each for outer in level for each in _odd(outer)), None)):
            return f"holds {odd}, which JSON has not"
        inner = {id(each): each for outer in level for each in _inside(outer)}
        level = list(inner.values())
        if not level:
            return None
    return f"is nested more than {DEEPEST} levels deep"


def well_formed(text: str) -> str:
    """The text, lone surrogates, which UTF-8 has not, replaced by `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_name(key: Any) -> bool:
    return key is None or isinstance(key, str | int | float)  # as JSON writes them


def _inside(value: Any) -> Iterator[Any]:
    """The lists and mappings in a list or mapping."""
    yield from (each for each in _items(value) if isinstance(each, Mapping | list | tuple))


def _odd(value: Any) -> Iterator[str]:
    """What in a list or mapping is no JSON."""
    for each in _items(value):
        if isinstance(each, float) and not math.isfinite(each):
            yield str(each)
        elif each is not None and not isinstance(each, _PLAIN):
            yield f"a {type(each).__name__}"


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
