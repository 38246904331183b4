"""What is done about each fault: tested by `test_matrix.py`, shown in `docs/reliability.md`.

`python -m tests.unit_tests.faults.matrix` writes the table into the docs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bestroute.errors import (
    BestRouteError,
    DeadlineError,
    PromptTooLongError,
    RefusedRequestError,
    SamplingError,
)
from tests.fault_server import (
    Choice,
    Fault,
    FaultServer,
    answer,
    endless_stream,
    hang,
    raw,
    refused_url,
    refuses_n,
    reset_mid_body,
    status,
    trickle,
)

DOCS = Path(__file__).parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"

Url = Callable[[FaultServer], str]


@dataclass(frozen=True)
class Row:
    """One fault of the small model, and what a caller sees of it.

    The small model is asked for three samples (one, where streamed) and tried three times; the big
    one, the reference, is well unless `big` says otherwise.

    Attributes:
        what: The fault, in words.
        done: What is done, in words.
        fault: What the small model's requests meet.
        calls: Requests that it is sent.
        answers: Who answers, or the error.
        samples: Of the small model, that are kept.
        rests: When it is left out of later requests: at once, after three draws in a row, or not.
        said: Is said in `degraded`, or in the error.
        big: What the big model's requests meet.
        url: Where the small model lives, unless at the server.
        options: Of the call.
        pool: Of the small model in the pool.
        streaming: Whether the answer is streamed.
    """

    what: str
    done: str
    fault: Fault | Sequence[Fault] = answer()
    calls: int = 3
    answers: str | type[BestRouteError] = "big"
    samples: int = 0
    rests: str = "no"
    said: str = ""
    big: Fault = answer("by big")
    url: Url | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pool: Mapping[str, Any] = field(default_factory=dict)
    streaming: bool = False


IMPATIENT = {"params": {"timeout": 0.5}}
JSON = {"response_format": {"type": "json_object"}}
AGAIN = "asked again, then another model"
OTHER = "another model"
TOLD = "raised, no other model is asked"
NO_LARGER = "raised, once no larger one is left"
TOO_LONG = status(400, "This model's maximum context length is 10 tokens.")
POLICY = status(400, "We cannot help with that.", code="content_filter")
CHUNK = '{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": ['
CHUNK += '{"index": 0, "delta": {"content": "well "}, "finish_reason": null}]}'


def tls(server: FaultServer) -> str:
    """TLS spoken to a server that does not."""
    return server.url.replace("http:", "https:")


def nowhere(server: FaultServer) -> str:
    """A name that nobody has."""
    return "http://no-such-host.invalid/v1"


def nobody(server: FaultServer) -> str:
    """A port where nobody listens."""
    return refused_url()


ROWS = (
    # The connection
    Row("connection refused", AGAIN, url=nobody, calls=0, rests="third"),
    Row("DNS failure", AGAIN, url=nowhere, calls=0, rests="third"),
    Row("TLS error", OTHER, url=tls, calls=0, rests="at once"),
    Row("connection reset in mid-body", AGAIN, reset_mid_body, rests="third"),
    Row("headers never come", AGAIN, hang, rests="third", pool=IMPATIENT, said="Timeout"),
    Row("body never ends", AGAIN, trickle, rests="third", pool=IMPATIENT, said="Timeout"),
    # HTTP statuses
    Row(
        "400: n is not supported",
        "parallel calls of one sample each, from then on",
        refuses_n(),
        calls=4,
        answers="small",
        samples=3,
    ),
    Row(
        "400: anything else of the request",
        TOLD,
        status(400, "no such option"),
        calls=4,  # whether it was n is found out by asking without
        answers=RefusedRequestError,
        said="no such option",
    ),
    Row("400: content policy", OTHER, POLICY, calls=4, said="cannot help"),
    Row("401", OTHER, status(401), calls=1, rests="at once", said="AuthenticationError"),
    Row("402", OTHER, status(402), calls=1, rests="at once"),
    Row("403", OTHER, status(403), calls=1, rests="at once"),
    Row("404: no such model", OTHER, status(404), calls=1, rests="at once"),
    Row("408", AGAIN, status(408), rests="third"),
    Row(
        "413, or context overflow, of one model",
        "a model with a larger context window",
        status(413),
        calls=1,
        pool={"context_window": 1000},
    ),
    Row(
        "context overflow (400) of one model",
        "a model with a larger context window",
        TOO_LONG,
        calls=1,
        pool={"context_window": 1000},
    ),
    Row(
        "413, or context overflow, of a model that none is larger than",
        NO_LARGER,
        status(413),
        calls=1,
        pool={"context_window": 10_000_000},
        answers=PromptTooLongError,
    ),
    Row(
        "context overflow of every model",
        NO_LARGER,
        TOO_LONG,
        calls=1,
        big=TOO_LONG,
        answers=PromptTooLongError,
        said="maximum context length",
    ),
    Row("422", TOLD, status(422, "no"), calls=4, answers=RefusedRequestError),
    Row("429", AGAIN, status(429), said="RateLimitError"),
    Row(
        "429 with Retry-After: seconds, or a date",
        "asked again after that long, at most a minute",
        [status(429, headers={"Retry-After": "0.1"}), answer()],
        calls=2,
        answers="small",
        samples=3,
    ),
    Row(
        "429 with Retry-After: over a minute",
        OTHER,
        status(429, headers={"Retry-After": "3600"}),
        calls=1,
    ),
    Row(
        "429 with Retry-After: nonsense",
        AGAIN,
        status(429, headers={"Retry-After": "-3 or so"}),
    ),
    *(Row(str(code), AGAIN, status(code), rests="third") for code in (500, 502, 503, 504, 529)),
    # What is in an answer
    Row("invalid JSON", AGAIN, raw("{nonsense"), rests="third"),
    Row("an HTML page", AGAIN, raw("<html>hello</html>"), rests="third"),
    Row("an empty body", AGAIN, raw(""), rests="third"),
    Row("wrong schema: no choices", AGAIN, raw('{"foo": 1}'), rests="third"),
    Row("wrong schema: a choice without message", AGAIN, raw('{"choices": [{}]}'), rests="third"),
    Row(
        "an error with status 200",
        "by the code that it tells",
        raw('{"error": {"message": "x", "code": 502}}'),
        rests="third",
    ),
    Row(
        "usage missing, or absurd",
        "used; its tokens are counted here",
        answer("a", "b", "c", usage=None),
        calls=1,
        answers="small",
        samples=3,
    ),
    Row(
        "usage below zero",
        "used; its tokens are counted here",
        answer("a", "b", "c", usage={"prompt_tokens": -5, "completion_tokens": -2}),
        calls=1,
        answers="small",
        samples=3,
    ),
    Row(
        "no choices",
        OTHER,
        raw('{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'),
        calls=1,
        said="no choices",
    ),
    Row(
        "fewer choices than n",
        "topped up once by parallel calls",
        [answer("a"), answer("b"), answer("c")],
        calls=3,
        answers="small",
        samples=3,
    ),
    Row(
        "fewer choices than n, and the top-up fails",
        "the samples that came are used",
        [answer("a"), status(401), answer("c")],
        calls=3,
        answers="small",
        samples=2,
        said="2 of 3",
    ),
    Row("more choices than n", "all are used", answer(*"abcde"), 1, "small", samples=5),
    Row(
        "some choices empty or null",
        "paid, dropped, topped up once",
        [answer("a", "", Choice(None)), answer("b"), answer("c")],
        calls=3,
        answers="small",
        samples=3,
    ),
    Row("all choices empty or null", OTHER, answer("", Choice(None)), calls=1, said="no usable"),
    Row(
        "content filter, without text",
        OTHER,
        answer(*[Choice(None, finish="content_filter")] * 3),
        calls=1,
        said="content_filter",
    ),
    Row(
        "content filter, after some text",
        "used, and said",
        answer(*[Choice("well", finish="content_filter")] * 3),
        calls=1,
        answers="small",
        samples=3,
        said="content filter",
    ),
    Row(
        "cut at the limit of tokens",
        "used, and said",
        answer(*[Choice("well", finish="length")] * 3),
        calls=1,
        answers="small",
        samples=3,
        said="limit of tokens",
    ),
    Row(
        "cut at the limit of tokens, where JSON or a tool call was asked for",
        "invalid: another model",
        answer(*[Choice('{"a": ', finish="length")] * 3),
        calls=1,
        samples=3,
        big=answer('{"a": 1}'),
        options=JSON,
        said="not JSON",
    ),
    Row("choices that are all the same", "used: they agree", answer("a", "a", "a"), 1, "small", 3),
    # Streams
    Row("a stream does not open", AGAIN, status(500), rests="third", streaming=True),
    Row(
        "a stream stops midway",
        "raised: the caller has seen some of it",
        answer("one two three", stop_after=3),
        calls=1,
        answers=SamplingError,
        said="broke off",
        streaming=True,
        rests="third",
    ),
    Row(
        "a stream turns into nonsense or an error",
        "raised: the caller has seen some of it",
        raw(f'data: {CHUNK}\n\ndata: {{"error": {{"message": "boom"}}}}\n\n'),
        calls=1,
        answers=SamplingError,
        said="broke off",
        streaming=True,
        rests="third",
    ),
    Row(
        "a stream brings nothing",
        OTHER,
        answer("", stop_after=0),
        calls=1,
        streaming=True,
    ),
    Row(
        "a stream never ends",
        "ended with the call's `timeout`, or after ten times that of a single call; raised",
        endless_stream,
        calls=1,
        answers=DeadlineError,
        options={"timeout": 1.5},
        said="time was over",
        streaming=True,
        rests="third",
    ),
    Row(
        "a stream stalls before the first piece",
        "others are asked in time",
        hang,
        calls=1,
        options={"timeout": 2.0},
        streaming=True,
        rests="third",
        said="everyone else is asked",
    ),
    # All of them
    Row(
        "every model fails",
        "raised, with all causes and calls",
        status(401),
        calls=1,
        big=status(503, "out of order"),
        answers=SamplingError,
        rests="at once",
        said="out of order",
    ),
)


def table() -> str:
    """The rows as Markdown."""
    rests = {"no": "", "third": "after three in a row", "at once": "at once"}
    lines = ["| fault of a model | what is done | left out of later calls |", "|---|---|---|"]
    lines += [f"| {row.what} | {_done(row)} | {rests[row.rests]} |" for row in ROWS]
    return "\n".join(lines)


def _done(row: Row) -> str:
    return row.done if isinstance(row.answers, str) else f"{row.done}: `{row.answers.__name__}`"


def written(text: str) -> str:
    """The page with the table of now."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCS.write_text(written(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
