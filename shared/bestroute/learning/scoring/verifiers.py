"""Ground-truth checks: is this response right?

A `Check` is a small JSON-serialisable value that travels with a prompt; `verify` turns it and a
response into an oracle score. Verdicts are meant to be fair: a short chatty answer is right, a
response that lists several candidates or takes its answer back is wrong.

    >>> verify(TextCheck(accept=("Paris",)), "The capital is Paris.")
    1.0
    >>> verify(TextCheck(accept=("Paris",)), "Paris or Lyon")
    0.0
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator

from bestroute.learning.scoring.sandbox import call_function

_ARTICLES = frozenset({"a", "an", "the"})
_FILLERS = frozenset({"sure", "yes", "ok", "okay", "well", "certainly", "so"})
_NEGATIONS = frozenset({"not", "isnt", "no", "never", "neither", "nor", "arent", "wasnt"})
_DOUBTS = frozenset({"or", "either", "maybe", "perhaps", "possibly", "might", "wait", "sorry",
                     "actually", "alternatively", "unsure", "correction", "unless"})  # fmt: skip
_LINKS = frozenset({"is", "was", "are", "were", "be", "by", "called", "named", "equals"})
_LONGEST_SENTENCE = 16
_LONGEST_CANDIDATE = 3

_ANSWER = re.compile(r"\banswer\b\W*(?:is\b|[:=])\W*?(?=\w)([^\n]+)", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_JSON_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)
_LISTING = re.compile(r"\s*(?:[,;/&|]|and\b)", re.IGNORECASE)


class _Check(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextCheck(_Check):
    """The response says one of the accepted texts.

    Attributes:
        accept: Accepted spellings.
        case_sensitive: Whether capital letters matter, as in "write it in capitals".
    """

    kind: Literal["text"] = "text"
    accept: tuple[str, ...] = Field(min_length=1)
    case_sensitive: bool = False

    def accepts(self, response: str) -> bool:
        """Tell whether the response gives an accepted text, and nothing against it."""
        stated = _ANSWER.findall(response)
        if stated:
            return all(self._says(part) for part in stated)
        lines = [line for line in response.strip().splitlines() if line.strip()]
        if not lines:
            return False
        return self._says(lines[0]) and not any(self._rivals(line) for line in lines[1:])

    def _says(self, line: str) -> bool:
        """Whether a line is an accepted text, alone, in a sentence or before one."""
        line = _BULLET.sub("", line)
        if self._equals(line):
            return True
        head, _, rest = _folded(line).partition(". ")
        if rest and (self._equals(head) or self._mentions(head)):
            return not _DOUBTS & {*_words(rest)} and not self._rivals(rest)
        return self._mentions(line)

    def _equals(self, text: str) -> bool:
        said = _without_articles(self._normal(text))
        return said in {_without_articles(self._normal(answer)) for answer in self.accept}

    def _mentions(self, sentence: str) -> bool:
        """Whether a short, unhedged sentence has an accepted text where its answer stands."""
        sentence = _folded(sentence)
        words = _words(sentence)
        if len(words) > _LONGEST_SENTENCE or "?" in sentence:
            return False
        if (_DOUBTS | _NEGATIONS) & set(words) - set().union(*map(_words, self.accept)):
            return False
        flags = 0 if self.case_sensitive else re.IGNORECASE
        for answer in sorted(self.accept, key=len, reverse=True):
            body = r"[\W_]+".join(map(re.escape, _words(answer, fold_case=False)))
            # As an answer, "a" ends its sentence; elsewhere it is an article.
            end = r"(?=\W*\Z)" if {*_words(answer)} <= _ARTICLES else r"(?!\w)"
            if body and any(
                _stands_as_answer(sentence[: found.start()], sentence[found.end() :])
                for found in re.finditer(rf"(?<!\w){body}{end}", sentence, flags)
            ):
                return True
        return False

    def _rivals(self, line: str) -> bool:
        """Whether a later line offers another candidate or doubts the first."""
        words = _words(line)
        if not words or self._equals(_BULLET.sub("", line)):
            return False
        listed = bool(_BULLET.match(line)) or len(words) <= _LONGEST_CANDIDATE
        return listed or bool(_DOUBTS & set(words))

    def _normal(self, text: str) -> tuple[str, ...]:
        return _words(text, fold_case=not self.case_sensitive)


class NumberCheck(_Check):
    """The response's answer is this number.

    Attributes:
        value: The right number.
        tolerance: Largest absolute difference that still counts as right.
    """

    kind: Literal["number"] = "number"
    value: float
    tolerance: float = Field(default=1e-9, ge=0)

    def accepts(self, response: str) -> bool:
        """Tell whether the number that the response settles on is the right one."""
        number = _answer_number(response)
        return number is not None and abs(number - self.value) <= self.tolerance


class ChoiceCheck(_Check):
    """The response names exactly one of the options, and it is the label."""

    kind: Literal["choice"] = "choice"
    label: str
    options: tuple[str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _label_is_an_option(self) -> ChoiceCheck:
        if self.label not in self.options:
            raise ValueError(f"label {self.label!r} is not one of {self.options}")
        return self

    def accepts(self, response: str) -> bool:
        """Tell whether the label, and no other option, is named."""
        options = {" ".join(_words(option)): option for option in self.options}
        longest_first = sorted(options, key=len, reverse=True)  # "not spam" before "spam"
        pattern = rf"\b(?:(\w+) )??\b({'|'.join(map(re.escape, longest_first))})\b"
        found = re.finditer(pattern, " ".join(_words(response)))
        return {options[hit[2]] for hit in found if hit[1] not in _NEGATIONS} == {self.label}


class DateCheck(_Check):
    """The response gives this calendar date, in ISO or a common English form."""

    kind: Literal["date"] = "date"
    iso: date

    def accepts(self, response: str) -> bool:
        """Tell whether the last date in the response is the right one, without an "or"."""
        dates = list(_dates(response))
        hedged = len({*dates}) > 1 and "or" in _words(response)
        return bool(dates) and not hedged and self.iso in dates[-1]


class JsonCheck(_Check):
    """The response is this JSON value and nothing else; one code fence around it is allowed."""

    kind: Literal["json"] = "json"
    expected: JsonValue

    def accepts(self, response: str) -> bool:
        """Tell whether the whole response parses to the expected value."""
        text = response.strip()
        fenced = _JSON_FENCE.fullmatch(text)
        try:
            value = json.loads(fenced[1] if fenced else text, parse_constant=_no_constant)
        except (ValueError, RecursionError):  # the latter: thousands of opening brackets
            return False
        return _same(value, self.expected)


class PythonCheck(_Check):
    """The response's Python function gives the expected value in every case.

    Attributes:
        function: Name of the function that the response must define.
        cases: Pairs of positional arguments and the value to return.
    """

    kind: Literal["python"] = "python"
    function: str
    cases: tuple[tuple[tuple[JsonValue, ...], JsonValue], ...] = Field(min_length=1)

    def accepts(self, response: str) -> bool:
        """Run the code in a separate, limited process and compare what it returns."""
        fences: list[str] = _FENCE.findall(response)
        code = next((body for body in fences if self.function in body), response)
        values = call_function(code, self.function, [arguments for arguments, _ in self.cases])
        return values is not None and _same(values, [expected for _, expected in self.cases])


Check = Annotated[
    TextCheck | NumberCheck | ChoiceCheck | DateCheck | JsonCheck | PythonCheck,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Check] = TypeAdapter(Check)


def verify(check: Check, response: str) -> float:
    """Score a response with its ground truth.

    Args:
        check: What makes a response right.
        response: The model's text.

    Returns:
        1.0 when the response is right, else 0.0.
    """
    return float(check.accepts(response))


def parse_check(json_text: str) -> Check:
    """Read a check back from its `model_dump_json()`.

    Args:
        json_text: The check as JSON.

    Returns:
        The check.

    Raises:
        pydantic.ValidationError: If the text is not a check.
    """
    return _ADAPTER.validate_json(json_text)


# Text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").strip()


def _words(text: str, *, fold_case: bool = True) -> tuple[str, ...]:
    text = re.sub(r"['\u2019]", "", _folded(text))
    return tuple(re.findall(r"[^\W_]+", text.casefold() if fold_case else text))


def _without_articles(words: tuple[str, ...]) -> tuple[str, ...]:
    kept = tuple(word for word in words if word.lower() not in _ARTICLES)
    return kept or words  # the answer may be the letter "A"


def _stands_as_answer(before: str, after: str) -> bool:
    """Whether what is around a mention makes it the sentence's one answer."""
    lead = [word for word in _words(before) if word not in _ARTICLES | _FILLERS]
    listed = _LISTING.match(after) or (lead and re.search(r"(?:[,;/&|]|\band)\s*$", before))
    ends = not _words(re.sub(r"^\W*\([^)]*\)", "", after))
    return not listed and (not lead or ends or lead[-1] in _LINKS)


# Numbers

_NUMBER = r"(?<![\w.])-?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+\b)?"
_OPERATORS = "=+*/\u00d7\u00f7^"
_CLAIM = rf"({_NUMBER})(?!\s*[-{_OPERATORS}])"  # not the start of a sum
_STATED = re.compile(rf"boxed\{{\s*({_NUMBER})|\banswer\b[^\d\n]*?(?:is|[:=])[^\w\n$-]*({_NUMBER})")
_ALONE = re.compile(rf"^[^\w\n$-]*({_NUMBER})[^\d\n{_OPERATORS}]{{0,24}}$", re.MULTILINE)
_SETTLED = (  # other places where an answer stands, surest first
    re.compile(rf"=\s*{_CLAIM}"),
    re.compile(rf"\b(?:is|are|equals|makes)(?: equal to| about)?[^\w\n$-]+{_CLAIM}"),
    re.compile(rf"\A\W*?({_NUMBER})[^\d\n{_OPERATORS}]*(?:=|\b(?:is|are)\b)"),
    re.compile(f"({_NUMBER})"),
)
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen \
fifteen sixteen seventeen eighteen nineteen twenty".split()


def _answer_number(response: str) -> float | None:
    text = re.sub(r"[*_`]{2,}|[`_]", "", _folded(response)).lower()
    if re.search(rf"{_NUMBER}\D{{0,12}}\bor\b[^\w\n-]*{_NUMBER}|\bbetween\b", text):
        return None
    stated = [boxed or answered for boxed, answered in _STATED.findall(text)]
    alone: list[str] = _ALONE.findall(text)
    if not stated and len({*map(_value, alone)}) > 1:
        return None  # a list of candidates
    for hits in (stated, alone, *(place.findall(text) for place in _SETTLED)):
        if hits:
            return _value(hits[-1])
    named = [_UNITS.index(word) for word in _words(text) if word in _UNITS]
    return float(named[0]) if len(named) == 1 else None


def _value(number: str) -> float:
    return float(re.sub(r"[$,]", "", number))


# Dates

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = rf"(?P<name>{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATE_FORMS = tuple(
    re.compile(rf"(?<!\d){form}(?!\d)", re.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})",
        rf"{_DAY}(?:\s+of)?[\s-]+{_MONTH},?[\s-]+(?P<year>\d{{4}})",
        rf"{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}})",
        r"(?P<month>\d{1,2})([-/.])(?P<day>\d{1,2})\2(?P<year>\d{4})",
    )
)


def _dates(text: str) -> Iterator[frozenset[date]]:
    """Each date in a text, in order; 03/05/2024 can be read in two ways."""
    text = re.sub(r"[*_`]", "", _folded(text))
    hits = (hit for form in _DATE_FORMS for hit in form.finditer(text))
    for hit in sorted(hits, key=lambda hit: hit.start()):
        parts = hit.groupdict()
        month = parts.get("month") or str(_MONTHS.index(parts["name"][:3].lower()) + 1)
        readings = [(month, parts["day"])]
        if hit.re is _DATE_FORMS[-1]:
            readings.append((parts["day"], month))
        yield frozenset(
            date(int(parts["year"]), int(month), int(day))
            for month, day in readings
            if _exists(int(parts["year"]), int(month), int(day))
        )


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


# JSON


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _same(left: JsonValue, right: JsonValue) -> bool:
    """Equality of JSON values, in which true is not 1 but 1.0 is."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right
