"""The command line: thin commands over the library."""

from __future__ import annotations

import os

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
    from bestroute.cli.app import run

    run()
