"""The command line: thin commands over the library."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from bestroute._extras import require

_INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it."""


def main() -> None:
    """Run `bestroute`.

    Raises:
        MissingExtraError: The `cli` extra is not installed.
    """
    # Without it, importing LiteLLM asks the network for prices; a user's own word stands.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    require("typer", feature="The command line", extra="cli")
    require("rich", feature="The command line", extra="cli")
    try:
        from bestroute.cli.app import run  # takes a second, in which Ctrl-C may come

        run()
    except KeyboardInterrupt:
        _leave()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            _leave()
        raise


def _leave() -> NoReturn:
    """End at once: a thread that is cut short in an import makes Python's own end wait forever."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_INTERRUPTED)
