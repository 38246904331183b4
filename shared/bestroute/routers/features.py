"""Surface features of a query: what its shape says about how hard it is."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bestroute.routers.encoder import windows

FEATURES_VERSION = 1
"""Raised whenever a feature is added, removed, reordered or computed differently."""

_WINDOW, _CAP = 2048, 16

_ASCII = 128
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+")
_ENDS = frozenset(".!?")

_SHARES: dict[str, Callable[[str], bool]] = {
    "digit": str.isdecimal,
    "upper": frozenset(string.ascii_uppercase).__contains__,
    "punctuation": frozenset(".,;:!?'\"()-").__contains__,
    "code": frozenset("{}[]<>=;_`\\|#@&").__contains__,
    "math": frozenset("+*/=^%$\u00d7\u00f7\u2211\u222b\u221a").__contains__,
    "non_ascii": lambda character: ord(character) >= _ASCII,
}
_ALSO_COUNTED: dict[str, Callable[[str], bool]] = {
    "blank": str.isspace,
    "line": "\n".__eq__,
    "comma": ",".__eq__,
    "question": frozenset("?\uff1f").__contains__,
    "wide_end": frozenset("\u3002\uff01\uff1f").__contains__,
}
_CLASSES = (*_SHARES.values(), *_ALSO_COUNTED.values())
_ASCII_CLASSES = np.array([[belongs(chr(i)) for belongs in _CLASSES] for i in range(_ASCII)], int)
_COUNTS = ("numbers", "commas", "questions", "sentences")
_WORDS: dict[str, str] = {
    "asks_code": "code function program python java javascript sql regex implement debug class",
    "asks_format": "json yaml xml csv table list format bullet",
    "asks_maths": "calculate compute solve total percent probability equation",
    "asks_rewriting": "translate summarise summarize rewrite paraphrase correct shorten classify "
    "extract",
    "asks_writing": "write story poem essay letter email blog describe",
    "asks_reasons": "why explain prove reason compare analyse analyze difference",
    "asks_fact": "who what when where which",
    "has_condition": "if unless except without must only but not each every",
}
_PLACE = {name: place for place, name in enumerate(_WORDS)}
_MEANT = {
    form: _PLACE[name]
    for name, words in _WORDS.items()
    for word in words.split()
    for form in (word, f"{word}s")
}
_PHRASES = (
    ("how m", re.compile(r"\bhow (?:many|much)s?\b"), _PLACE["asks_maths"]),
    ("step by step", re.compile(r"\bstep by steps?\b"), _PLACE["asks_reasons"]),
)
"""What is sure to be in a text with the phrase, the phrase, and its column."""

_BREAKS = bytes(i if _WORD.match(chr(i)) else ord(" ") for i in range(256))

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
    *_WORDS,
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
    characters = _count(text)
    blank, lines, commas, questions, wide_ends = characters[len(_SHARES) :]
    lowered = text.lower()
    words = lowered.split()
    numbers = _NUMBER.findall(text)
    sentences = wide_ends + len([word for word in words if word[-1] in _ENDS])
    counts = (len(numbers), commas, questions, sentences)
    return [
        math.log1p(len(query)),
        math.log1p(len(words) * scale),
        math.log1p(lines * scale),
        math.log1p((len(text) - blank) / max(len(words), 1)),
        math.log1p(len(words) / max(sentences, 1)),
        len(set(words)) / max(len(words), 1),
        math.log1p(max(map(len, numbers), default=0)),
        *[math.log1p(count * scale) for count in counts],
        *[count / size for count in characters[: len(_SHARES)]],
        *_meant(lowered if text.isascii() else _caseless(text)),
    ]


def _count(text: str) -> list[int]:
    """How many characters belong to each class."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if text.isascii():
        return _of_ascii(codes)
    counts = _of_ascii(codes[codes < _ASCII])
    for code, times in zip(*np.unique(codes[codes >= _ASCII], return_counts=True), strict=True):
        for place, belongs in enumerate(_CLASSES):
            counts[place] += int(times) * belongs(chr(code))
    return counts


def _of_ascii(codes: NDArray[np.uint32]) -> list[int]:
    counts: list[int] = (np.bincount(codes, minlength=_ASCII) @ _ASCII_CLASSES).tolist()
    return counts


def _caseless(text: str) -> str:
    """In lower case; some letters count as i and s in any case, and are not lowered to them."""
    return text.replace("\u0130", "i").replace("\u0131", "i").replace("\u017f", "s").lower()


def _meant(lowered: str) -> list[float]:
    """Which instructions are there: 1 or 0 each."""
    if lowered.isascii():
        words = lowered.encode().translate(_BREAKS).decode().split()
    else:
        words = _WORD.findall(lowered)
    found = [0.0] * len(_WORDS)
    for word in _MEANT.keys() & words:
        found[_MEANT[word]] = 1.0
    for hint, phrase, place in _PHRASES:
        if hint in lowered and phrase.search(lowered):
            found[place] = 1.0
    return found
