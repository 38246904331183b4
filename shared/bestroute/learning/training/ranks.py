"""Which of the processes that `torchrun` or `accelerate launch` started this one is."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether it is the one that saves and reports: all of them hold the same result."""
    return os.environ.get("RANK", "0") == "0"
