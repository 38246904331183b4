"""Identity of the routed request that is running: nothing of it goes over the wire."""

from __future__ import annotations

import math
from contextvars import ContextVar

drawn_so_far: ContextVar[dict[str, int] | None] = ContextVar("drawn_so_far", default=None)
"""How many recorded samples this routed request took, by recording key; `None` outside one."""

cached_from: ContextVar[float] = ContextVar("cached_from", default=math.inf)
"""Prompt tokens from which the recorded provider reads from its cache; inf in a first wave."""

recorded_before: ContextVar[int] = ContextVar("recorded_before", default=0)
"""How many samples of the same recording were taken before, outside a routed request."""
