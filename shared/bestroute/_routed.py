"""Identity of the routed request that is running: nothing of it goes over the wire."""

from __future__ import annotations

from contextvars import ContextVar

drawn_so_far: ContextVar[dict[str, int] | None] = ContextVar("drawn_so_far", default=None)
"""How many recorded samples this routed request took, by recording key; `None` outside one."""

asked_before: ContextVar[bool] = ContextVar("asked_before", default=False)
"""Whether an earlier wave of this routed request brought samples of the model."""

recorded_before: ContextVar[int] = ContextVar("recorded_before", default=0)
"""How many samples of the same recording were taken before, outside a routed request."""
