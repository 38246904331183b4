"""A reward model out of a user's function."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from bestroute._aside import in_thread
from bestroute._sync import run_sync
from bestroute.errors import ScoreError
from bestroute.rewards.base import RewardModel, Scores, checked


class FunctionReward(RewardModel):
    """Scores by a plain or async function.

    A plain function runs in a worker thread, response after response; an async one for all
    responses side by side.

    Args:
        function: `(query, response) -> float`, or with `batch` `(query, responses) -> [n]`.
        batch: Whether the function takes all responses to a query at once.
        set_dependent: Whether a response's score depends on the other responses; only a batch
            function can.

    Examples:
        >>> shortest = FunctionReward(lambda query, response: -len(response))
        >>> shortest.score("Why?", ["Because.", "No."]).tolist()
        [-8.0, -3.0]
    """

    def __init__(
        self, function: Callable[..., Any], *, batch: bool = False, set_dependent: bool = False
    ) -> None:
        self.set_dependent = set_dependent
        self._function = function
        self._batch = batch
        self._name = getattr(function, "__qualname__", type(function).__name__)

    def score(self, query: str, responses: Sequence[str]) -> Scores:
        """The function's scores [n].

        Raises:
            ScoreError: The function raised, or gave NaN or too few scores; names the function.
        """
        return run_sync(self.ascore(query, responses))

    async def ascore(self, query: str, responses: Sequence[str]) -> Scores:
        """The same without blocking the event loop."""
        try:
            given = await in_thread(self._call, query, responses)
            awaited = [await _result(given[0])] if self._batch else await _results(given)
            scores = awaited[0] if self._batch else awaited
            array = np.asarray(scores, dtype=np.float64)
        except Exception as error:  # whatever a user's function may raise
            raise ScoreError(f"{self._name} raised {type(error).__name__}") from error
        return checked(array, len(responses), self._name)

    def _call(self, query: str, responses: Sequence[str]) -> list[Any]:
        if self._batch:
            return [self._function(query, list(responses))]
        return [self._function(query, response) for response in responses]


async def _result(given: Any | Awaitable[Any]) -> Any:
    return await given if inspect.isawaitable(given) else given


async def _results(given: Sequence[Any]) -> list[Any]:
    return await asyncio.gather(*(_result(each) for each in given))
