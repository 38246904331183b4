"""`python -m bestroute`: the command line."""

from __future__ import annotations

from bestroute.cli import main

main()
