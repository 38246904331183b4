"""Two phrasings of one answer are equal, different answers are not."""

from __future__ import annotations

import json
import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.rewards import extract_answer

FORTY_TWO = [
    "42",
    "42.0",
    "**42**",
    "$42",
    "42%",
    "42 apples",
    "She has 42 apples.",
    "x = 42",
    "6*7=42",
    "#### 42",
    "The answer is 42.",
    "**Final Answer**: The answer is 42.",
    "The answer is:\n42",
    "The answer is 6 * 7 = 42.",
    "The answer is \\(42\\).",
    "Answer: 42 because it is six times 7",
    "So \\boxed{42}.",
    "\\[\\boxed{42\\text{ apples}}\\]",
    "First $6 \\cdot 7$.\n\nThe final answer is $\\boxed{42}$.",
    "First 6, then 7 times that; in all, after 1 more look, it must have been 42.",
    "In all, the number of apples that she has is **42** after 2 weeks.",
    "42. That is 6 times 7.",
    "42\n\nExplanation: 6 times 7",
    "<think>maybe 41</think>42",
    "```\n42\n```",
    "```python\nprint(6 * 7)  # the answer is 41\n```\nThe answer is 42.",
    '{"reasoning": "7 by 6", "answer": 42}',
    '```json\n{"answer": "42"}\n```',
    '{\n"reasoning": "6 by\n7",\n"answer": "42"\n}',
    '```json\n{"reasoning": "the "six" by 7",\n"answer": "42 apples"}\n```',
    "Q: what is 6 times 7?\nA: 42",
]
ALIKE = [
    FORTY_TWO,
    ["1,234", "1234", "$1,234.00", "It is 1,234 dollars.", "1{,}234"],
    ["1.5 million", "1,500,000"],
    ["-5", "\N{MINUS SIGN}5", "x = -5", "The answer is -5."],
    ["1/2", "0.5", ".5", "\\boxed{\\frac{1}{2}}"],
    ["12", "Twelve", "twelve."],
    ["Paris", "paris.", "**Paris**", "It is Paris.", "The capital of France is Paris.",
     "The capital of France is Paris. It lies on the Seine and is a very old town.",
     "The answer is Paris because it is the capital."],
    ["05/31/2021", "Two days before 06/02/2021 is 05/31/2021 as May has 31 days, so 05/31/2021.",
     "Explain: tomorrow is 06/01/2021.\nA: 05/31/2021"],
    ["May 31, 2021", "Two days before the second of June in that year it was May 31, 2021."],
    ["St. Louis", "The answer is St. Louis."],
    ["S\u00e3o Paulo", "Sao Paulo"],
    ["cat", "A cat", "The cat."],
    ["yes", "Yes, it is, as 7 is prime.", "**Yes**, 7 is prime", "Answer: Yes", "Yes. It is so."],
    ["B", "(B)", "B.", "B) Paris", "(b)", "**B**", "Option B", "The correct answer is B.",
     "The correct option is B", "The answer is (B) Paris."],
    ["```python\ndef f(a):\n    # adds\n    return a+1\n```",
     "Sure:\n```\ndef f( a ):\n  'Adds.'\n  return (a + 1)\n```\nUsage:\n```python\nf(1)\n```"],
    ["import math\nx = math.pi  # the answer is 3", "import math\nx=math.pi"],
    ["[]", '{"reasoning": "cleared", "answer": "[]"}', '{"answer": []}', "The answer is []."],
    ["```js\nlet a = 1;\n```", "```js\n// one\nlet  a = 1;\n\n```"],
    ['{"a": 1, "b": "Paris"}', '```json\n{"b": "paris", "a": 1.0}\n```',
     'Here: {"b": "Paris", "a": "1"}. Fine?'],
]  # fmt: skip
UNLIKE = [
    ["x + 3", "y + 3", "2x + 3", "3"],
    ["May 5", "June 5", "5 May", "5 June", "5"],
    ["3 PM", "3 AM"],
    ["Apollo 11", "Gemini 11"],
    ["3-5", "5"],
    ["C", "C++", "C#"],
    ["3 apples and 2 pears", "2 pears"],
    ["10:30", "30"],
    ["Paris", "It is not Paris."],
    ['{"a": 1}', '{"a": 2}', '{"b": 1}', '{"a": [1]}'],
    ["```python\nx = 1\n```", "```python\nx = 2\n```"],
]


@pytest.mark.parametrize("texts", ALIKE, ids=lambda texts: texts[0])
def test_phrasings_of_one_answer_agree(texts: list[str]) -> None:
    expected = extract_answer(texts[0])
    assert expected
    assert {text: extract_answer(text) for text in texts} == dict.fromkeys(texts, expected)


def test_different_answers_do_not_agree() -> None:
    answers = [extract_answer(texts[0]) for texts in ALIKE]
    assert len(set(answers)) == len(answers)


@pytest.mark.parametrize("texts", UNLIKE, ids=lambda texts: texts[0])
def test_near_misses_stay_apart(texts: list[str]) -> None:
    for one, other in combinations(texts, 2):
        assert extract_answer(one) != extract_answer(other), (one, other)


@pytest.mark.parametrize("text", ["", " \n", "...", "**", "<think>it never ends", "``````"])
def test_nothing_said_is_no_answer(text: str) -> None:
    assert extract_answer(text) is None


def test_the_last_box_and_the_last_statement_count() -> None:
    assert extract_answer("\\boxed{1} no, wait: \\boxed{2}") == "2"
    assert extract_answer("The answer is 1. No, the answer is 2.") == "2"


def test_list_markers_are_no_numbers() -> None:
    assert extract_answer("1. Paris\n2. London") == extract_answer("- Paris\n- London")


@given(st.integers(-(10**12), 10**12))
def test_any_integer_is_read_however_it_is_written(value: int) -> None:
    for text in (f"{value}", f"{value:,}", f"The answer is {value}.", f"\\boxed{{{value}}}"):
        assert extract_answer(text) == str(value)


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or answer


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "9" * 20_000, "1e999", "\\boxed{" * 5_000, "answer " * 5_000, "```" * 5_000,
     "the " * 20_000, "* " * 20_000, "- " * 20_000, "1," * 20_000, "{" * 20_000, "\n" * 50_000,
     "The answer to " * 3_000, "1/0", "\\frac{" * 5_000],
    ids=lambda text: text[:10],
)  # fmt: skip
@pytest.mark.timeout(5)
def test_hostile_texts_take_no_time(text: str) -> None:
    extract_answer(text)


HOSTILE = {
    "spaces": "x" + " " * 100_000 + "x",
    "lines": "x" + "\n" * 100_000 + "x",
    "fences": "```\n" * 25_000,
    "open fence": "```\n" + " " * 100_000 + "x",
    "backticks": "`" * 100_000,
    "languages": "```py " * 20_000,
    "cues": "the answer is " * 7_000,
    "comments": "```js\nx" + "\n" * 100_000 + "y\n```",
    "brackets": "[" * 100_000,
    "boxes": r"\boxed{" * 15_000,
    "numbers": "1,2/3." * 17_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    extract_answer(text)
    assert time.process_time() - began < 0.5


def test_the_end_of_a_long_response_is_read() -> None:
    thoughts = "Let us consider 3 more of them, one by one. " * 5_000
    assert extract_answer(f"{thoughts}\n\nThe answer is   42.") == "42"
    block = "```python\ndef f(x):\n    return x\n```"
    assert extract_answer(thoughts + block) == extract_answer(block)
    data = json.dumps([{"a": i} for i in range(10_000)])
    assert extract_answer(data) == extract_answer(f"\n {data} ")
    assert extract_answer(data) != extract_answer(data.replace('"a": 0', '"a": 1'))
