"""Each row of the matrix over HTTP: who answers, how often is asked, what is kept and said."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from bestroute.errors import SamplingError
from bestroute.samples import total_usage
from tests.fault_server import FaultServer
from tests.unit_tests.faults.engines import answered, engine
from tests.unit_tests.faults.matrix import DOCS, ROWS, Row, written


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
async def test_the_matrix(row: Row, server: FaultServer) -> None:
    server.script = {"small": row.fault, "big": row.big}
    params = {"api_base": row.url(server)} if row.url else {}
    small = {**row.pool, "params": {**params, **row.pool.get("params", {})}}
    router = engine(server, small=small, arm="small:1" if row.streaming else "small:3")
    if isinstance(row.answers, str):
        response = await answered(router, streaming=row.streaming, **row.options)
        assert response.model == row.answers
        kept = [sample for sample in response.samples if sample.model == "small"]
        assert len(kept) == row.samples
        said = "; ".join(response.degraded)
        assert bool(said) == (row.answers == "big" or bool(row.said))
        calls = response.calls
    else:
        with pytest.raises(row.answers) as caught:
            await answered(router, streaming=row.streaming, **row.options)
        error = caught.value
        assert isinstance(error, SamplingError)
        assert error.causes
        said, calls = str(error), error.calls
    assert row.said in said
    asked = Counter(body["model"] for body in server.requests)
    assert asked["small"] == row.calls
    # Every call is accounted for, also those that never reached the server.
    assert Counter(call.model for call in calls) >= asked
    usage = total_usage(calls)
    assert usage.prompt_tokens >= 0
    assert usage.completion_tokens >= 0
    assert server.all_closed()
    assert ("small" in router.breaker.resting()) == (row.rests == "at once")
    for _ in range(2):
        with suppress(SamplingError):
            await answered(router, streaming=row.streaming, **row.options)
    assert ("small" in router.breaker.resting()) == (row.rests != "no")


def test_the_docs_show_the_matrix() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert written(text) == text
