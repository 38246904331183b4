"""The sampling parameters that a router's labels were made with, and calls that differ."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bestroute.calls import settings
from bestroute.pool import PooledModel
from bestroute.query import Request

_log = logging.getLogger(__name__)


class LabelSampling:
    """Warns once a model of calls that differ: the router's word is about other samples then.

    Args:
        params: LiteLLM parameters by model.
    """

    def __init__(self, params: Mapping[str, Mapping[str, Any]]) -> None:
        self.params = {name: dict(each) for name, each in params.items()}
        self._warned: set[str] = set()

    def check(self, request: Request, member: PooledModel) -> None:
        """Compare what a model is about to be sent with what its labels were made with."""
        made_with = self.params.get(member.name)
        if not made_with or member.name in self._warned:
            return
        called_with = settings(request, member)
        differs = {key: v for key, v in made_with.items() if called_with.get(key) != v}
        if differs:
            self._warned.add(member.name)
            _log.warning(
                "%s is called with %s; the router's labels were made with %s",
                member.name,
                {key: called_with.get(key) for key in differs},
                differs,
            )
