"""The desk of a long work, and those who do its errands, wherever they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bestroute.learning.progress import Progress


class Desk(Protocol):
    """What there is one of, however many work: the journal, the money, whose turn it is."""

    def errands(self) -> Sequence[Any]:
        """What is to be done, in parts that any worker can take."""

    async def halt(self) -> None:
        """Begin nothing further; what is under way comes to its end and is kept."""

    def finish(self) -> Any:
        """What came of it all."""

    def close(self) -> None:
        """Let go of the journal."""


D = TypeVar("D", bound=Desk)
Opening = Callable[[Progress | None], D]
Work = Callable[[D, Sequence[Any], int], Awaitable[None]]
"""Does errands of a desk, so many at a time."""


@dataclass(frozen=True)
class RayEngine:
    """The cluster that `ray.init()` finds, as in `RAY_ADDRESS`; else one on this machine.

    Attributes:
        workers: Processes that work; by default one for each CPU of the cluster. There are never
            more of them than calls under way.
        gpus: GPUs of each worker, for reward models.
        setup: Called once in each process before it works.
    """

    workers: int | None = None
    gpus: float = 0
    setup: Callable[[], object] | None = None
