"""What answers in LiteLLM's place, for a pool member that brings its own client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable


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


class Alike:
    """A client that is told from others by its repr: two that ask alike are equal."""

    def __eq__(self, other: object) -> bool:
        """Whether the other asks alike."""
        return type(other) is type(self) and repr(self) == repr(other)

    def __hash__(self) -> int:
        """By what it asks."""
        return hash(repr(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: it does not change, and what it asks holds connections."""
        return self


def piece(choice: Mapping[str, Any], **fields: Any) -> Any:
    """A `litellm.ModelResponseStream` of a stream with one choice."""
    from litellm import ModelResponseStream

    return ModelResponseStream(choices=[{"index": 0, **choice}], **fields)


def reported(
    *, prompt_tokens: int, completion_tokens: int, cached_tokens: int, reasoning_tokens: int
) -> dict[str, Any]:
    """Tokens as a field of LiteLLM's responses; see `Usage` in `bestroute.samples`."""
    from litellm import Usage

    usage = Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details={"cached_tokens": cached_tokens},
        completion_tokens_details={"reasoning_tokens": reasoning_tokens},
    )
    return {"usage": usage}


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
