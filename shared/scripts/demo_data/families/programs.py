"""Small Python functions to write; each reference gives the expected values."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from bestroute.learning.scoring.verifiers import PythonCheck

from .drafts import LEVELS, Draft

_FORMS = (
    ("Write a Python function {} that {}.", "Write only the code, no explanation."),
    ("Python: write {}, a function that {}.", "Only code."),
    ("I need a Python function {} that {}.", "Code only, no explanation, no examples."),
)


class _Task(NamedTuple):
    signature: str
    goal: str
    reference: Callable[..., Any]
    calls: tuple[tuple[Any, ...], ...]


_EASY = (
    _Task("double(x)", "returns twice x", lambda x: 2 * x, ((3,), (0,), (-4,))),
    _Task("add(a, b)", "returns the sum of a and b", lambda a, b: a + b, ((1, 2), (-3, 3))),
    _Task("is_even(n)", "tells whether n is even", lambda n: n % 2 == 0, ((4,), (7,), (0,))),
    _Task("square(x)", "returns the square of x", lambda x: x * x, ((3,), (-5,), (0,))),
    _Task("last(items)", "returns the last item of a list", lambda s: s[-1], (([1, 2],), ([9],))),
    _Task("larger(a, b)", "returns the larger of two numbers", max, ((1, 2), (5, -5), (3, 3))),
    _Task("negate(x)", "returns x with the opposite sign", lambda x: -x, ((3,), (-2,))),
    _Task("shout(text)", "returns text in upper case", str.upper, (("hi",), ("Abc d",))),
    _Task("total(numbers)", "returns the sum of a list", sum, (([1, 2, 3],), ([],))),
    _Task("length(text)", "returns the number of characters in text", len, (("abc",), ("",))),
    _Task("multiply(a, b)", "returns a times b", lambda a, b: a * b, ((3, 4), (0, 5), (-2, 6))),
    _Task("smallest(numbers)", "returns the smallest of a list", min, (([3, 1, 2],), ([7],))),
)
_MEDIUM = (
    _Task("reverse(text)", "returns text reversed", lambda s: s[::-1], (("abc",), ("",))),
    _Task(
        "is_palindrome(word)", "tells whether a word reads the same backwards",
        lambda s: s == s[::-1], (("level",), ("house",), ("a",)),
    ),
    _Task(
        "count_vowels(text)", "counts the vowels a, e, i, o, u in lower-case text",
        lambda s: sum(c in "aeiou" for c in s), (("banana",), ("sky",), ("queue",)),
    ),
    _Task(
        "average(numbers)", "returns the mean of a list of numbers",
        lambda s: sum(s) / len(s), (([1, 2, 3],), ([2, 3],), ([5],)),
    ),
    _Task(
        "factorial(n)", "returns the factorial of n, for n of 0 or more",
        math.factorial, ((0,), (1,), (5,)),
    ),
    _Task(
        "to_fahrenheit(c)", "converts degrees Celsius to Fahrenheit",
        lambda c: c * 9 / 5 + 32, ((0,), (100,), (-40,)),
    ),
    _Task(
        "evens(numbers)", "returns the list of the even numbers in a list",
        lambda s: [n for n in s if n % 2 == 0], (([1, 2, 3, 4],), ([1],), ([],)),
    ),
    _Task(
        "longest(words)", "returns the longest word of a list",
        lambda s: max(s, key=len), ((["a", "abc", "ab"],), (["four", "six"],)),
    ),
    _Task(
        "is_prime(n)", "tells whether n is a prime number",
        lambda n: n > 1 and all(n % k for k in range(2, n)),
        ((2,), (1,), (9,), (29,), (0,)),
    ),
    _Task(
        "count_words(text)", "counts the words in a text",
        lambda s: len(s.split()), (("one two",), ("",), ("a  b c",)),
    ),
    _Task(
        "squares(n)", "returns the list of the squares of 1 to n",
        lambda n: [k * k for k in range(1, n + 1)], ((3,), (1,), (0,)),
    ),
    _Task(
        "clamp(x, low, high)", "limits x to the range from low to high",
        lambda x, low, high: max(low, min(x, high)), ((5, 0, 3), (-1, 0, 3), (2, 0, 3)),
    ),
)  # fmt: skip
_HARD = (
    _Task(
        "digit_sum(n)", "returns the sum of the decimal digits of an integer that may be negative",
        lambda n: sum(map(int, str(abs(n)))), ((123,), (-45,), (0,)),
    ),
    _Task("gcd(a, b)", "returns the greatest common divisor", math.gcd, ((12, 18), (7, 5), (0, 4))),
    _Task(
        "unique(items)", "removes duplicates from a list and keeps the order",
        lambda s: list(dict.fromkeys(s)), (([3, 1, 3, 2, 1],), ([],)),
    ),
    _Task(
        "second_largest(numbers)", "returns the second largest distinct number of a list",
        lambda s: sorted(set(s))[-2], (([1, 5, 5, 3],), ([2, 1],)),
    ),
    _Task(
        "is_anagram(a, b)", "tells whether two texts are anagrams, ignoring case and spaces",
        lambda a, b: sorted(a.lower().replace(" ", "")) == sorted(b.lower().replace(" ", "")),
        (("Listen", "Silent"), ("a bc", "cab"), ("aab", "abb")),
    ),
    _Task(
        "fib(n)", "returns the n-th Fibonacci number, with fib(0) = 0 and fib(1) = 1",
        lambda n: [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55][n], ((0,), (1,), (2,), (10,)),
    ),
    _Task(
        "rotate(items, k)", "rotates a list right by k places, where k may exceed its length",
        lambda s, k: s[-(k % len(s)):] + s[: -(k % len(s))] if k % len(s) else s,
        (([1, 2, 3], 1), ([1, 2, 3], 4), ([1, 2, 3], 3)),
    ),
    _Task(
        "balanced(text)", "tells whether the round brackets in text are balanced",
        lambda s: {"(())": True, ")(": False, "(a)(b": False, "": True}[s],
        (("(())",), (")(",), ("(a)(b",), ("",)),
    ),
    _Task(
        "encode(text)", 'run-length encodes text, so that "aaab" gives "a3b1" and "" gives ""',
        lambda s: {"aaab": "a3b1", "": "", "aba": "a1b1a1"}[s], (("aaab",), ("",), ("aba",)),
    ),
    _Task(
        "median(numbers)", "returns the median of an unsorted list of numbers",
        lambda s: (sorted(s)[(len(s) - 1) // 2] + sorted(s)[len(s) // 2]) / 2,
        (([3, 1, 2],), ([4, 1, 3, 2],), ([5],)),
    ),
    _Task(
        "flatten(items)", "flattens a list that is nested to any depth",
        lambda s: [1, 2, 3, 4] if s else [], (([1, [2, [3, [4]]]],), ([],)),
    ),
    _Task(
        "roman(n)", "converts an integer from 1 to 20 to Roman numerals",
        lambda n: {1: "I", 4: "IV", 9: "IX", 14: "XIV", 18: "XVIII"}[n],
        ((1,), (4,), (9,), (14,), (18,)),
    ),
)  # fmt: skip


def code(rng: Random) -> list[Draft]:
    """Draft 36 functions to write."""
    tables = zip(LEVELS, (_EASY, _MEDIUM, _HARD), strict=True)
    return [
        Draft(*_ask(rng, task), _check(task), difficulty)
        for difficulty, tasks in tables
        for task in tasks
    ]


def _ask(rng: Random, task: _Task) -> tuple[str, str]:
    question, ending = rng.choice(_FORMS)
    return question.format(task.signature, task.goal), ending


def _check(task: _Task) -> PythonCheck:
    cases = tuple((arguments, task.reference(*arguments)) for arguments in task.calls)
    return PythonCheck(function=task.signature.partition("(")[0], cases=cases)
