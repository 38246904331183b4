"""Surface features of a query: what its shape says about how hard it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bestroute.routers.encoder import windows

FEATURES_VERSION = 1
"""Raised whenever a feature is added, removed, reordered or computed differently."""

_WINDOW, _CAP = 2048, 16

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|[\u3002\uff01\uff1f]")

_SHARES: dict[str, re.Pattern[str]] = {
    "digit": re.compile(r"\d"),
    "upper": re.compile(r"[A-Z]"),
    "punctuation": re.compile(r"[.,;:!?'\"()\-]"),
    "code": re.compile(r"[{}\[\]<>=;_`\\|#@&]"),
    "math": re.compile(r"[+*/=^%$\u00d7\u00f7\u2211\u222b\u221a]"),
    "non_ascii": re.compile(r"[^\x00-\x7f]"),
}
_COUNTS: dict[str, re.Pattern[str]] = {
    "numbers": _NUMBER,
    "commas": re.compile(r","),
    "questions": re.compile(r"[?\uff1f]"),
    "sentences": _SENTENCE,
}
_WORDS: dict[str, str] = {
    "asks_code": "code|function|program|python|java|javascript|sql|regex|implement|debug|class",
    "asks_format": "json|yaml|xml|csv|table|list|format|bullet",
    "asks_maths": "calculate|compute|solve|how many|how much|total|percent|probability|equation",
    "asks_rewriting": "translate|summari[sz]e|rewrite|paraphrase|correct|shorten|classify|extract",
    "asks_writing": "write|story|poem|essay|letter|email|blog|describe",
    "asks_reasons": "why|explain|prove|reason|step by step|compare|analy[sz]e|difference",
    "asks_fact": "who|what|when|where|which",
    "has_condition": "if|unless|except|without|must|only|but|not|each|every",
}
_INSTRUCTIONS = {
    name: re.compile(rf"\b(?:{words})s?\b", re.IGNORECASE) for name, words in _WORDS.items()
}

FEATURE_NAMES: tuple[str, ...] = (
    "log_characters",
    "log_words",
    "log_lines",
    "word_length",
    "sentence_length",
    "distinct_words",
    "longest_number",
    *(f"log_{name}" for name in _COUNTS),
    *(f"{name}_share" for name in _SHARES),
    *_INSTRUCTIONS,
)
"""The columns of `surface_features`."""


def surface_features(queries: Sequence[str]) -> NDArray[np.float64]:
    """Surface features of queries [B, F], finite, the columns named by `FEATURE_NAMES`.

    Counts and lengths are log(1 + x), shares are in [0, 1], words are present (1) or not (0). A
    query above 32,768 characters is read through 16 windows (`encoder.windows`), its counts
    scaled to its length, so that the cost is bounded.
    """
    rows = [_row(query) for query in queries]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURE_NAMES))


def _row(query: str) -> list[float]:
    whole = len(query) <= _WINDOW * _CAP
    text = query if whole else " ".join(windows(query, _WINDOW, _CAP))
    size = max(len(text), 1)
    scale = len(query) / size
    words = text.split()

    def count(pattern: re.Pattern[str]) -> int:
        return len(pattern.findall(text))

    longest = max((len(number) for number in _NUMBER.findall(text)), default=0)
    return [
        np.log1p(len(query)),
        np.log1p(len(words) * scale),
        np.log1p(text.count("\n") * scale),
        np.log1p(sum(map(len, words)) / max(len(words), 1)),
        np.log1p(len(words) / max(count(_SENTENCE), 1)),
        len({word.lower() for word in words}) / max(len(words), 1),
        np.log1p(longest),
        *(np.log1p(count(pattern) * scale) for pattern in _COUNTS.values()),
        *(count(pattern) / size for pattern in _SHARES.values()),
        *(float(pattern.search(text) is not None) for pattern in _INSTRUCTIONS.values()),
    ]
