"""ChatBestRoute in LangChain's own integration suite, for three kinds of pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.langchain_suite import BIG, SMALL, BestRouteSuite
from tests.small_router import routed

CASSETTES = Path(__file__).parents[2] / "cassettes" / "langchain_standard"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return routed({"models": [SMALL, BIG]}).save_pretrained(tmp_path_factory.mktemp("router"))


class Recorded(BestRouteSuite):
    @pytest.fixture
    def vcr_cassette_dir(self) -> str:
        return str(CASSETTES)


class TestCascade(Recorded):
    """Three samples of a small model; where they differ, the big one."""


class TestOneModel(Recorded):
    """One sample of one model, which streams as it comes."""

    members = (BIG,)


class TestRouter(Recorded):
    """A saved router."""

    artifact: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def _saved(self, artifact: Path, request: pytest.FixtureRequest) -> None:
        request.cls.artifact = artifact

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "artifact": self.artifact}


def test_the_cassettes_hold_nothing_of_the_machine_that_made_them() -> None:
    cassettes = list(CASSETTES.glob("*.yaml"))
    assert len(cassettes) == 3
    for cassette in cassettes:
        text = cassette.read_text().lower()
        assert "chat.test" in text
        for never in ("authorization", "bearer", "user-agent", "127.0.0.1", "localhost", "date:"):
            assert never not in text
