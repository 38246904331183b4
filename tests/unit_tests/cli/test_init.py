"""`bestroute init`: a pool that works, and a schema that says what editors need."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from bestroute import BestRoute, ModelPool
from bestroute.cli.app import app
from bestroute.errors import ConfigError

RUN = CliRunner()


def test_the_pool_is_read_and_the_schema_takes_it(tmp_path: Path) -> None:
    pool = tmp_path / "new" / "pool.yaml"
    done = RUN.invoke(app, ["init", str(pool), "--small", "groq/llama-3.1-8b-instant"])
    assert done.exit_code == 0, done.output
    models = ModelPool.from_yaml(pool)
    assert [member.model for member in models.models] == [
        "groq/llama-3.1-8b-instant",
        "openai/gpt-4o",
    ]
    assert BestRoute(models).route("hi").arm.model == "small"
    schema = json.loads(pool.with_name("pool.schema.json").read_text())
    data = yaml.safe_load(pool.read_text())
    jsonschema.validate(data, schema)
    member = schema["$defs"]["PooledModel"]["properties"]
    assert "client" not in member  # no file can hold one
    assert member["vision"]["description"] == member["audio"]["description"] != ""
    assert all(field["description"] for field in member.values())
    assert pool.read_text().startswith("# yaml-language-server: $schema=./pool.schema.json")
    data["models"][0]["max_sample"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_every_commented_line_may_be_used(tmp_path: Path) -> None:
    pool = tmp_path / "pool.yaml"
    assert RUN.invoke(app, ["init", str(pool)]).exit_code == 0
    head, body = pool.read_text().split("models:\n")
    used = "\n".join(
        line.replace("# ", "", 1) if line.strip().startswith("# ") else line
        for line in body.splitlines()
    )
    (member, _) = ModelPool.from_yaml(f"models:\n{used}").models
    assert member.price and member.native_n and member.max_output_tokens
    assert {"api_key", "api_base"} <= set(member.params)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text("mine")
    done = RUN.invoke(app, ["init", str(pool)])
    assert isinstance(done.exception, ConfigError) and "--force" in str(done.exception)
    assert pool.read_text() == "mine"
    assert RUN.invoke(app, ["init", str(pool), "--force"]).exit_code == 0
    assert pool.read_text() != "mine"


def test_json(tmp_path: Path) -> None:
    done = RUN.invoke(app, ["init", str(tmp_path / "p.yaml"), "--json", "-"])
    assert json.loads(done.stdout)["pool"].endswith("p.yaml")
