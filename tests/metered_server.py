"""A provider that bills as dearly as it may, and fails in all ways that cost money or do not."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from typing import Any

from tests.servers import Body, Reply

PRICES = {"small": (1.0, 2.0), "big": (20.0, 60.0), "judge": (3.0, 9.0)}
"""$ per 1M tokens in and out."""

FAULTS = ("refused n", "unavailable", "fewer", "empty", "broken off")


class Meter:
    """Answers chats, and adds up what each is billed; a token a byte, answers of any length.

    A request tells whose it is by a number in its text, as in "q17".

    Args:
        seed: Of all that is random.
        faults: Share of the requests that meet each fault.

    Attributes:
        billed: $ by the number of the request.
        met: How often each fault was met.
    """

    def __init__(self, seed: int, *, faults: float = 0.08) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._faults = faults
        self.billed: Counter[str] = Counter()
        self.met: Counter[str] = Counter()

    @property
    def total(self) -> float:
        """$ of all requests."""
        return sum(self.billed.values())

    def __call__(self, body: Body) -> Reply:
        with self._lock:
            return self._answer(body)

    def _answer(self, body: Body) -> Reply:
        fault = self._fault(body)
        self.met[fault] += 1
        if fault in ("refused n", "unavailable"):
            return Reply(fault, status=400 if fault == "refused n" else 503)
        n = body.get("n") or 1
        texts = [self._text(body) for _ in range(n - (fault == "fewer"))]
        if fault == "empty":
            texts[0] = ""
        return Reply(
            texts,
            usage=self._bill(body, len(texts)),
            cut_after=2 if fault == "broken off" else None,
        )

    def _fault(self, body: Body) -> str:
        met = [fault for fault in FAULTS if self._random.random() < self._faults]
        fault = met[0] if met else ""
        many = (body.get("n") or 1) > 1
        if fault in ("refused n", "fewer") and not many:
            return ""
        return "" if fault == "broken off" and not body.get("stream") else fault

    def _text(self, body: Body) -> str:
        if body["model"] == "judge":
            return f"Score: {self._random.randint(1, 10)}"
        return f"The answer is {self._random.randint(1, 3)}"

    def _bill(self, body: Body, choices: int) -> dict[str, Any]:
        sent = [body["messages"], body.get("tools")]
        prompt = sum(8 + len(m["content"].encode()) for m in body["messages"])
        longest = body.get("max_tokens") or body["max_completion_tokens"]
        answer = sum(self._random.choice((8, longest)) for _ in range(choices))
        dear, dearer = PRICES[body["model"]]
        asked = re.findall(r"\bq(\d+)\b", json.dumps(sent))
        self.billed[asked[0] if asked else ""] += (dear * prompt + dearer * answer) / 1e6  # type: ignore[assignment]
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        }
