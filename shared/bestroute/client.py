"""What answers in LiteLLM's place, for a pool member that brings its own client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def with_clients(
    pool: Any,
    kind: type,
    client: Callable[[Any], Any],
    described: Callable[[Any], Mapping[str, Any]],
) -> Any:
    """A pool in plain data whose members may be models of a framework, each with its client.

    They stand in a member's `model` or `client`. What the pool says of a member wins over what
    its model says of itself.

    Args:
        pool: A pool; in another form than plain data it stays as it is.
        kind: Class of the framework's models.
        client: Makes the client of one; the client's `own` are parameters that the model has.
        described: LiteLLM's id of a model, and whatever else it says of itself.
    """
    models = pool.get("models") if isinstance(pool, Mapping) else None
    if not isinstance(models, list | tuple):
        return pool

    def member(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        given = dict(entry)
        if isinstance(given.get("model"), kind):
            given["client"] = given.pop("model")
        model = given.get("client")
        if not isinstance(model, kind):
            return entry
        asked = client(model)
        params = {**asked.own, **(given.get("params") or {})}
        return {**described(model), **given, "client": asked, "params": params}

    return {**pool, "models": [member(each) for each in models]}
