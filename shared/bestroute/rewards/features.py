"""Features of a query and a response: what a light reward model reads."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bestroute.routers.encoder import Encoder, windows
from bestroute.routers.features import FEATURE_NAMES, surface_features

PAIR_FEATURES_VERSION = 1
"""Raised whenever a feature is added, removed, reordered or computed differently."""

_WINDOW, _CAP = 2048, 16

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|as an ai|(?:can|could|do|am|'m)\s*(?:not|n['’]t)\s+"
    r"(?:able|answer|help|assist|provide|sure|know|determine))\b",
    re.IGNORECASE,
)
_ENDINGS = {
    "sentence": re.compile(r"[.!?\u3002]['\"*)]*\s*$"),
    "bracket": re.compile(r"[\]})>]\s*$"),
    "fence": re.compile(r"`\s*$"),
    "digit": re.compile(r"\d\s*$"),
}
_PIECES = {
    "refuses": _REFUSAL,
    "has_fence": re.compile(r"```"),
    "has_list": re.compile(r"^\s*(?:[-*]|\d+[.)])\s", re.MULTILINE),
    "has_equation": re.compile(r"=\s*-?\d"),
}

RESPONSE_FEATURES: tuple[str, ...] = (
    *FEATURE_NAMES,
    *(f"ends_with_{name}" for name in _ENDINGS),
    *_PIECES,
    "says_nothing",
    "is_json",
    "unbalanced",
    "repeats",
    "longer_than_query",
    "words_of_query",
    "numbers_of_query",
    "cosine",
)
"""The last columns of `pair_features`."""

_OWN = len(RESPONSE_FEATURES) - len(FEATURE_NAMES) - 1  # all but the surface and the cosine


def pair_features(pairs: Sequence[tuple[str, str]], encoder: Encoder) -> NDArray[np.float64]:
    """Features of (query, response) pairs [n, 2 x dimension + F], finite.

    The response's embedding; its product, entry by entry, with the query's; then those that
    `RESPONSE_FEATURES` names: the surface features of the response, how it ends, whether it
    refuses, repeats itself or breaks off, and what it shares with the query. Long texts are
    read through 16 windows, so that the cost is bounded.
    """
    queries, responses = [query for query, _ in pairs], [response for _, response in pairs]
    asked = encoder.encode(queries).astype(np.float64)
    said = encoder.encode(responses).astype(np.float64)
    products = asked * said
    rows = [_row(_bounded(query), _bounded(response)) for query, response in pairs]
    return np.hstack(
        [
            said,
            products,
            surface_features(responses),
            np.array(rows, dtype=np.float64).reshape(len(pairs), _OWN),
            products.sum(axis=1, keepdims=True),
        ]
    )


def _bounded(text: str) -> str:
    return text if len(text) <= _WINDOW * _CAP else " ".join(windows(text, _WINDOW, _CAP))


def _row(query: str, response: str) -> list[float]:
    words = _WORD.findall(response.lower())
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return [
        *(float(pattern.search(response) is not None) for pattern in _ENDINGS.values()),
        *(float(pattern.search(response) is not None) for pattern in _PIECES.values()),
        float(not words),
        float(_is_json(response)),
        float(_unbalanced(response)),
        1 - len(set(triples)) / len(triples) if triples else 0.0,
        float(np.log1p(len(response)) - np.log1p(len(query))),
        _shared(words, _WORD.findall(query.lower())),
        _shared(_NUMBER.findall(response), _NUMBER.findall(query)),
    ]


def _shared(some: Sequence[str], others: Sequence[str]) -> float:
    """Which share of the distinct items of the one is among the others; 0 if there are none."""
    distinct = set(some)
    return len(distinct & set(others)) / len(distinct) if distinct else 0.0


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unbalanced(text: str) -> bool:
    """Whether brackets or code fences are left open: the response broke off."""
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    return text.count("```") % 2 == 1 or any(text.count(a) > text.count(b) for a, b in pairs)
