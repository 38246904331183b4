"""What happens while a request is routed, in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bestroute.policy.base import Decision
from bestroute.samples import Call, Sample


@dataclass(frozen=True)
class Decided:
    """The policy decided from the query alone."""

    decision: Decision


@dataclass(frozen=True)
class Drawing:
    """A draw is about to be asked for; nothing has been sent yet.

    Attributes:
        index: Which draw of this request, from 0.
        model: Name of the model in the pool.
        n: How many samples.
        reason: Why, in words.
    """

    index: int
    model: str
    n: int
    reason: str


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed response.

    Attributes:
        text: New text.
        tool_calls: New pieces of tool calls, in OpenAI's delta format.
        reasoning: New thoughts.
    """

    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    reasoning: str = ""


@dataclass(frozen=True)
class Drew:
    """A draw has come to its end.

    Attributes:
        index, model: Those of its `Drawing`.
        asked: Its n.
        samples: What came.
        calls: Every call that was made, failed ones too.
    """

    index: int
    model: str
    asked: int
    samples: tuple[Sample, ...]
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Selected:
    """The selector has looked at the samples.

    Attributes:
        samples: The candidates, with their scores.
        winner: Index of the best one; `None` when none is valid.
        invalid: Index of each sample that cannot be used, and why.
        calls: What the reward model paid for.
    """

    samples: tuple[Sample, ...]
    winner: int | None
    invalid: dict[int, str]
    calls: tuple[Call, ...] = ()


Event = Decided | Drawing | Delta | Drew | Selected
"""All that comes before the response."""
