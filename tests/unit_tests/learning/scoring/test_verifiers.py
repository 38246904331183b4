"""A fair verdict: short chatty answers are right, hedges and lists of candidates are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bestroute.learning.scoring.sandbox import call_function
from bestroute.learning.scoring.verifiers import (
    Check,
    ChoiceCheck,
    DateCheck,
    JsonCheck,
    NumberCheck,
    PythonCheck,
    TextCheck,
    parse_check,
    verify,
)

PARIS = TextCheck(accept=("Paris",))
GOLD = TextCheck(accept=("Au",))
AUSTEN = TextCheck(accept=("Jane Austen", "Austen"))
LETTER = TextCheck(accept=("a",))


@pytest.mark.parametrize(
    ("check", "response"),
    [
        (PARIS, "Paris"),
        (PARIS, "  **paris**.\n"),
        (PARIS, "\uff30\uff41\uff52\uff49\uff53"),  # full-width letters
        (PARIS, "The capital is Paris."),
        (PARIS, "Paris is the capital of France."),
        (PARIS, "The answer is: Paris"),
        (PARIS, "Let me think about it for a while.\nAnswer: **Paris**"),
        (PARIS, "Paris\n\nParis is the largest city of France and its seat of government."),
        (PARIS, "Paris. It lies on the Seine."),
        (PARIS, "Sure, Paris!"),
        (PARIS, "The capital is Paris. It has been so for a very long time."),
        (PARIS, "If you ask me, it would be Paris."),
        (PARIS, "Paris (France)"),
        (PARIS, "1. Paris"),
        (PARIS, 'The first word of "Paris sleeps at night" is "Paris".'),
        (GOLD, "The chemical symbol for gold is Au."),
        (AUSTEN, "Pride and Prejudice was written by Jane Austen."),
        (AUSTEN, "It was Jane Austen who wrote it."),
        (AUSTEN, "Austen"),
        (LETTER, "A"),
        (LETTER, "The first letter is A."),
        (TextCheck(accept=("The Hague",)), "hague"),
        (TextCheck(accept=("H2O",)), "H\u2082O"),
        (TextCheck(accept=("no",)), "No."),
        (TextCheck(accept=("cd", "c d")), "c d"),
        (TextCheck(accept=("CAT",), case_sensitive=True), "The word in capitals is CAT."),
    ],
)
def test_text_right(check: Check, response: str) -> None:
    assert verify(check, response) == 1.0


@pytest.mark.parametrize(
    ("check", "response"),
    [
        (PARIS, ""),
        (PARIS, "   \n"),
        (PARIS, "***"),
        (PARIS, "Lyon"),
        (PARIS, "Parisian"),
        (PARIS, "Paris or Lyon"),
        (PARIS, "Paris, Lyon, Marseille"),
        (PARIS, "Lyon, Paris"),
        (PARIS, "Lyon and Paris"),
        (PARIS, "Paris/Lyon"),
        (PARIS, "Paris\nLyon\nMarseille"),
        (PARIS, "1. Paris\n2. Lyon"),
        (PARIS, "It is not Paris."),
        (PARIS, "It isn't Paris"),
        (PARIS, "Is it Paris?"),
        (PARIS, "Maybe Paris"),
        (PARIS, "Paris. Wait, actually Lyon."),
        (PARIS, "Answer: Paris\nAnswer: Lyon"),
        (PARIS, "Paris\nAnswer: Lyon"),
        (PARIS, "Lyon is a city that, unlike Paris in the north, is the capital"),
        (LETTER, "It is a vowel"),
        (TextCheck(accept=("CAT",), case_sensitive=True), "cat"),
        (TextCheck(accept=("CAT",), case_sensitive=True), "The word is Cat."),
    ],
)
def test_text_wrong(check: Check, response: str) -> None:
    assert verify(check, response) == 0.0


@pytest.mark.parametrize(
    ("value", "response"),
    [
        (12, "12"),
        (12, "12."),
        (12, "**12**"),
        (12, "7 + 5 = 12"),
        (12, "12 = 7 + 5"),
        (12, "12 is the sum of 7 and 5."),
        (12, "The sum of 7 and 5 is 12."),
        (12, "The answer to 7 + 5 is **12**."),
        (12, "Answer: 12\nBecause 7 + 5 = 12 and 5 + 7 = 12; 100 is not."),
        (12, "7 plus 5 makes 12"),
        (84, "7 feet is 84 inches."),
        (84, "7 feet is equal to 84 inches."),
        (84, "There are 84 inches in 7 feet."),
        (9, "9 stickers\nThe number at first is 2."),
        (22, "4 * 7 = 28\n50 - 28 = 22"),
        (22, "Four sandwiches are 28 dollars, so:\n\n**22**"),
        (12, "12 apples"),
        (12, "12\n\nExplanation: add 7 to 5."),
        (12, "twelve"),
        (12, r"\boxed{12}"),
        (12, "12.0"),
        (-3, "-3"),
        (-3, "\u22123"),
        (-3, "The answer is -3."),
        (8, "20-12 = 8"),
        (1234567, "1,234,567"),
        (1200, "$1,200"),
        (50, "It is 50%."),
        (5, "5km"),
        (0.3, "0.30000000000000004"),
        (2.5, "2.5 hours"),
        (1500, "1.5e3"),
    ],
)
def test_number_right(value: float, response: str) -> None:
    assert verify(NumberCheck(value=value), response) == 1.0


@pytest.mark.parametrize(
    ("value", "response"),
    [
        (12, ""),
        (12, "no idea"),
        (12, "13"),
        (12, "112"),
        (12, "12 or 13"),
        (13, "It is 12 or maybe 13"),
        (12, "between 10 and 12"),
        (12, "12\n13\n14"),
        (7, "7 feet is 84 inches."),
        (7, "7 + 5 = 12"),
        (12, "-12"),
        (2, "H2O"),
        (3, "three or four"),
        (1, "1" * 5000),
    ],
)
def test_number_wrong(value: float, response: str) -> None:
    assert verify(NumberCheck(value=value), response) == 0.0


def test_number_tolerance() -> None:
    check = NumberCheck(value=3.14159, tolerance=0.01)
    assert verify(check, "about 3.14") == 1.0
    assert verify(check, "3.2") == 0.0


SENTIMENT = ("positive", "negative", "neutral")


@pytest.mark.parametrize(
    ("label", "options", "response", "score"),
    [
        ("positive", SENTIMENT, "Positive", 1),
        ("positive", SENTIMENT, "The sentiment is **positive**.", 1),
        ("positive", SENTIMENT, "_Positive_", 1),
        ("positive", SENTIMENT, "Positive. It is not negative.", 1),
        ("positive", SENTIMENT, "positive or negative", 0),
        ("positive", SENTIMENT, "not positive", 0),
        ("positive", SENTIMENT, "negative", 0),
        ("positive", SENTIMENT, "positively", 0),
        ("positive", SENTIMENT, "", 0),
        ("not spam", ("spam", "not spam"), "Not spam.", 1),
        ("spam", ("spam", "not spam"), "Not spam.", 0),
        ("spam", ("spam", "not spam"), "Spam", 1),
        ("spam", ("spam", "ham"), "This is not spam", 0),
    ],
)
def test_choice(label: str, options: tuple[str, ...], response: str, score: float) -> None:
    assert verify(ChoiceCheck(label=label, options=options), response) == score


def test_choice_needs_its_label_among_the_options() -> None:
    with pytest.raises(ValidationError):
        ChoiceCheck(label="maybe", options=("yes", "no"))


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("2024-03-05", 1),
        ("2024/03/05", 1),
        ("March 5, 2024", 1),
        ("**Mar. 5th 2024**", 1),
        ("Tuesday, 5 March 2024.", 1),
        ("the 5th of March, 2024", 1),
        ("05-Mar-2024", 1),
        ("03/05/2024", 1),
        ("5/3/2024", 1),
        ("Four days after 2024-03-01 is 2024-03-05.", 1),
        ("2024-03-06", 0),
        ("2024-03-05 or 2024-03-06", 0),
        ("March 5", 0),
        ("2024-02-31", 0),
        ("soon", 0),
    ],
)
def test_date(response: str, score: float) -> None:
    check = parse_check('{"kind": "date", "iso": "2024-03-05"}')
    assert verify(check, response) == score


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ('{"name": "Ada", "ages": [36, 1.0], "ok": true}', 1),
        ('{"ok":true,"ages":[36.0,1],"name":"Ada"}\n', 1),
        ('```json\n{"name": "Ada", "ages": [36, 1], "ok": true}\n```', 1),
        ('```\n{"name": "Ada", "ages": [36, 1], "ok": true}\n```', 1),
        ('Here: {"name": "Ada", "ages": [36, 1], "ok": true}', 0),
        ('{"name": "Ada", "ages": [36, 1], "ok": 1}', 0),
        ('{"name": "Ada", "ages": [1, 36], "ok": true}', 0),
        ('{"name": "Ada", "ages": [36, 1], "ok": true, "more": 0}', 0),
        ("{'name': 'Ada', 'ages': [36, 1], 'ok': True}", 0),
        ('{"name": "Ada"', 0),
        ("NaN", 0),
        ("[" * 100_000, 0),
    ],
)
def test_json(response: str, score: float) -> None:
    check = JsonCheck(expected={"name": "Ada", "ages": [36, 1], "ok": True})
    assert verify(check, response) == score


DOUBLE = PythonCheck(function="double", cases=(((2,), 4), ((-1,), -2)))
FINE = "def double(x):\n    return 2 * x"


@pytest.mark.parametrize(
    "response",
    [
        FINE,
        f"```python\n{FINE}\n```",
        f"Sure! Here it is:\n```py\n{FINE}\n```\nIt doubles.",
        f"```\n{FINE}",  # cut off before the closing fence
        f"```bash\npip install it\n```\n```python\n{FINE}\n```",
        f"{FINE}\nprint(double(3))",
        f"{FINE}\nif __name__ == '__main__':\n    raise SystemExit(1)",
        "double = lambda x: x + x",
        "import math, collections\ndef double(x):\n    return int(math.ldexp(x, 1))",
    ],
)
def test_code_right(response: str) -> None:
    assert verify(DOUBLE, response) == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I would multiply it by two.",
        "def double(x):\n    return x + 2",
        "def triple(x):\n    return 2 * x",
        "def double(x):\n    return str(2 * x)",
        "def double(x):\n    return {x}",
        "def double(x)\n    return 2 * x",
        "def double(x):\n    raise SystemExit(0)",
        "def double(x):\n    while True: pass",
        "def double(x):\n    return double(x)",
        "def double(x):\n    return len(bytearray(4 * 2**30)) and 2 * x",
        "def double(x):\n    import os\n    os.fork()\n    return 2 * x",
        "def double(x):\n    import subprocess\n    subprocess.run(['true'])\n    return 2 * x",
        "def double(x):\n    import _posixsubprocess\n    return 2 * x",
        "def double(x):\n    import socket\n    socket.socket()\n    return 2 * x",
        "import sys\nsys.__stdout__.write('[4, -2, 0]')\ndef double(x):\n    return 2 * x",
        "\ud800",
    ],
)
def test_code_wrong(response: str) -> None:
    assert verify(DOUBLE, response) == 0.0


def test_code_cannot_write_files(tmp_path: Path) -> None:
    target = tmp_path / "made"
    code = f"def double(x):\n    open({str(target)!r}, 'w').write('x')\n    return 2 * x"
    assert verify(DOUBLE, code) == 0.0
    assert not target.exists()


def test_code_that_sleeps_is_killed() -> None:
    code = "import time\ndef wait():\n    time.sleep(600)"
    assert call_function(code, "wait", [[]], wall_seconds=1) is None


def test_code_that_floods_its_output_is_refused() -> None:
    code = "import sys\ndef flood():\n    while True: sys.__stdout__.write('x' * 65536)"
    assert call_function(code, "flood", [[]]) is None


@pytest.mark.parametrize(
    "check",
    [
        PARIS,
        NumberCheck(value=2.5, tolerance=0.1),
        ChoiceCheck(label="yes", options=("yes", "no")),
        DateCheck.model_validate({"iso": "2024-02-29"}),
        JsonCheck(expected={"a": [1, None, True]}),
        DOUBLE,
    ],
    ids=lambda check: check.kind,
)
def test_checks_survive_json(check: Check) -> None:
    assert parse_check(check.model_dump_json()) == check


def test_unknown_checks_are_refused() -> None:
    with pytest.raises(ValidationError):
        parse_check('{"kind": "vibes"}')
