"""The one place that imports LiteLLM: late, and off the event loop."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


def litellm() -> Any:
    """The LiteLLM module; the first call takes seconds."""
    return importlib.import_module("litellm")


async def load_litellm() -> Any:
    """The LiteLLM module, imported in a worker thread if this is the first use."""
    if "litellm" in sys.modules and hasattr(sys.modules["litellm"], "acompletion"):
        return sys.modules["litellm"]
    return await asyncio.to_thread(litellm)
