"""Rate limits: calls of each model spaced evenly over the minute."""

from __future__ import annotations

import time

from bestroute.pool import PooledModel


class Pace:
    """When the next call of each model may be made, by its `rpm`."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}

    def reserve(self, member: PooledModel, calls: int = 1) -> float:
        """Take the next turn of a model.

        Args:
            member: The model.
            calls: How many turns; for retries, which nobody waits for, none before the next.

        Returns:
            Seconds to wait before the first of them.
        """
        if member.rpm is None:
            return 0.0
        now = time.monotonic()
        turn = max(now, self._free.get(member.name, now))
        self._free[member.name] = turn + calls * 60 / member.rpm
        return turn - now
