"""The command line: thin commands over the library."""

from __future__ import annotations

import os
import sys

from bestroute._extras import require


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
        sys.exit(130)
