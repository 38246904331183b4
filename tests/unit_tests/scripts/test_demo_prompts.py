"""The demonstration's prompts: as many as promised, stable, and fairly checked."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

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

_FOLDER = Path(__file__).parents[3] / "shared" / "scripts" / "demo_data"
_COUNTS = {
    "facts": 72,
    "arithmetic": 72,
    "word_problems": 72,
    "dates": 60,
    "strings": 60,
    "units": 60,
    "classification": 60,
    "code": 36,
    "json": 48,
}


@pytest.fixture(scope="module")
def module() -> Any:
    """The script, imported from its own folder as it is when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(_FOLDER), *sys.path])
        yield importlib.import_module("prompts")


@pytest.fixture(scope="module")
def prompts(module: Any) -> list[Any]:
    built: list[Any] = module.build()
    return built


def test_counts(prompts: list[Any]) -> None:
    assert Counter(prompt.family for prompt in prompts) == _COUNTS
    assert len(prompts) == 540


def test_difficulties_are_thirds_of_each_family(prompts: list[Any]) -> None:
    found = Counter((prompt.family, prompt.difficulty) for prompt in prompts)
    assert found == {(name, level): n // 3 for name, n in _COUNTS.items() for level in (1, 2, 3)}


def test_splits_are_stratified(prompts: list[Any]) -> None:
    assert Counter(prompt.split for prompt in prompts) == {
        "train": 270,
        "calibration": 54,
        "test": 216,
    }
    for family, count in _COUNTS.items():
        found = Counter(prompt.split for prompt in prompts if prompt.family == family)
        assert found["train"] == count // 2
        assert abs(found["calibration"] - count / 10) < 1
        assert abs(found["test"] - count * 0.4) < 1


def test_nothing_is_asked_twice(module: Any, prompts: list[Any]) -> None:
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    for make in module.FAMILIES.values():
        questions = [draft.question for draft in make(Random(0))]
        assert len({*questions}) == len(questions)


def test_same_prompts_each_time(module: Any, prompts: list[Any]) -> None:
    assert module.build() == prompts


def test_responses_are_kept_short(prompts: list[Any]) -> None:
    assert all(prompt.max_tokens == (128 if prompt.family == "code" else 64) for prompt in prompts)


def test_checks_survive_json(prompts: list[Any]) -> None:
    assert all(parse_check(prompt.check.model_dump_json()) == prompt.check for prompt in prompts)


def test_right_answers_pass_and_wrong_ones_fail(prompts: list[Any]) -> None:
    failed = [
        prompt.id
        for prompt in prompts
        for answer, score in ((_right(prompt.check), 1.0), (_wrong(prompt.check), 0.0))
        if verify(prompt.check, answer) != score
    ]
    assert failed == []


def test_every_accepted_spelling_is_accepted(prompts: list[Any]) -> None:
    checks = [prompt.check for prompt in prompts if isinstance(prompt.check, TextCheck)]
    for check in checks:
        assert all(verify(check, spelling) and verify(check, f"It is {spelling}.")
                   for spelling in check.accept), check  # fmt: skip


def _right(check: Check) -> str:
    match check:
        case TextCheck():
            return check.accept[0]
        case NumberCheck():
            return f"{check.value:.10g}"
        case ChoiceCheck():
            return check.label
        case DateCheck():
            return check.iso.isoformat()
        case JsonCheck():
            return json.dumps(check.expected)
        case PythonCheck():
            return _lookup(check, {repr([*call]): value for call, value in check.cases})


def _wrong(check: Check) -> str:
    match check:
        case TextCheck():
            return "Zanzibar"
        case NumberCheck():
            return f"{check.value + 1:.10g}"
        case ChoiceCheck():
            return next(option for option in check.options if option != check.label)
        case DateCheck():
            return check.iso.replace(year=check.iso.year + 4).isoformat()
        case JsonCheck():
            return f"Here it is: {json.dumps(check.expected)}"
        case PythonCheck():
            values = {repr([*call]): value for call, value in check.cases}
            return _lookup(check, values | {repr([*check.cases[-1][0]]): "wrong"})


def _lookup(check: PythonCheck, table: dict[str, Any]) -> str:
    return f"def {check.function}(*call):\n    return {table!r}[repr([*call])]"
