"""What answers in LiteLLM's place, for a pool member that brings its own client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ModelClient(Protocol):
    """Asks one model.

    Failures are raised. One with an HTTP `status_code`, a `TimeoutError` or a broken connection
    is tried again as LiteLLM's are.
    """

    async def acompletion(
        self, *, messages: Sequence[Mapping[str, Any]], stream: bool = False, **params: Any
    ) -> Any:
        """Answer as `litellm.acompletion` does.

        Args:
            messages: Chat messages in OpenAI format; its own copy.
            stream: Whether pieces are wanted.
            **params: OpenAI's parameters (temperature, tools, seed ...), those of the pool's
                `params`, and `timeout` in seconds.

        Returns:
            A `litellm.ModelResponse`, or with `stream` an async generator of
            `litellm.ModelResponseStream` whose last piece has the usage.
        """
        ...
