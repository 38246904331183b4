"""What holds for every model that may be asked, in tokens."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.constants import DEFAULT_NUM_OUTPUTS

from bestroute import catalog
from bestroute.pool import PooledModel

_UNKNOWN_WINDOW = 8192
_LONGEST = ("max_completion_tokens", "max_tokens")


def smallest_window(models: Sequence[PooledModel]) -> int:
    """The smallest context window; an unknown one is taken as 8192."""
    return min(catalog.context_window(each) or _UNKNOWN_WINDOW for each in models)


def longest_answer(models: Sequence[PooledModel]) -> int:
    """The longest answer that the pool allows a model."""
    return max(map(_longest, models))


def _longest(member: PooledModel) -> int:
    known = (member.params.get(name) for name in _LONGEST)
    return next((each for each in known if isinstance(each, int)), DEFAULT_NUM_OUTPUTS)
