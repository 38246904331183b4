"""What there is one of in a scoring: the journal, what is to be scored next, and when to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from bestroute._extras import require
from bestroute.errors import ScoreError
from bestroute.learning.atomic import replacing
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.progress import Progress
from bestroute.learning.scoring.score_work import Batch, ScoreWork
from bestroute.learning.scoring.scorers import Scorer
from bestroute.rewards.base import Scored
from bestroute.samples import total_cost

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = {"kind of journal": "scores"}
_GIVE_UP = 10  # failures of a judge in a row


class ScoreReport(BaseModel):
    """What scoring brought.

    Attributes:
        path: The scored table.
        rows: Rows in it.
        missing: Rows without a score, by column; another run tries them again.
        cost: $ spent so far by all runs, lost calls by estimate, as far as prices are known.
        lost: Calls that a run before left under way: they were asked again.
        failure: Why scores are missing.
    """

    model_config = ConfigDict(frozen=True)

    path: Path
    rows: int
    missing: dict[str, int]
    cost: float
    lost: Lost
    failure: str | None = None


class Errand(NamedTuple):
    """Responses to one query that are scored together for one column, under the truth about it."""

    place: int
    column: str
    query: str
    truth: str
    responses: tuple[str, ...]


class ScoringDesk:
    """One run of a scoring, whoever makes the scores.

    Raises:
        DataError: See `ascore`.
    """

    def __init__(
        self,
        table: pa.Table,
        output: Path,
        scorers: Mapping[str, Scorer],
        progress: Progress | None,
    ) -> None:
        self._table = table
        self._output = output
        self._progress = progress
        self._journal = Journal(journal_path(output), ABOUT)
        try:
            self._work = {
                column: ScoreWork(table, each, self._journal) for column, each in scorers.items()
            }
            self._batches = [
                (column, batch) for column, work in self._work.items() for batch in work.missing()
            ]
            self._lost = self._journal.write_off()
        except BaseException:
            self.close()
            raise
        self._total: Counter[str] = Counter()
        for column, batch in self._batches:
            self._total[column] += len(batch.responses)
        self._done: Counter[str] = Counter()
        self._open: dict[int, tuple[str, Batch]] = {}
        self._in_row: Counter[str] = Counter()
        self._failures: list[str] = []
        self._is_over = False
        self._error: ScoreError | None = None

    def errands(self) -> list[Errand]:
        """What is to be scored."""
        return [
            Errand(place, column, batch.query, batch.truth, batch.responses)
            for place, (column, batch) in enumerate(self._batches)
        ]

    async def turn(self, place: int) -> int | None:
        """Write down that a batch is being scored; the ticket, or `None` if all is over."""
        if self._is_over:
            return None
        column, batch = self._batches[place]
        estimate = total_cost(batch.calls)
        ticket = self._journal.ask(batch.unit, len(batch.responses), estimate)
        self._open[ticket] = column, batch
        return ticket

    async def keep(self, ticket: int, scored: Scored) -> None:
        """Keep scores, and what was paid for them."""
        column, batch = self._open.pop(ticket)
        result = self._work[column].take(batch, scored.scores)
        cost = total_cost(scored.calls)
        self._journal.keep(ticket, [result], cost=cost, error=scored.failure)
        self._done[column] += len(batch.responses)
        if self._progress:
            self._progress(column.replace("_", " "), self._done[column], self._total[column])
        if scored.failure is None:
            self._in_row[column] = 0
        else:
            self._note_failure(column, scored, scored.failure)

    async def fail(self, ticket: int, error: ScoreError) -> None:
        """A reward model that raises, or gives no numbers: nothing further is scored."""
        self._journal.keep(ticket, error=str(error))
        self._stop(error)

    async def halt(self) -> None:
        """Begin nothing further."""
        self._is_over = True

    def finish(self) -> ScoreReport:
        """Write the table.

        Raises:
            ScoreError: What ended the run.
        """
        if self._error:
            raise self._error
        table = self._table
        for column, work in self._work.items():
            table = _with_column(table, column, work.column())
        with replacing(self._output) as part:
            parquet = require("pyarrow.parquet", feature="Samples tables", extra="train")
            parquet.write_table(table, str(part), compression="zstd")
        return ScoreReport(
            path=self._output,
            rows=table.num_rows,
            missing={column: table[column].null_count for column in self._work},
            cost=self._journal.spent,
            lost=self._lost,
            failure=self._failures[-1] if self._failures else None,
        )

    def close(self) -> None:
        """Let another process have the journal."""
        self._journal.close()

    def _note_failure(self, column: str, scored: Scored, failure: str) -> None:
        errors = [call.error for call in scored.calls if call.error]
        self._failures.append(f"{failure} ({errors[-1]})" if errors else failure)
        self._in_row[column] += 1
        if self._in_row[column] >= _GIVE_UP:
            self._stop(
                ScoreError(
                    f"{self._in_row[column]} scores failed in a row: {self._failures[-1]}; what "
                    "came is kept: mend it and run again to go on"
                )
            )

    def _stop(self, error: ScoreError) -> None:
        self._error = self._error or error
        self._is_over = True


def journal_path(output: str | Path) -> Path:
    """The journal of a scoring that writes to `output`."""
    return Path(f"{output}.scored")


def _with_column(table: pa.Table, name: str, values: list[float | None]) -> pa.Table:
    arrow: Any = require("pyarrow", feature="Samples tables", extra="train")
    column = arrow.array(values, arrow.float64())
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)
