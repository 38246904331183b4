"""Self-consistency: the response that most of the others agree with wins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bestroute._aside import aside
from bestroute.errors import ArtifactError
from bestroute.rewards.answers import extract_answer
from bestroute.rewards.base import RewardModel, Scores, checked
from bestroute.routers.encoder import Encoder, load_encoder

Extract = Callable[[str], str | None]


class SelfConsistency(RewardModel):
    """Agreement between the samples of one query; needs no model (arXiv 2203.11171).

    Exact: a response scores the share of all responses that give its answer (1/n for an answer
    that no other gives). With an encoder, for open-ended text: its mean cosine similarity to
    the other responses, negative ones counted as 0. Either way in [0, 1]; a single response
    agrees with itself, an empty one (or one without an answer) scores 0.

    Args:
        extract: Response -> the answer to compare, `None` for none. Not asked with an encoder.
        encoder: Turns responses into vectors.
    """

    set_dependent = True

    def __init__(self, extract: Extract = extract_answer, encoder: Encoder | None = None) -> None:
        self._extract = extract
        self._encoder = encoder

    def score(self, query: str, responses: Sequence[str]) -> Scores:
        """Agreement of each response with the others [n], in [0, 1].

        Raises:
            ScoreError: The encoder gave NaN.
        """
        scores = self._similarities(responses) if self._encoder else self._shares(responses)
        return checked(scores, len(responses), type(self).__name__)

    async def ascore(self, query: str, responses: Sequence[str]) -> Scores:
        """The same without blocking the event loop."""
        if self._encoder:
            return await super().ascore(query, responses)
        size = sum(map(len, responses))
        return await aside(lambda: self.score(query, responses), size=size)

    async def warmup(self) -> None:
        """Read one response: an encoder's first run takes longer than the next."""
        await asyncio.to_thread(self.score, "warm-up", ["warm-up"] * 2)

    def _shares(self, responses: Sequence[str]) -> Scores:
        answers = [self._extract(response) for response in responses]
        counts = Counter(answer for answer in answers if answer)
        return np.array([counts.get(answer or "", 0) / len(answers) for answer in answers])

    def _similarities(self, responses: Sequence[str]) -> Scores:
        n = len(responses)
        said = np.array([bool(response.strip()) for response in responses], dtype=bool)
        if n < 2 or self._encoder is None:
            return said.astype(np.float64)
        vectors = np.asarray(self._encoder.encode(list(responses)), dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = vectors / np.where(lengths == 0, 1, lengths) * said[:, None]
        cosines = np.clip(units @ units.T, 0, 1)  # NaN stays NaN
        np.fill_diagonal(cosines, 0)
        return np.asarray(cosines.sum(axis=1) / (n - 1))

    def config(self) -> dict[str, Any] | None:
        """How to build it again; `None` with an extractor of the user's."""
        if self._extract is not extract_answer:
            return None
        encoder = self._encoder.config() if self._encoder else None
        return {"kind": "consistency", "encoder": encoder}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SelfConsistency:
        """Build what `config` described.

        Raises:
            ArtifactError: The encoder's description is damaged.
        """
        encoder = config.get("encoder")
        if encoder is not None and not isinstance(encoder, Mapping):
            raise ArtifactError("the reward model's encoder must be a mapping")
        return cls(encoder=load_encoder(encoder) if encoder else None)


def agreement(responses: Sequence[str], extract: Extract = extract_answer) -> float:
    """Share of the responses that give the most frequent answer, in [0, 1].

    Args:
        responses: n responses to one query.
        extract: Response -> the answer to compare, `None` for none.
    """
    return max(SelfConsistency(extract).score("", responses), default=0.0)
