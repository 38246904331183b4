"""`bestroute serve`: a router as an OpenAI-compatible server, by LiteLLM's proxy."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from bestroute._config import read_yaml
from bestroute._extras import require
from bestroute.cli.options import write_json
from bestroute.errors import ConfigError
from bestroute.serving.config import VARIABLE, Served, proxy_config

KEY = "LITELLM_MASTER_KEY"


def serve(
    router: Annotated[
        str | None, typer.Argument(help="Saved router: directory or hub id. [default: pool alone]")
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="Model pool (YAML).")] = None,
    name: Annotated[str, typer.Option(help="What clients call the model.")] = "bestroute",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 4000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    config: Annotated[
        Path | None, typer.Option(help="Config of LiteLLM's proxy to add the router to.")
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Also write name and URL here, at the start; `-` is stdout."),
    ] = None,
) -> None:
    """Serve chat completions in OpenAI's form; x-bestroute-* headers tell the decision.

    Clients may send threshold, max_drop, max_n and the like in the request's body. On any address
    but this machine's own a key is required: set LITELLM_MASTER_KEY.

    Example: bestroute serve router/ --pool pool.yaml --port 4000
    """
    require("fastapi", feature="bestroute serve", extra="serve")
    if not _is_loopback(host) and not os.environ.get(KEY):
        raise ConfigError(
            f"whoever reaches {host} could spend your money: set {KEY} (clients send it as their "
            "API key), or listen on 127.0.0.1"
        )
    served = Served(name=name, router=router, pool=None if pool is None else str(pool.resolve()))
    served.engine()  # what is wrong with it is told here, not by a worker
    base = read_yaml(config)[1] if config is not None else {}
    base = {**base, "general_settings": _access() | dict(base.get("general_settings") or {})}
    os.environ[VARIABLE] = json.dumps([served.model_dump()])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(proxy_config(served, base)), encoding="utf-8")
        url = f"http://{host}:{port}/v1"
        write_json(json_path, {"name": name, "url": url, "workers": workers})
        if str(json_path) == "-":  # nothing else there: the server's words go to stderr
            sys.stdout.flush()
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        Console().print(f"{name} on {url} ({workers} workers)")
        from litellm import run_server

        options = ["--host", host, "--port", str(port), "--num_workers", str(workers)]
        run_server(["--config", str(path), *options], standalone_mode=False)


def _access() -> dict[str, object]:
    """Who may ask: holders of the key; without one, whoever is on this machine."""
    if os.environ.get(KEY):
        return {"master_key": f"os.environ/{KEY}"}
    return {"dangerously_permit_weak_or_unset_master_key": True}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
