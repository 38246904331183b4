"""Reward models that read each pair as one run of tokens."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from bestroute.rewards.base import Scores, checked
from bestroute.rewards.pairs import Pair, PairReward
from bestroute.rewards.tokens import PairTokenizer


class EncodedReward(PairReward):
    """One logit a pair; a subclass runs the model.

    Args:
        name: Of the model, for messages.
        tokens: How a pair is read.
    """

    def __init__(self, name: str, tokens: PairTokenizer) -> None:
        self._name, self._tokens = name, tokens
        self._lock = threading.Lock()  # fast tokenizers cannot be shared between threads

    def score_many(self, pairs: Sequence[Pair]) -> Scores:
        """One logit a (query, response) pair [n]; equal pairs run once.

        Raises:
            ScoreError: The model gave NaN, or ran out of memory on a pair alone.
        """
        distinct = {pair: index for index, pair in enumerate(dict.fromkeys(pairs))}
        with self._lock:
            scores = self._logits(self._tokens.encode_many(list(distinct)))
        return checked(scores[[distinct[pair] for pair in pairs]], len(pairs), self._name)

    @abstractmethod
    def _logits(self, encoded: Sequence[Mapping[str, Any]]) -> Scores:
        """One logit a tokenised pair [n]."""
