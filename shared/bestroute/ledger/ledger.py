"""The ledger of an engine: rows are written beside the calls, and fail none."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from bestroute.events import Decided, Event
from bestroute.ledger.entry import Entry
from bestroute.ledger.writer import Writer
from bestroute.policy.base import Decision
from bestroute.purse import Purse
from bestroute.query import Request
from bestroute.response import RoutedResponse

_WAIT = 0.25  # seconds that an answer may wait for its row, usually there within one ms


class Ledger:
    """Keeps one row of every routed call in a SQLite file: decision, models, tokens, cost, time.

    A call that failed or was cancelled has a row as well. An answer is given once its row is
    written: if the process is killed, the call in flight is lost, no more. Where the file cannot be
    written, answers wait for it no longer than once (0.25 s), that is warned of once, and rows wait
    in memory for the next attempt. Several engines and processes may write the same file.

    Args:
        path: The file; made if absent.
        texts: Whether to keep queries and answers; there are none in it otherwise.

    Raises:
        DataError: The file is no ledger, or one of a newer version.
        ConfigError: It cannot be opened.
    """

    def __init__(self, path: str | Path, *, texts: bool = False) -> None:
        self.path = Path(path)
        self.texts = texts
        self._writer = Writer(self.path)
        self._writer.check()
        weakref.finalize(self, self._writer.write)

    @classmethod
    def of(cls, ledger: Ledger | str | Path) -> Ledger:
        """A ledger out of itself, or of a path."""
        return ledger if isinstance(ledger, Ledger) else cls(ledger)

    @property
    def lost(self) -> int:
        """Rows given up, because too many waited."""
        return self._writer.lost

    def flush(self) -> None:
        """Wait until all that was added is written, or cannot be."""
        self._writer.add().result()

    async def keep(
        self,
        events: AsyncGenerator[Event | RoutedResponse, None],
        request: Request,
        purse: Purse,
    ) -> AsyncGenerator[Event | RoutedResponse, None]:
        """The events of a routed call, which are passed on; whatever becomes of it is kept.

        Args:
            events: Of the call.
            request: The request.
            purse: Knows all calls that were paid for.
        """
        began = time.monotonic()
        decision: Decision | None = None
        response: RoutedResponse | None = None
        failure: Exception | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, RoutedResponse):
                        response = event
                        break
                    if isinstance(event, Decided):
                        decision = event.decision
                    yield event
        except Exception as error:
            failure = error
            raise
        finally:
            calls = response.calls if response else purse.calls
            entry = Entry.of(
                decision,
                calls,
                latency=time.monotonic() - began,
                response=response,
                error=failure,
            )
            if self.texts:
                answer = response.text if response else None
                entry = entry._replace(query=request.query, answer=answer)
            written = self._writer.add(entry)
        if response is not None:
            if not self._writer.behind:
                done, _ = await asyncio.wait([asyncio.wrap_future(written)], timeout=_WAIT)
                self._writer.behind = not done
            yield response

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it is."""
        return partial(type(self), str(self.path), texts=self.texts), ()
