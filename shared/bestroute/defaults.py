"""The options of every call, as fields of a framework's model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from bestroute.errors import ConfigError
from bestroute.pool import ModelPool
from bestroute.target import OnUncertified, override


class CallDefaults(BaseModel):
    """What holds for every call that does not say otherwise.

    Attributes:
        threshold: Smallest match probability that qualifies an arm; lower is cheaper.
        max_drop: Instead, the largest relative quality drop against always-reference that
            calibration promises.
        target_cost: Instead, $ for 1,000 queries, as measured in calibration.
        confidence: Of `max_drop`, by default 0.95.
        on_uncertified: Whether a `max_drop` that is not certified raises (the default), or
            always asks the reference.
        models: Names in the pool: requests are routed among these alone.
        cached_tokens: By model, how many tokens of the prompt its provider still holds in its
            prompt cache.
        max_n: Largest number of samples of one model.
        streaming_max_n: The same, where the answer is streamed: one sample streams as it comes,
            of several the best comes in one piece.
        max_cost: $ that one request may cost at most, escalation included.
        query_turns: How many of the last user turns the router reads, by default one.
        query_pattern: Regular expression that finds the query in them, such as
            `Question: (.*)` where a prompt is stuffed with context.
        temperature: Sampling temperature, instead of the pool's; 0 means one sample.
        max_tokens: Longest answer, instead of the pool's.
        timeout: Seconds for a whole routed call.
    """

    threshold: float | None = None
    max_drop: float | None = None
    target_cost: float | None = None
    confidence: float | None = None
    on_uncertified: OnUncertified | None = None
    models: tuple[str, ...] | None = None
    cached_tokens: dict[str, int] | None = None
    max_n: int | None = Field(default=None, ge=1)
    streaming_max_n: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, ge=0)
    query_turns: int | None = Field(default=None, ge=1)
    query_pattern: str | None = None
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0)

    def check_against(self, pool: ModelPool) -> None:
        """Refuse what no call could use: names that are not in the pool, a broken pattern.

        Raises:
            UnknownModelError: A name is not in the pool.
            ConfigError: `query_pattern` is no regular expression.
        """
        for name in (*(self.models or ()), *(self.cached_tokens or {})):
            pool[name]
        try:
            re.compile(self.query_pattern or "")
        except re.error as error:
            raise ConfigError(
                f"query_pattern {self.query_pattern!r} is no regular expression: {error}"
            ) from error

    def options_of(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a call: its own win over the fields, `None` is as good as left out."""
        own = {name: getattr(self, name) for name in CallDefaults.model_fields}
        options = override(own, call)
        return {name: value for name, value in options.items() if value is not None}
