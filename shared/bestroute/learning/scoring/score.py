"""Scoring: fills the oracle and proxy columns of a samples table, resumable at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict

from bestroute._sync import run_sync
from bestroute.errors import ConfigError
from bestroute.learning.engines import Engine, run
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.scoring.desk import ABOUT, ScoreReport, ScoringDesk, journal_path
from bestroute.learning.scoring.marker import Marker
from bestroute.learning.scoring.score_work import ScoreWork
from bestroute.learning.scoring.scorers import Scorer, Source, scorer
from bestroute.samples import total_cost, total_usage

if TYPE_CHECKING:
    import pyarrow as pa

    from bestroute.learning.progress import Progress

__all__ = ["ScorePlan", "ScoreReport", "ascore", "plan_scores", "score"]


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


async def ascore(
    table: pa.Table,
    output: str | Path,
    *,
    oracle: Source | None = None,
    proxy: Source | None = None,
    concurrency: int = 8,
    engine: Engine = "local",
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
        engine: Where scores are made: here, or by workers of a Ray cluster, which load a named
            scorer themselves. Either engine goes on where the other ended.
        progress: Told of scores made.

    Raises:
        ConfigError: Neither column is asked for, or a scorer is not known; or, on Ray, a judge is
            not given by name.
        DataError: A query has no check or no reference answer, or the journal is in use.
        ScoreError: A reward model raised or gave NaN, or a judge fails for everyone. What came
            before is kept.
    """
    scorers = _scorers(oracle, proxy)
    path = Path(output)
    if engine != "local":
        path = path.absolute()
        _check_portable(scorers)
    done = await run(
        engine,
        partial(ScoringDesk, table, path, scorers),
        partial(Marker, scorers),
        concurrency=concurrency,
        progress=progress,
    )
    return cast(ScoreReport, done)


def score(
    table: pa.Table,
    output: str | Path,
    *,
    oracle: Source | None = None,
    proxy: Source | None = None,
    concurrency: int = 8,
    engine: Engine = "local",
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
            engine=engine,
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
    scorers = _scorers(oracle, proxy).values()
    if output is None or not journal_path(output).exists():
        return _plan([ScoreWork(table, each, None) for each in scorers], Lost(0, 0, 0.0))
    with closing(Journal(journal_path(output), ABOUT)) as journal:
        return _plan([ScoreWork(table, each, journal) for each in scorers], journal.lost)


def _scorers(oracle: Source | None, proxy: Source | None) -> dict[str, Scorer]:
    asked = {"oracle_score": oracle, "proxy_score": proxy}
    if oracle is None and proxy is None:
        raise ConfigError("say what scores: oracle=, proxy=, or both")
    return {column: scorer(source) for column, source in asked.items() if source is not None}


def _check_portable(scorers: Mapping[str, Scorer]) -> None:
    """No key is sent to workers elsewhere: they read their environment."""
    if any(each.judge and each.made_from is None for each in scorers.values()):
        raise ConfigError(
            "on Ray a judge is given by its name, judge:MODEL, so that each worker reads the key "
            "from its own environment; for one with other settings write a function:MODULE:NAME"
        )


def _plan(work: Sequence[ScoreWork], lost: Lost) -> ScorePlan:
    batches = [batch for each in work for batch in each.missing()]
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
