"""What happens in the engine, as child runs of the model's run.

They are of the chain type and hold plain data, no texts: handlers that count the tokens of
models, or show what a model writes, hear of the answer alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.callbacks.base import BaseCallbackManager

from bestroute import Decision
from bestroute.errors import SamplingError
from bestroute.events import Decided, Drawing, Drew, Event, Selected
from bestroute.samples import Call, Sample, causes, total_cost, total_usage
from langchain_bestroute._doors import ParentLike

_TAG = "nostream"
_LEFT = SamplingError("the stream was left")


@dataclass(frozen=True)
class Begin:
    """A child run begins."""

    key: Hashable
    name: str
    inputs: dict[str, Any]


@dataclass(frozen=True)
class End:
    """A child run ends, well or with an error."""

    key: Hashable
    outputs: dict[str, Any]
    error: SamplingError | None = None


Change = Begin | End


def changes(event: object) -> Iterator[Change]:
    """The child runs that begin and end with an event of the engine."""
    if isinstance(event, Decided):
        yield Begin("route", "bestroute.route", {})
        yield End("route", plain_decision(event.decision))
    elif isinstance(event, Drawing):
        for sample in range(event.n):
            yield _candidate(event, sample, event.reason)
    elif isinstance(event, Drew):
        yield from _drew(event)
    elif isinstance(event, Selected):
        models = [each.model for each in event.samples]
        yield Begin("select", "bestroute.select", {"models": models})
        yield End("select", _selection(event))


def plain_decision(decision: Decision) -> dict[str, Any]:
    """A decision as a trace holds it."""
    return {**decision.model_dump(mode="json"), "arm": str(decision.arm)}


def _candidate(event: Drawing | Drew, sample: int, reason: str) -> Begin:
    inputs = {"model": event.model, "sample": sample, "reason": reason}
    return Begin((event.index, sample), "bestroute.candidate", inputs)


def _drew(event: Drew) -> Iterator[Change]:
    for index, sample in enumerate(event.samples):
        if index >= event.asked:
            yield _candidate(event, index, "more than asked for")
        yield End((event.index, index), _facts(sample))
    why = causes(event.calls)
    for index in range(len(event.samples), event.asked):
        error = SamplingError(f"no sample came ({why})", calls=event.calls)
        yield End((event.index, index), {}, error)


def _facts(sample: Sample) -> dict[str, Any]:
    usage = {
        "input_tokens": sample.prompt_tokens,
        "output_tokens": sample.completion_tokens,
        "total_tokens": sample.prompt_tokens + sample.completion_tokens,
    }
    return {
        "model": sample.model,
        "finish_reason": sample.finish_reason,
        "usage": usage,
        "cost": sample.cost,
    }


def _selection(event: Selected) -> dict[str, Any]:
    return {
        "winner": event.winner,
        "scores": [sample.score for sample in event.samples],
        "invalid": {str(index): why for index, why in event.invalid.items()},
        **_paid(event.calls),
    }


def _paid(calls: Sequence[Call]) -> dict[str, Any]:
    """What a reward model that asks a provider was paid."""
    if not calls:
        return {}
    return {"usage": total_usage(calls).model_dump(), "cost": total_cost(calls)}


class Trace:
    """Child runs of one sync run.

    Args:
        run: The run; without handlers that children inherit, nothing is done.
    """

    def __init__(self, run: ParentLike | None) -> None:
        self._children = _children(CallbackManager, run)
        self._open: dict[Hashable, Any] = {}

    def see(self, event: Event | object) -> None:
        """Begin and end the runs that belong to an event."""
        for change in changes(event) if self._children else ():
            if isinstance(change, Begin):
                self._open[change.key] = self._children.on_chain_start(
                    None, change.inputs, name=change.name
                )
            elif change.error is None:
                self._open.pop(change.key).on_chain_end(change.outputs)
            else:
                self._open.pop(change.key).on_chain_error(change.error)

    def __enter__(self) -> Trace:
        """The trace of one request."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End what is still open."""
        while self._open:
            self._open.popitem()[1].on_chain_error(error or _LEFT)


class AsyncTrace:
    """Child runs of one async run; see `Trace`."""

    def __init__(self, run: ParentLike | None) -> None:
        self._children = _children(AsyncCallbackManager, run)
        self._open: dict[Hashable, Any] = {}

    async def see(self, event: Event | object) -> None:
        """Begin and end the runs that belong to an event."""
        for change in changes(event) if self._children else ():
            if isinstance(change, Begin):
                self._open[change.key] = await self._children.on_chain_start(
                    None, change.inputs, name=change.name
                )
            elif change.error is None:
                await self._open.pop(change.key).on_chain_end(change.outputs)
            else:
                await self._open.pop(change.key).on_chain_error(change.error)

    async def __aenter__(self) -> AsyncTrace:
        """The trace of one request."""
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End what is still open."""
        while self._open:
            await self._open.popitem()[1].on_chain_error(error or _LEFT)


def _children(kind: type[BaseCallbackManager], run: ParentLike | None) -> Any:
    """The manager of a model run's children, which LangChain offers to chains only.

    What its metadata says of a model (`ls_provider` ...) is not said of them.
    """
    if run is None or not run.inheritable_handlers:
        return None
    children = kind(handlers=[], parent_run_id=run.run_id)
    children.set_handlers(list(run.inheritable_handlers))
    children.add_tags(list(run.inheritable_tags))
    children.add_tags([_TAG])
    inherited = run.inheritable_metadata.items()
    children.add_metadata({key: each for key, each in inherited if not key.startswith("ls_")})
    return children
