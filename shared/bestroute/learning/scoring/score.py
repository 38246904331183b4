"""Scoring: fills the oracle and proxy columns of a samples table, resumable at any moment."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bestroute._extras import require
from bestroute._sync import run_sync
from bestroute._tasks import together
from bestroute.errors import ConfigError, ScoreError
from bestroute.learning.atomic import replacing
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.scoring.score_work import Batch, ScoreWork
from bestroute.learning.scoring.scorers import Source, scorer
from bestroute.samples import total_cost, total_usage

if TYPE_CHECKING:
    import pyarrow as pa

    from bestroute.learning.progress import Progress

_GIVE_UP = 10  # failures of a judge in a row
_ABOUT = {"kind of journal": "scores"}


class ScorePlan(BaseModel):
    """What scoring will do, before it does.

    Attributes:
        scores: Scores that are still missing; equal responses to a query are scored once.
        calls: Calls to a judge among them.
        prompt_tokens, completion_tokens: Expected, of those calls.
        cost: Expected $ of those calls; `None` where no price is known.
        lost: What an earlier run that was stopped left under way; it is asked again.
    """

    model_config = ConfigDict(frozen=True)

    scores: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    lost: Lost


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


async def ascore(
    table: pa.Table,
    output: str | Path,
    *,
    oracle: Source | None = None,
    proxy: Source | None = None,
    concurrency: int = 8,
    progress: Progress | None = None,
) -> ScoreReport:
    """Score every response of a samples table; the column is replaced as a whole.

    Scores are kept in a journal beside `output`: none that was paid for is asked again. Equal
    responses to a query get one score.

    Args:
        table: A samples table.
        output: The scored table (Parquet), which may be the file that `table` came from.
        oracle: What fills `oracle_score`; a reward model, or the name of one as in `scorer`.
        proxy: What fills `proxy_score`.
        concurrency: Judge's calls, or queries, under way at a time.
        progress: Told of scores made.

    Raises:
        ConfigError: Neither column is asked for, or a scorer is not known.
        DataError: A query has no check or no reference answer, or the journal is in use.
        ScoreError: A reward model raised or gave NaN, or a judge fails for everyone. What came
            before is kept.
    """
    with closing(Journal(journal_path(output), _ABOUT)) as journal:
        work = _work(table, oracle, proxy, journal)
        lost = journal.write_off()
        failures = []
        for column, each in work.items():
            run = _Run(each, journal, column.replace("_", " "), progress)
            await run.all(concurrency)
            failures += run.failures
            table = _with_column(table, column, each.column())
        with replacing(Path(output)) as part:
            parquet = require("pyarrow.parquet", feature="Samples tables", extra="train")
            parquet.write_table(table, str(part), compression="zstd")
        return ScoreReport(
            path=Path(output),
            rows=table.num_rows,
            missing={column: table[column].null_count for column in work},
            cost=journal.spent,
            lost=lost,
            failure=failures[-1] if failures else None,
        )


def score(
    table: pa.Table,
    output: str | Path,
    *,
    oracle: Source | None = None,
    proxy: Source | None = None,
    concurrency: int = 8,
    progress: Progress | None = None,
) -> ScoreReport:
    """The same as `ascore`, from sync code."""
    return run_sync(
        ascore(
            table,
            output,
            oracle=oracle,
            proxy=proxy,
            concurrency=concurrency,
            progress=progress,
        )
    )


def plan_scores(
    table: pa.Table,
    output: str | Path | None = None,
    *,
    oracle: Source | None = None,
    proxy: Source | None = None,
) -> ScorePlan:
    """What `score` with the same arguments would do and spend; asks nobody.

    Raises:
        ConfigError: Neither column is asked for, or a scorer is not known.
        DataError: A query has no check or no reference answer, or the journal is in use.
    """
    if output is None or not journal_path(output).exists():
        return _plan(_work(table, oracle, proxy, None), Lost(0, 0, 0.0))
    with closing(Journal(journal_path(output), _ABOUT)) as journal:
        return _plan(_work(table, oracle, proxy, journal), journal.lost)


def journal_path(output: str | Path) -> Path:
    """The journal of a scoring that writes to `output`."""
    return Path(f"{output}.scored")


def _work(
    table: pa.Table,
    oracle: Source | None,
    proxy: Source | None,
    journal: Journal | None,
) -> dict[str, ScoreWork]:
    asked = {"oracle_score": oracle, "proxy_score": proxy}
    if oracle is None and proxy is None:
        raise ConfigError("say what scores: oracle=, proxy=, or both")
    return {
        column: ScoreWork(table, scorer(source), journal)
        for column, source in asked.items()
        if source is not None
    }


def _plan(work: dict[str, ScoreWork], lost: Lost) -> ScorePlan:
    batches = [batch for each in work.values() for batch in each.missing()]
    calls = [call for batch in batches for call in batch.calls]
    usage = total_usage(calls)
    return ScorePlan(
        scores=sum(len(batch.responses) for batch in batches),
        calls=len(calls),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=total_cost(calls),
        lost=lost,
    )


def _with_column(table: pa.Table, name: str, values: list[float | None]) -> pa.Table:
    arrow: Any = require("pyarrow", feature="Samples tables", extra="train")
    column = arrow.array(values, arrow.float64())
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


class _Run:
    """Fills one column."""

    def __init__(
        self, work: ScoreWork, journal: Journal, step: str, progress: Progress | None
    ) -> None:
        self.failures: list[str] = []
        self._work = work
        self._journal = journal
        self._step = step
        self._progress = progress
        self._in_row = 0
        self._error: ScoreError | None = None
        self._done, self._total = 0, 0

    async def all(self, concurrency: int) -> None:
        """Make every missing score.

        Raises:
            ScoreError: Whatever ends the run; batches under way have come to their end.
        """
        batches = self._work.missing()
        self._total = sum(len(batch.responses) for batch in batches)
        todo = iter(batches)

        async def worker() -> None:
            for batch in todo:
                if self._error:
                    return
                await self._one(batch)

        await together(worker() for _ in range(min(concurrency, len(batches))))
        if self._error:
            raise self._error

    async def _one(self, batch: Batch) -> None:
        estimate = total_cost(batch.calls)
        ticket = self._journal.ask(batch.unit, len(batch.responses), estimate)
        try:
            scored = await batch.reward.judge(batch.query, batch.responses)
        except ScoreError as error:
            self._journal.keep(ticket, error=str(error))
            self._error = self._error or error
            return
        result = self._work.take(batch, scored.scores)
        cost = total_cost(scored.calls)
        self._journal.keep(ticket, [result], cost=cost, error=scored.failure)
        self._done += len(batch.responses)
        if self._progress:
            self._progress(self._step, self._done, self._total)
        if scored.failure is None:
            self._in_row = 0
            return
        errors = [call.error for call in scored.calls if call.error]
        self.failures.append(f"{scored.failure} ({errors[-1]})" if errors else scored.failure)
        self._in_row += 1
        if self._in_row >= _GIVE_UP:
            self._error = self._error or ScoreError(
                f"{self._in_row} scores failed in a row: {self.failures[-1]}; what came is kept: "
                "mend it and run again to go on"
            )
