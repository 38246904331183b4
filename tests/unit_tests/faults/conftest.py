from __future__ import annotations

from collections.abc import Iterator

import pytest

from bestroute import asking
from tests.fault_server import FaultServer
from tests.unit_tests.faults.engines import engine


@pytest.fixture(autouse=True, scope="session")
def _warm() -> None:
    """LiteLLM takes its time for the first call, and the first stream, of a process."""
    with FaultServer() as running:
        for small in (engine(running, arm="small:3"), engine(running, "small", arm="small:1")):
            small.complete("hi")
            list(small.stream("hi"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_DELAY", 0.001)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
