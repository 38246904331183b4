"""What a ledger comes to: spend, savings against always-reference, by model, arm and day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bestroute.errors import DataError
from bestroute.ledger.file import open_to_read


class ModelSpend(BaseModel):
    """What was asked of one model, a judge's too.

    Attributes:
        model: Its name in the pool.
        answers: Routed calls whose answer it gave.
        calls: Calls to its provider.
        prompt_tokens, completion_tokens, cached_tokens: Tokens billed.
        cost: $, as far as prices are known.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    answers: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float


class DaySpend(BaseModel):
    """One day (UTC).

    Attributes:
        day: As 2026-11-25.
        calls: Routed calls.
        cost: $, as far as prices are known.
        savings: Estimated $ saved against always-reference.
    """

    model_config = ConfigDict(frozen=True)

    day: str
    calls: int
    cost: float
    savings: float


class ArmShare(BaseModel):
    """How often an arm was decided for.

    Attributes:
        arm: `name:n`.
        calls: Routed calls.
        share: Of all routed calls.
    """

    model_config = ConfigDict(frozen=True)

    arm: str
    calls: int
    share: float


class LedgerSummary(BaseModel):
    """What routed calls came to.

    Attributes:
        since: From when on they are counted; `None` for all.
        first, last: When the first and the last of them ended; `None` without any.
        calls: Routed calls.
        ok, errors, cancelled: How they ended.
        degraded: Answered calls where something did not go as decided.
        cost: $ of all of them, as far as prices are known.
        unanswered_cost: $ of those that failed or were cancelled, as far as prices are known.
        unpriced: Calls whose cost is unknown.
        reference_cost: Estimated $ of always asking the reference once, for the answered calls
            that can be compared.
        savings: That, less what these calls cost.
        savings_share: Savings as a share of the reference's cost; `None` where that is 0.
        prompt_tokens, completion_tokens, cached_tokens: Tokens billed.
        latency_p50, latency_p95: Seconds of answered calls; `None` without any.
        models: Model by model, the dearest first.
        arms: Arm by arm, the most frequent first.
        days: Day by day.
    """

    model_config = ConfigDict(frozen=True)

    since: datetime | None
    first: datetime | None
    last: datetime | None
    calls: int
    ok: int
    errors: int
    cancelled: int
    degraded: int
    cost: float
    unanswered_cost: float
    unpriced: int
    reference_cost: float
    savings: float
    savings_share: float | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    latency_p50: float | None
    latency_p95: float | None
    models: tuple[ModelSpend, ...]
    arms: tuple[ArmShare, ...]
    days: tuple[DaySpend, ...]


_COMPARED = "outcome = 'ok' AND cost IS NOT NULL AND reference_cost IS NOT NULL"
_SAVINGS = f"total(CASE WHEN {_COMPARED} THEN reference_cost - cost END)"
_WHOLE = f"""
SELECT count(*) AS calls, min(time) AS first, max(time) AS last,
    count(CASE WHEN outcome = 'ok' THEN 1 END) AS ok,
    count(CASE WHEN outcome = 'error' THEN 1 END) AS errors,
    count(CASE WHEN outcome = 'cancelled' THEN 1 END) AS cancelled,
    count(CASE WHEN degraded > 0 THEN 1 END) AS degraded,
    total(cost) AS cost, total(CASE WHEN outcome != 'ok' THEN cost END) AS unanswered_cost,
    count(*) - count(cost) AS unpriced,
    total(CASE WHEN {_COMPARED} THEN reference_cost END) AS reference_cost, {_SAVINGS} AS savings,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cached_tokens), 0) AS cached_tokens
FROM routed WHERE time >= ?
"""
_MODELS = """
SELECT key AS model, sum(routed.model IS key) AS answers,
    sum(json_extract(value, '$.calls')) AS calls,
    sum(json_extract(value, '$.prompt_tokens')) AS prompt_tokens,
    sum(json_extract(value, '$.completion_tokens')) AS completion_tokens,
    sum(json_extract(value, '$.cached_tokens')) AS cached_tokens,
    total(json_extract(value, '$.cost')) AS cost
FROM routed, json_each(models) WHERE time >= ? GROUP BY key ORDER BY cost DESC, key
"""
_ARMS = """
SELECT arm, count(*) AS calls, 1.0 * count(*) / sum(count(*)) OVER () AS share
FROM routed WHERE time >= ? AND arm != '' GROUP BY arm ORDER BY calls DESC, arm
"""
_DAYS = f"""
SELECT date(time, 'unixepoch') AS day, count(*) AS calls, total(cost) AS cost, {_SAVINGS} AS savings
FROM routed WHERE time >= ? GROUP BY day ORDER BY day
"""
_LATENCY = """
SELECT latency FROM routed WHERE time >= ? AND outcome = 'ok' ORDER BY latency LIMIT 1 OFFSET ?
"""


def summarise(path: str | Path, *, since: datetime | None = None) -> LedgerSummary:
    """Add up a ledger.

    Args:
        path: The ledger's file; it is only read, and may be in use.
        since: Leaves out calls that ended before.

    Raises:
        DataError: The file is absent, no ledger, damaged, or of a newer version.
    """
    begin = 0.0 if since is None else since.timestamp()
    with closing(open_to_read(Path(path))) as connection:
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("BEGIN")  # all figures of one moment
            return _add_up(connection, begin, since)
        except sqlite3.Error as error:
            raise DataError(f"{path}: the ledger cannot be read ({error})") from error


def _add_up(connection: sqlite3.Connection, begin: float, since: datetime | None) -> LedgerSummary:
    def rows(query: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(query, (begin,))]

    def latency(share: float) -> float | None:
        place = round(share * (whole["ok"] - 1))
        found = connection.execute(_LATENCY, (begin, place)).fetchone()
        return None if found is None else float(found[0])

    (whole,) = rows(_WHOLE)
    reference_cost = whole["reference_cost"]
    return LedgerSummary(
        **{**whole, "first": _moment(whole["first"]), "last": _moment(whole["last"])},
        since=since,
        savings_share=whole["savings"] / reference_cost if reference_cost else None,
        latency_p50=latency(0.5),
        latency_p95=latency(0.95),
        models=tuple(ModelSpend(**row) for row in rows(_MODELS)),
        arms=tuple(ArmShare(**row) for row in rows(_ARMS)),
        days=tuple(DaySpend(**row) for row in rows(_DAYS)),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
