"""Hard constraints: which arms cannot serve a request, and that saying so needs no key."""

from __future__ import annotations

from typing import Any

import pytest

from bestroute import ModelPool
from bestroute.constraints import excluded_arms
from bestroute.cost import CostModel, TokenStats
from bestroute.query import Request

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
MEDIA = dict.fromkeys(("vision", "video", "documents"), True)
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0xLjQ="}}
VIDEO = {"type": "file", "file": {"file_id": "f1", "format": "video/mp4"}}


def excluded(
    request: Request, *, max_n: int | None = None, stats: TokenStats | None = None, **small: Any
) -> dict[str, str]:
    pool = ModelPool.from_dict(
        {
            "models": [
                {"model": "openai/s", "name": "small", "max_samples": 3, **small},
                {
                    "model": "openai/b",
                    "name": "big",
                    "reference": True,
                    **dict.fromkeys(MEDIA, True),
                },
            ]
        }
    )
    model = CostModel(pool, {"small": stats} if stats else None)
    return {str(arm): why for arm, why in excluded_arms(request, model, max_n=max_n).items()}


SMALL = {"small:1", "small:2", "small:3"}


def test_an_ordinary_request_excludes_nothing() -> None:
    assert excluded(Request.build("hi")) == {}


@pytest.mark.parametrize(
    ("content", "params", "need"),
    [
        ([IMAGE], {}, "vision"),
        ([PDF], {}, "documents"),
        ([VIDEO], {}, "video"),
        ("hi", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("hi", {"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_a_model_that_lacks_a_need_is_out_with_all_its_arms(
    content: Any, params: dict[str, Any], need: str
) -> None:
    request = Request.build([{"role": "user", "content": content}], params)
    out = excluded(request, **{need: False})
    assert set(out) == SMALL and all(need in why for why in out.values())
    assert excluded(request, **{need: True}) == {}


def test_audio_is_assumed_of_nobody() -> None:
    request = Request.build([{"role": "user", "content": [AUDIO]}])
    assert set(excluded(request)) == {*SMALL, "big:1"}


@pytest.mark.parametrize("part", [PDF, VIDEO])
def test_nor_are_video_and_documents(part: Any) -> None:
    assert set(excluded(Request.build([{"role": "user", "content": [part]}]))) == SMALL


@pytest.mark.parametrize("where", ["request", "pool"])
def test_temperature_0_leaves_one_sample(where: str) -> None:
    request = Request.build("hi", {"temperature": 0} if where == "request" else {})
    out = excluded(request, params={"temperature": 0.0} if where == "pool" else {})
    assert set(out) == {"small:2", "small:3"}
    assert "temperature 0" in out["small:2"]


def test_the_request_s_temperature_wins_over_the_pool_s() -> None:
    assert excluded(Request.build("hi", {"temperature": 1}), params={"temperature": 0}) == {}


def test_max_n() -> None:
    assert set(excluded(Request.build("hi"), max_n=2)) == {"small:3"}
    assert set(excluded(Request.build("hi"), max_n=0)) == {*SMALL, "big:1"}


@pytest.mark.parametrize(("answer", "fits"), [(60, True), (61, False), (None, True)])
def test_prompt_and_answer_must_fit_the_window(answer: int | None, fits: bool) -> None:
    stats = TokenStats(prompt_base=0, prompt_ratio=1)
    request = Request.build("x" * 40, {"max_tokens": answer})
    assert set(excluded(request, context_window=100, stats=stats)) == (set() if fits else SMALL)


def test_deciding_needs_no_key() -> None:
    assert excluded(Request.build("hi"), params={"api_key": "os.environ/NOT_SET_ANYWHERE"}) == {}


def test_long_words_are_counted_before_a_prompt_is_refused() -> None:
    """By the rule of four characters a token these 3,000 words are 7,500 tokens."""
    member = {"model": "openai/gpt-4o", "reference": True, "context_window": 4096}
    costs = CostModel(ModelPool.from_dict({"models": [member]}))
    assert excluded_arms(Request.build("different " * 3000), costs) == {}
    (why,) = excluded_arms(Request.build("different " * 4200), costs).values()
    assert why.startswith("about 42")
    assert excluded_arms(Request.build("<|endoftext|> \ud800" * 10), costs) == {}
    learnt = CostModel(costs.pool, {"openai/gpt-4o": TokenStats(prompt_ratio=0.25)})
    assert excluded_arms(Request.build("different " * 3000), learnt)
