"""The recorded samples of one model on one query, as a replay draws them."""

from __future__ import annotations

import numpy as np

from bestroute.learning.beliefs.episodes import look
from bestroute.learning.bestofn import NO_ANSWER, Indices
from bestroute.learning.sample_sets import SampleSet
from bestroute.policy.evidence import Evidence
from bestroute.samples import Sample

SECONDS_PER_TOKEN = 0.02
"""What a completion token is taken to last where no latency was recorded."""


class Recording:
    """N samples, and what their draws show.

    Args:
        model: The model.
        samples: Its samples on some queries.
        place: Which of the queries.
    """

    def __init__(self, model: str, samples: SampleSet, place: int) -> None:
        self._samples, self._place = samples, place
        self._seen: dict[bytes, tuple[Evidence, int]] = {}
        self.oracle, self.tokens = samples.oracle[place], samples.completion_tokens[place]
        self.prompt_tokens = float(samples.prompt_tokens[place])
        self.timed = samples.latency is not None
        self.seconds = self.tokens * SECONDS_PER_TOKEN
        if samples.latency is not None:
            self.seconds = samples.latency[place]
        self.stand_ins = [
            Sample(model=model, message={"role": "assistant"}, completion_tokens=int(count))
            for count in self.tokens
        ]

    def look(self, drawn: Indices) -> tuple[Evidence, int]:
        """What a draw shows, and the place of the selected in it; looked at once."""
        key = drawn.tobytes()
        if key not in self._seen:
            self._seen[key] = look(self._samples, self._place, drawn)
        return self._seen[key]

    def winners(self, orders: Indices) -> Indices:
        """Which sample is selected of the first n of each order, for all n at once [P, N]."""
        count = orders.shape[1]
        if self._samples.scores is not None:
            worth = np.repeat(self._samples.scores[self._place][orders][:, :, None], count, axis=2)
        elif self._samples.answers is not None:
            codes = self._samples.answers[self._place][orders]
            same = codes[:, :, None] == codes[:, None, :]
            worth = same.cumsum(axis=2) * (codes != NO_ANSWER)[:, :, None]  # [P, sample, n - 1]
        else:
            worth = np.zeros((*orders.shape, count))
        drawn = np.arange(count)[:, None] <= np.arange(count)[None, :]
        first = np.where(drawn, worth, -np.inf).argmax(axis=1)  # ties go to the first drawn
        return np.asarray(np.take_along_axis(orders, first, axis=1))
