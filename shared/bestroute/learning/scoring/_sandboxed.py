"""The sandbox's child: started as a script, it limits itself, then runs a model's code.

It reads the code and the calls from standard input and writes what the calls returned. It imports
as little as possible, so that what the guard forbids is not already loaded.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

_LIMITS = {
    resource.RLIMIT_CPU: 2,
    resource.RLIMIT_AS: 512 * 2**20,
    resource.RLIMIT_FSIZE: 2**20,
    resource.RLIMIT_NPROC: 0,  # a superuser is exempt; the guard is not
    resource.RLIMIT_CORE: 0,
}
_HARMLESS = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk"})  # import needs these
_FORBIDDEN = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "resource.", "pty.")
_FORBIDDEN_IMPORTS = frozenset({"ctypes", "_ctypes", "_posixsubprocess", "_socket"})


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: refuse what a pure function has no need of."""
    writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    loads = event == "import" and arguments[0] in _FORBIDDEN_IMPORTS
    if writes or loads or (event.startswith(_FORBIDDEN) and event not in _HARMLESS):
        raise PermissionError(f"{event} is not allowed here")


def _main() -> None:
    payload = json.load(sys.stdin)
    sys.stdout = open(os.devnull, "w")
    for limit, value in _LIMITS.items():
        resource.setrlimit(limit, (value, value))
    sys.addaudithook(_guard)
    namespace: dict[str, Any] = {"__name__": "solution"}
    exec(compile(payload["code"], "solution", "exec"), namespace)
    function = namespace[payload["function"]]
    values = [function(*arguments) for arguments in payload["calls"]]
    assert sys.__stdout__ is not None
    sys.__stdout__.write(json.dumps(values))


if __name__ == "__main__":
    _main()
