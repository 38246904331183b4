"""Normal forms: two spellings of one answer become the same text."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from fractions import Fraction
from typing import Any

_SHORT = 8  # words; in longer texts a lone number is one detail among others
_LONGEST_NUMBER = 60  # characters; beyond it digits are compared as text

_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\{,\}|\\[,!]"), ""),
    (re.compile(r"\\(?:left|right|displaystyle|quad)\b|\^\{?\\circ\}?|\\[;: ]|\\[()\[\]]"), " "),
    (re.compile(r"\\(?=[$%{}])"), ""),
)
_NUMBER = re.compile(
    r"(?<![\w./^])(?:(?<!\w )-|\+|(?<=\w )-(?=\d))?"
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+/\d+|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
    r"(?![\w^/*]|[.,]\d|-[^\W\d])"
)
_SCALE = re.compile(r"\s*(hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_ALGEBRA = re.compile(r"[+*^\\<>{}≤≥√π]|\w\(|\b[a-z]\s*[-/]")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_DATE = re.compile(
    r"(?<![\w/.-])\d{1,4}([/.-])\d{1,2}\1\d{1,4}(?![\w/-])|(?<![\w:])\d{1,2}:\d{2}(?!\d)"
    rf"|\b{_MONTH}[a-z]*\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b",
    re.IGNORECASE,
)
_NAME_BEFORE = re.compile(r"\b[^\W\d_a-z]\w*\s+$")
_CALENDAR = re.compile(rf"\s*(?:[ap]\.?m\b|{_MONTH}|mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
_CHOICE = re.compile(
    r"(?:(?i:option|choice)\s+)?(?:\(([A-Ja-j])\)|([A-J])(?:[.):](?=\s|$)|$)|([a-j])(?:\)(?=\s|$)|$))"
)
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
}
_OPENING = ("[", "{", "(")  # an empty list is an answer, though it has no words
_ARTICLES = {"a", "an", "the"}
_ENDS = ".,;:!?\"'()[]{}<>`*~_$€£¥% "
_COMMENT = re.compile(r"^[ \t]*(?:#|//|--).*$", re.MULTILINE)


def normal_text(text: str) -> str:
    """The normal form of a short answer; empty when it says nothing.

    A choice becomes its letter, a number (with or without unit) its plain value, all else
    words without case, accents, articles, markup and punctuation.
    """
    plain = _plain(text)
    if choice := choice_letter(plain):
        return choice
    number = lone_number(plain)
    if number is not None:
        return number
    return _words(plain) or ("".join(plain.split()).rstrip(".") if plain[:1] in _OPENING else "")


def choice_letter(text: str) -> str | None:
    """The letter of an answer such as `(B)`, `B.` or `B: Paris`."""
    found = _CHOICE.match(_plain(text))
    rest = _plain(text)[found.end() :] if found else ""
    if not found or (rest and not rest[0].isspace()):
        return None
    return next(letter for letter in found.groups() if letter).lower()


def lone_number(text: str) -> str | None:
    """The value of the only number of a short text; `None` for formulas, dates and names."""
    plain = _plain(text).rstrip(".")
    head, _, tail = plain.rpartition("=")
    if head and len(tail.split()) <= _SHORT and (found := _only_number(tail.strip())):
        return found
    return _only_number(plain) if len(plain.split()) <= _SHORT else None


def last_number(text: str) -> str | None:
    """The value of the last number of a text; a date or a time counts as one, in its words."""
    plain = _plain(text)
    date = max(_DATE.finditer(plain), key=lambda found: found.end(), default=None)
    number = max(_NUMBER.finditer(plain), key=lambda found: found.end(), default=None)
    if date and (number is None or number.end() <= date.end()):
        return _words(date[0])
    return _value(number, plain) if number else None


def normal_json(data: Any) -> str:
    """JSON with sorted keys, its leaves in their normal forms: 1, 1.0 and "1" are the same."""
    return json.dumps(_normal_leaves(data), sort_keys=True, ensure_ascii=False)


def normal_code(source: str, language: str = "") -> str:
    """Code without comments and layout; Python through its syntax tree, docstrings left out."""
    if language.lower() in ("", "python", "py", "python3"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the model's code, not ours
                return ast.unparse(_without_docstrings(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # another language, or broken: compared as text
    lines = _COMMENT.sub("", source).splitlines()
    return "\n".join(joined for line in lines if (joined := " ".join(line.split())))


def _plain(text: str) -> str:
    """Without Markdown emphasis, LaTeX dress and exotic characters."""
    text = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\*\*|__|`|\$", "", text)
    return text.strip().strip("*_\"'“”").strip()


def _only_number(text: str) -> str | None:
    found = list(_NUMBER.finditer(text))
    if len(found) != 1 or len(re.findall(r"\d", text)) != len(re.findall(r"\d", found[0][0])):
        return None
    before, after = text[: found[0].start()], text[found[0].end() :]
    if _ALGEBRA.search(before + " " + after):
        return None
    if _NAME_BEFORE.search(before) or _CALENDAR.match(after):
        return None
    return _value(found[0], text)


def _value(found: re.Match[str], text: str) -> str:
    token = found[0].replace(",", "")
    if len(token) > _LONGEST_NUMBER:
        return token
    try:
        value = Fraction(token)
    except (ValueError, ZeroDivisionError):
        return token
    if scale := _SCALE.match(text, found.end()):
        value *= 10 ** _SCALES[scale[1].lower()]
    return str(value) if value.denominator == 1 else format(float(value), ".12g")


def _words(text: str) -> str:
    folded = "".join(
        char
        for char in unicodedata.normalize("NFKD", text.casefold())
        if not unicodedata.combining(char)
    )
    folded = re.sub(r"(?<=[^\W\d])[-‐‑–—](?=[^\W\d])", " ", re.sub(r"['’ʼ]", "", folded))
    words = [stripped for word in folded.split() if (stripped := word.strip(_ENDS))]
    words = [word for word in words if word not in _ARTICLES] or words
    joined = " ".join(words)
    return _NUMBER_WORDS.get(joined, joined)


def _normal_leaves(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key).strip().casefold(): _normal_leaves(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_normal_leaves(value) for value in data]
    if data is None or isinstance(data, bool):
        return json.dumps(data)
    return normal_text(str(data))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    scopes = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(tree):
        if isinstance(node, scopes) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
