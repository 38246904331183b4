"""What LiteLLM's proxy imports in every worker: routers by name, and headers that tell."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from bestroute.engine import BestRoute
from bestroute.errors import ConfigError, UnknownModelError
from bestroute.options import Options
from bestroute.provider import NAME, BestRouteProvider
from bestroute.serving.config import VARIABLE, Served

_FORWARDED = "llm_provider-"
"""What LiteLLM puts before headers of providers."""

_NOT_FOR_CALLERS = frozenset({"model", "extra_headers", "extra_body", "cached_tokens"})
_ALLOWED = (Options.__annotations__.keys() - _NOT_FOR_CALLERS) | {"service_tier", "store"}


class ServedProvider(BestRouteProvider):
    """Answers for the named routers alone: callers say neither files, nor addresses, nor keys.

    Args:
        served: The routers.
    """

    def __init__(self, served: Sequence[Served]) -> None:
        super().__init__()
        for each in served:
            self.use(each.name, each.engine())

    def engine(self, model: str, *, pool: Any = None, revision: str | None = None) -> BestRoute:
        """The router of that name.

        Raises:
            ConfigError: The caller names a pool or a revision.
            UnknownModelError: No router has that name.
        """
        if pool is not None or revision is not None:
            raise ConfigError("this server does not take pool or revision from callers")
        try:
            return self._engines[model, "", ""]
        except KeyError:
            known = ", ".join(name for name, _, _ in self._engines)
            raise UnknownModelError(f"no router {model!r} here; there is {known}") from None

    def _asked(self, model: str, given: Mapping[str, Any]) -> tuple[BestRoute, Options]:
        engine, options = super()._asked(model, given)
        options.pop("extra_headers", None)  # the proxy's own
        if refused := sorted(options.keys() - _ALLOWED):
            raise ConfigError(f"this server does not take {refused[0]!r} from callers")
        return engine, options


class DecisionHeaders(CustomLogger):  # type: ignore[misc]
    """Tells what was decided in `x-bestroute-*` headers; a stream tells it in its last chunk."""

    async def async_post_call_response_headers_hook(
        self, data: Any, user_api_key_dict: Any, response: Any, **context: Any
    ) -> dict[str, str] | None:
        """The headers that the provider left with the response."""
        hidden = getattr(response, "_hidden_params", None) or {}
        left = hidden.get("additional_headers") or {}
        bare = {name.removeprefix(_FORWARDED): str(value) for name, value in left.items()}
        return {name: value for name, value in bare.items() if name.startswith(f"x-{NAME}-")}


provider = ServedProvider(
    [Served.model_validate(each) for each in json.loads(os.environ.get(VARIABLE, "[]"))]
)
decision_headers = DecisionHeaders()
