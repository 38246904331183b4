"""The one place that imports LiteLLM: late, and off the event loop."""

from __future__ import annotations

import asyncio
import importlib
from functools import cache
from typing import Any


@cache
def litellm() -> Any:
    """The LiteLLM module; the first call takes seconds."""
    return importlib.import_module("litellm")


async def load_litellm() -> Any:
    """The LiteLLM module, imported in a worker thread if this is the first use."""
    if litellm.cache_info().currsize:
        return litellm()
    return await asyncio.to_thread(litellm)
