"""What is served, and the config of LiteLLM's proxy that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from bestroute.engine import BestRoute
from bestroute.errors import ConfigError

VARIABLE = "BESTROUTE_SERVED"
"""The environment variable that tells every worker what is served, as JSON."""

PROVIDER = "bestroute"

_HANDLERS = "bestroute.serving.handlers"


class Served(BaseModel):
    """One router under one name.

    Attributes:
        name: What clients call the model.
        router: Directory or hub id of the saved router; `None` for a pool alone.
        pool: YAML file of the model pool.
        revision: Of the router on the hub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    router: str | None = None
    pool: str | None = None
    revision: str | None = None

    def engine(self) -> BestRoute:
        """Build it.

        Raises:
            ConfigError: There is neither a router nor a pool, or the pool cannot be read.
            ArtifactError: The router cannot be read.
        """
        if self.router is not None:
            return BestRoute.from_pretrained(self.router, pool=self.pool, revision=self.revision)
        if self.pool is None:
            raise ConfigError("nothing to serve: give a saved router, or --pool")
        return BestRoute(self.pool)


def proxy_config(served: Served, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A config of LiteLLM's proxy that serves a router.

    Args:
        served: The router.
        base: A config to add it to; what that says stands.
    """
    config = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in (base or {}).items()
    }
    settings = config.setdefault("litellm_settings", {})
    entry = {"provider": PROVIDER, "custom_handler": f"{_HANDLERS}.provider"}
    settings["custom_provider_map"] = [*settings.get("custom_provider_map", ()), entry]
    settings["callbacks"] = [
        *settings.get("callbacks", ("prometheus",)),
        f"{_HANDLERS}.decision_headers",
    ]
    config["model_list"] = [
        *config.get("model_list", ()),
        {"model_name": served.name, "litellm_params": {"model": f"{PROVIDER}/{served.name}"}},
    ]
    # The router has tried what there is: the proxy would only pay for it again.
    once = {"num_retries": 0, "disable_cooldowns": True}
    config["router_settings"] = {**once, **config.get("router_settings", {})}
    return config
