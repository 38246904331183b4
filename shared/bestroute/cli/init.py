"""`bestroute init`: a pool file to start from, and a schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bestroute.cli.console import console_of
from bestroute.cli.options import JsonPath, write_json
from bestroute.cli.pool_schema import pool_schema
from bestroute.errors import ConfigError
from bestroute.pool import ModelPool

SCHEMA = "pool.schema.json"

_POOL = """\
# yaml-language-server: $schema=./{schema}
# The model pool: who may answer, and at what price.
# `bestroute route "a question" --pool {name}` shows what it decides.
models:
  - name: small # what decisions and tables call it
    model: {small} # any LiteLLM id: openai/..., anthropic/..., ollama/..., hosted_vllm/...
    max_samples: 5 # it may be asked up to so often; the best of these answers is given
    params:
      temperature: 0.8 # at 0 all samples would be the same
      # api_key: os.environ/OPENAI_API_KEY # read at call time; by default LiteLLM looks for it
      # api_base: http://localhost:8000/v1 # a server of your own
    # price: {{input: 0.15, output: 0.60}} # $ per 1M tokens; by default LiteLLM's price map
    # native_n: true # whether one call may ask for several answers; by default LiteLLM is asked
    # max_output_tokens: 4096 # where the provider ends an answer; by default LiteLLM is asked

  - name: big
    model: {big}
    reference: true # exactly one: what the others are measured against
"""


def init(
    pool: Annotated[Path, typer.Argument(help="File to write.")] = Path("pool.yaml"),
    small: Annotated[str, typer.Option(help="LiteLLM id of the cheap model.")] = (
        "openai/gpt-4o-mini"
    ),
    big: Annotated[str, typer.Option(help="LiteLLM id of the reference model.")] = "openai/gpt-4o",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
    json_path: JsonPath = None,
) -> None:
    """Write a commented model pool, and beside it a JSON schema for editors.

    Example: bestroute init pool.yaml --small groq/llama-3.1-8b-instant --big openai/gpt-4o
    """
    schema = pool.with_name(SCHEMA)
    for path in (pool, schema):
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already: give another name, or --force")
    text = _POOL.format(schema=SCHEMA, name=pool.name, small=small, big=big)
    models = ModelPool.from_yaml(text)
    pool.parent.mkdir(parents=True, exist_ok=True)
    pool.write_text(text, encoding="utf-8")
    schema.write_text(json.dumps(pool_schema(), indent=2) + "\n", encoding="utf-8")
    write_json(json_path, {"pool": str(pool), "schema": str(schema)})
    arms = ", ".join(str(arm) for arm in models.arms)
    console_of(json_path).print(f"Wrote {pool} (arms {arms}) and {schema}.", highlight=False)
