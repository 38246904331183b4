"""`bestroute route`: one decision, explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from bestroute import BestRoute
from bestroute.cli.app import app
from bestroute.errors import ConfigError, NoEligibleArmError, RouterNotTrained
from tests.small_router import EASY, HARD, routed
from tests.unit_tests.test_explanation import POOL


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return routed(POOL).save_pretrained(tmp_path_factory.mktemp("route") / "router")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(POOL), encoding="utf-8")
    return tmp_path / "pool.yaml"


def invoke(*options: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["route", *map(str, options)], input=stdin)


def test_the_table_is_the_engine_s_decision(router: Path, tmp_path: Path) -> None:
    done = invoke(HARD[0], "--router", router, "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out.json").read_text())
    decision = BestRoute.from_pretrained(router).route(HARD[0])
    assert found["decision"] == decision.model_dump(mode="json")
    assert found["query"] == HARD[0]
    for row in found["arms"]:
        name = ":".join(map(str, row["arm"]))
        line = next(line for line in done.output.splitlines() if f"│ {name}" in line)
        assert f"{row['match_probability']:.3f}" in line
        assert row["verdict"] in line
    assert "no cheaper arm reaches the threshold" in done.output


def test_one_number_moves_the_choice(router: Path) -> None:
    def chosen(*options: object) -> list[str]:
        done = invoke(HARD[0], "--router", router, "--json", "-", *options)
        arms: list[str] = json.loads(done.stdout)["decision"]["arm"]
        return arms

    assert chosen()[0] == "openai/big"
    assert chosen("--threshold", 0.2)[0] == "openai/small"
    assert chosen("--threshold", 0.2, "--max-n", 1) == ["openai/small", 1]


def test_a_pool_alone_and_a_query_from_stdin(pool: Path) -> None:
    done = invoke("-", "--pool", pool, "--json", "-", stdin=EASY[0])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)  # and nothing else
    assert found["query"] == EASY[0]
    assert found["decision"]["policy"] == "cascade"


def test_errors_are_clear(router: Path, pool: Path) -> None:
    assert isinstance(invoke(EASY[0]).exception, ConfigError)
    assert isinstance(
        invoke(EASY[0], "--pool", pool, "--threshold", 0.5).exception, RouterNotTrained
    )
    dear = invoke(EASY[0], "--router", router, "--max-cost", 0)
    assert isinstance(dear.exception, NoEligibleArmError)
    assert invoke("--router", router).exit_code == 2


def test_help_has_an_example() -> None:
    assert "bestroute route " in invoke("--help").output
