"""Surface features tell queries apart by their shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestroute.routers.features import FEATURE_NAMES, surface_features


def feature(query: str, name: str) -> float:
    return float(surface_features([query])[0, FEATURE_NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("log_characters", "a longer query than that", "short"),
        ("log_words", "one two three", "onetwothree"),
        ("log_lines", "a\nb\nc", "a b c"),
        ("word_length", "extraordinarily", "a bc de"),
        ("sentence_length", "one long sentence without any stop", "One. Two. Three."),
        ("distinct_words", "all words differ", "same same same"),
        ("longest_number", "add 1234567", "add 1 2 3 4"),
        ("log_numbers", "add 1 2 3 4", "add 1234567"),
        ("log_commas", "a, b, c", "a b c"),
        ("log_questions", "Why? How?", "Tell me."),
        ("log_sentences", "One. Two. Three.", "One two three."),
        ("digit_share", "12345", "abc45"),
        ("upper_share", "SHOUT", "Quiet"),
        ("punctuation_share", "(a), b!", "a and b"),
        ("code_share", "x[i] = {}; y_1", "the item of x"),
        ("math_share", "x^2 + 3*y", "x squared"),
        ("non_ascii_share", "\u4f60\u597d", "hello"),
        ("asks_code", "Write a Python function", "Tell me about snakes"),
        ("asks_format", "Answer as JSON", "Answer"),
        ("asks_maths", "How many apples?", "Which apples?"),
        ("asks_rewriting", "Translate this", "Read this"),
        ("asks_writing", "Write a poem", "Read it"),
        ("asks_reasons", "Explain it", "Do it"),
        ("asks_fact", "Who was he?", "Was he?"),
        ("has_condition", "Do it unless asked", "Do it"),
    ],
)
def test_a_feature_rises_with_what_it_is_named_after(name, more, less):
    assert feature(more, name) > feature(less, name)


def test_words_count_as_whole_words_only():
    assert feature("a stable classy reforming", "asks_format") == 0
    assert feature("make two tables", "asks_format") == 1


def test_every_feature_is_covered_above():
    names = test_a_feature_rises_with_what_it_is_named_after.pytestmark[0].args[1]
    assert {case[0] for case in names} == set(FEATURE_NAMES)


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_any_text_has_finite_features_that_do_not_depend_on_the_batch(queries):
    matrix = surface_features(queries)
    assert matrix.shape == (len(queries), len(FEATURE_NAMES))
    assert np.isfinite(matrix).all()
    assert (matrix >= 0).all()
    for row, query in zip(matrix, queries, strict=True):
        assert np.array_equal(row, surface_features([query])[0])


def test_a_long_query_is_estimated_from_its_windows():
    line = "Add 12 and 7, then explain why it is so.\n"
    whole = surface_features([line * 20_000])[0]
    expected = {
        "log_characters": len(line) * 20_000,
        "log_words": 10 * 20_000,
        "log_numbers": 2 * 20_000,
        "log_commas": 20_000,
        "log_lines": 20_000,
    }
    for name, count in expected.items():
        assert whole[FEATURE_NAMES.index(name)] == pytest.approx(np.log1p(count), abs=0.05)


def test_all_of_a_long_query_counts_not_only_its_beginning():
    prose, lists = "plain words only " * 30_000, "one, two, three, " * 30_000
    commas = FEATURE_NAMES.index("log_commas")
    estimate = surface_features([prose + lists])[0, commas]
    assert estimate == pytest.approx(np.log1p(90_000), abs=0.15)
