"""The one place that imports LiteLLM: late, and off the event loop; its connections end with it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

_ends: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
"""What still waits for the end of each loop that LiteLLM was asked in."""


@cache
def litellm() -> Any:
    """The LiteLLM module; the first call takes seconds.

    It prints advice to stdout whenever a call fails, and has but one switch for that, a global one:
    it is thrown only if nobody else has imported it before.
    """
    is_ours = "litellm" not in sys.modules
    module: Any = importlib.import_module("litellm")
    if is_ours:
        module.suppress_debug_info = True
    return module


async def load_litellm() -> Any:
    """The LiteLLM module, imported in a worker thread if this is the first use.

    It keeps clients for each event loop, and would leave their connections open when the loop
    has ended: those of the running loop will be closed.
    """
    module = litellm() if litellm.cache_info().currsize else await asyncio.to_thread(litellm)
    loop = asyncio.get_running_loop()
    _let_go(loop)
    if loop not in _ends:
        for gone in [each for each in list(_ends) if each.is_closed()]:
            _ends.pop(gone, None)  # closed without an end
        _ends[loop] = _end_of(loop)
        await anext(_ends[loop])
    return module


def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    """LiteLLM's one logging worker moves to the loop that asks, and forgets its task elsewhere.

    What is forgotten is no mistake of the user's: it goes without a complaint.
    """
    worker = sys.modules.get("litellm.litellm_core_utils.logging_worker")
    task = getattr(getattr(worker, "GLOBAL_LOGGING_WORKER", None), "_worker_task", None)
    if task is not None and task.get_loop() is not loop:
        task._log_destroy_pending = False  # as asyncio.gather does


async def _end_of(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
    """Begun in a loop, it is closed with it, as all async generators are."""
    try:
        yield
    finally:
        _ends.pop(loop, None)
        module = litellm()
        clients = module.in_memory_llm_clients_cache
        own = clients.update_cache_key_with_event_loop("")
        for key in [each for each in list(clients.cache_dict) if each.endswith(own)]:
            client = clients.cache_dict.get(key)
            clients.delete_cache(key)
            if getattr(client, "_client", client) is not module.aclient_session:  # the user's own
                await _close(client)


async def _close(client: Any) -> None:
    close = getattr(client, "aclose", None) or getattr(client, "close", None)
    if inspect.iscoroutinefunction(close):
        await close()
