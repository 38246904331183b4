"""What a policy that looks at samples did in a replay: how often it stopped where, and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bestroute.policy import Accept, Draw, Policy, State
from bestroute.policy.evidence import Evidence
from bestroute.trace import Step, plain_evidence

Way = Literal["accept", "more", "other", "reference"]
"""After a wave: accept, draw more of the same model, try another one, or ask the reference."""

WAYS: tuple[Way, ...] = ("accept", "more", "other", "reference")

_KEPT = 20


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Fork(_Result):
    """Where requests went after so many waves.

    Attributes:
        waves: Waves drawn so far; 0 is the decision from the query alone.
        reached: Share of all requests that came here.
        ways: Share of all requests that went each way from here; they add up to `reached`.
    """

    waves: int
    reached: float
    ways: dict[Way, float]


class Example(_Result):
    """One request of the replay.

    Attributes:
        query: What was asked.
        share: Share of all requests that took the same way.
        trace: Its moves.
        cost: $ in all.
    """

    query: str
    share: float
    trace: tuple[Step, ...]
    cost: float


class Paths(_Result):
    """The ways that requests took.

    Attributes:
        policy: Name of the policy.
        requests: Queries x orders replayed.
        forks: Wave by wave.
        examples: The commonest ways, one request of each, where examples were asked for.
    """

    policy: str
    requests: int
    forks: tuple[Fork, ...]
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """A move, and what the policy saw when it made it."""

    way: Way
    move: tuple[Draw, ...] | Accept
    evidence: dict[str, Evidence]
    spent: float
    elapsed: float


class Watched:
    """A policy, and a note of what it does in `Replay.play`.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.name, self.needs_router = policy.name, policy.needs_router
        self.calibrated = policy.calibrated
        self._run: list[_Seen] = []
        self._ways: Counter[tuple[Way, ...]] = Counter()
        self._kept: dict[tuple[Way, ...], dict[str, list[_Seen]]] = {}

    def __getattr__(self, name: str) -> Any:
        """What else the policy says of itself."""
        return getattr(self._policy, name)

    def next(self, state: State) -> tuple[Draw, ...] | Accept:
        """The policy's move."""
        move = self._policy.next(state)
        seen = _Seen(_way(move, state), move, dict(state.evidence), state.spent, state.elapsed)
        # A replay asks for the first move once a query, for all orders of its samples.
        self._run = [*self._run[: state.waves], seen]
        if isinstance(move, Accept):
            self._end(state.query)
        return move

    def _end(self, query: str) -> None:
        ways = tuple(seen.way for seen in self._run)
        if "reference" in ways:  # whose answer is always accepted
            ways = ways[: ways.index("reference") + 1]
        self._ways[ways] += 1
        kept = self._kept.setdefault(ways, {})
        if len(kept) < _KEPT:
            kept.setdefault(query, self._run)

    def paths(self, *, examples: int = 0) -> Paths:
        """What it did so far.

        Args:
            examples: How many requests are told move by move.
        """
        total = self._ways.total()
        return Paths(
            policy=self.name,
            requests=total,
            forks=tuple(self._fork(waves, total) for waves in range(max(map(len, self._ways)))),
            examples=tuple(self._examples(examples, total)),
        )

    def _fork(self, waves: int, total: int) -> Fork:
        went = Counter[Way]()
        for ways, count in self._ways.items():
            if len(ways) > waves:
                went[ways[waves]] += count
        shares: dict[Way, float] = {way: went[way] / total for way in WAYS}
        return Fork(waves=waves, reached=went.total() / total, ways=shares)

    def _examples(self, count: int, total: int) -> list[Example]:
        """One request of each of the commonest ways, each of another query where it can be."""
        found: dict[str, Example] = {}
        for ways, times in self._ways.most_common(count):
            runs = self._kept[ways]
            query = next((each for each in runs if each not in found), next(iter(runs)))
            run = runs[query]
            found[query] = Example(
                query=query, share=times / total, trace=_trace(run), cost=run[-1].spent
            )
        return list(found.values())


def _way(move: tuple[Draw, ...] | Accept, state: State) -> Way:
    if isinstance(move, Accept):
        return "accept"
    if move[0].model == state.reference.model:
        return "reference"
    return "more" if move[0].model in state.samples else "other"


def _trace(run: Sequence[_Seen]) -> tuple[Step, ...]:
    """A run as the engine would tell it."""
    steps = []
    for seen, then in zip(run, run[1:], strict=False):
        assert not isinstance(seen.move, Accept)
        waited = [draw for draw in seen.move if not draw.ahead]
        for draw in seen.move:
            steps.append(
                Step.of(
                    draw,
                    received=0 if draw.ahead else draw.n,
                    seen={} if draw.ahead else plain_evidence(then.evidence[draw.model]),
                    cost=None if draw.ahead else (then.spent - seen.spent) / len(waited),
                    began=seen.elapsed,
                    ended=then.elapsed,
                )
            )
    end = run[-1]
    assert isinstance(end.move, Accept)
    steps.append(
        Step(
            move="accept",
            model=end.move.model,
            n=end.evidence[end.move.model].n if end.move.model else 0,
            reason=end.move.reason,
            match_probabilities=end.move.match_probabilities,
            began=end.elapsed,
            ended=end.elapsed,
        )
    )
    return tuple(steps)
