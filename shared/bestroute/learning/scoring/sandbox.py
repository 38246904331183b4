"""Run a function that a model wrote, in a separate process with tight limits.

The process (`_sandboxed.py`) never learns the expected values, so it cannot forge a verdict.

The limits (CPU, memory, file size, processes, time, an audit hook against writing files, starting
processes and opening sockets) stop accidents and crude mischief. They are not a jail: score code
that is out to harm you inside a container.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CHILD = Path(__file__).with_name("_sandboxed.py")


def call_function(
    code: str, function: str, calls: Sequence[Sequence[Any]], *, wall_seconds: float = 10.0
) -> list[Any] | None:
    """Define a function from source text and call it, out of process.

    Args:
        code: Python source that defines the function.
        function: The function's name.
        calls: Positional arguments of each call, as JSON values.
        wall_seconds: Time after which the process is killed.

    Returns:
        What each call returned, or None if any failed, hung or returned something not JSON.

    Raises:
        NotImplementedError: On systems without POSIX resource limits.
    """
    if os.name != "posix":
        raise NotImplementedError("running generated code needs POSIX resource limits")
    payload = json.dumps({"code": code, "function": function, "calls": calls})
    # A file, not a pipe: the limit on file size then also bounds what the child can print.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            process.communicate(payload.encode("utf-8", "replace"), timeout=wall_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill_group(process)
        output.seek(0)
        return _decode(output.read()) if process.returncode == 0 else None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # takes children along, if any got through
    except ProcessLookupError:
        pass  # everything has ended by itself
    process.wait()


def _decode(output: bytes) -> list[Any] | None:
    try:
        values = json.loads(output)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, list) else None
