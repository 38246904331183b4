"""Replay: the policies that run, played on recorded samples in seeded random order.

A policy that decides once has exact sums (`outcomes`); one that looks at the samples it drew is
measured here, with the Monte Carlo error of the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bestroute.cost import CostModel
from bestroute.errors import DataError
from bestroute.learning.bestofn import NO_ANSWER, Floats
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.sample_sets import Extract, SampleSet, SampleSets
from bestroute.policy import Accept, Draw, Policy, State
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm, ModelPool
from bestroute.samples import Sample

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Replayed:
    """What a policy costs and gives, in expectation over the order of the samples.

    Attributes:
        cost: Realised cost in $ [Q].
        quality: Oracle score of the accepted sample [Q].
        error: Monte Carlo standard error of the mean quality.
    """

    cost: Floats
    quality: Floats
    error: float


@dataclass(frozen=True)
class _Recorded:
    """The N samples of one model on one query; `keys` are answer codes or proxy scores."""

    oracle: Floats
    tokens: Floats
    prompt_tokens: float
    keys: Floats
    samples: tuple[Sample, ...]


class Replay:
    """Recorded samples of the queries of one set of outcomes.

    Args:
        table: Samples table; it holds all queries of the outcomes.
        pool: The model pool.
        outcomes: Names the queries, in their order.
        agreement: Keep samples by agreement of these answers ...
        proxy: ... or else by this column.

    Raises:
        DataError: A query of the outcomes has no samples here.
    """

    def __init__(
        self,
        table: pa.Table,
        pool: ModelPool,
        outcomes: Outcomes,
        *,
        agreement: Extract | None = None,
        proxy: str = "proxy_score",
    ) -> None:
        self._pool, self._outcomes = pool, outcomes
        self._by_agreement = agreement is not None
        prices = CostModel(pool)
        self._rates = {arm: prices.rates(arm) for arm in pool.arms}
        needed = {member.name: member.max_samples for member in pool.models}
        sets = SampleSets(table, needed, agreement=agreement, proxy=proxy)
        recorded: dict[str, dict[str, _Recorded]] = {}
        for rows, models in sets:
            for place, row in enumerate(rows):
                recorded[sets.queries[row].query_id] = {
                    model: _record(model, each, place) for model, each in models.items()
                }
        absent = [each for each in outcomes.query_ids if each not in recorded]
        if absent:
            raise DataError(f"no samples of query {absent[0]!r} to replay")
        self._recorded = [recorded[query_id] for query_id in outcomes.query_ids]

    def play(
        self,
        policy: Policy,
        estimated: Floats,
        *,
        match: Floats | None = None,
        permutations: int = 100,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Replayed:
        """Ask the policy, draw, look, ask again, until it accepts; for every query and order.

        Args:
            policy: The policy.
            estimated: Estimated costs [Q, A] in $.
            match: Match probabilities [Q, A], for a policy that needs them.
            permutations: Random orders of the samples of each query, at least 2.
            seed: Of the orders: equal seeds give every policy the same ones.
            progress: Called with the number of queries done and of all queries.
        """
        arms = self._outcomes.arms
        figures = np.empty((len(self._recorded), permutations, 2))
        for row, recorded in enumerate(self._recorded):
            rng = np.random.default_rng([seed, row])
            costs = dict(zip(arms, estimated[row].tolist(), strict=True))
            matches = {} if match is None else dict(zip(arms, match[row].tolist(), strict=True))
            for turn in range(permutations):
                order = {m: rng.permutation(len(each.oracle)) for m, each in recorded.items()}
                state = State(
                    arms=arms,
                    reference=self._outcomes.reference,
                    costs=costs,
                    match=matches,
                    query=self._outcomes.queries[row],
                )
                figures[row, turn] = self._run(policy, state, recorded, order)
            if progress is not None:
                progress(row + 1, len(self._recorded))
        cost, quality = figures.mean(axis=1).T
        spread = figures[:, :, 1].var(axis=1, ddof=1).sum() / permutations
        return Replayed(cost, quality, float(np.sqrt(spread)) / len(figures))

    def _run(
        self,
        policy: Policy,
        state: State,
        recorded: dict[str, _Recorded],
        order: dict[str, NDArray[np.intp]],
    ) -> tuple[float, float]:
        """Cost in $ and oracle score of one routed request."""
        drawn: dict[str, NDArray[np.intp]] = {}
        move = policy.next(state)
        while not isinstance(move, Accept):
            state.waves += 1
            for draw in move:
                self._draw(draw, state, recorded[draw.model], order[draw.model], drawn)
            move = policy.next(state)
        model = move.model or next(iter(drawn))
        winner = self._select(recorded[model].keys[drawn[model]])
        return state.spent, float(recorded[model].oracle[drawn[model][winner]])

    def _draw(
        self,
        draw: Draw,
        state: State,
        recorded: _Recorded,
        order: NDArray[np.intp],
        drawn: dict[str, NDArray[np.intp]],
    ) -> None:
        model, seen = draw.model, len(drawn.get(draw.model, ()))
        new = order[seen : seen + draw.n]
        if len(new) < draw.n:
            raise DataError(f"{seen + draw.n} samples of {model} drawn, {len(order)} recorded")
        per_prompt_token, per_output_token = self._rates[Arm(model, draw.n)]
        state.spent += per_prompt_token * recorded.prompt_tokens
        state.spent += per_output_token / draw.n * float(recorded.tokens[new].sum())
        drawn[model] = order[: seen + draw.n]
        state.samples.setdefault(model, []).extend(recorded.samples[i] for i in new)
        state.evidence[model] = self._evidence(recorded, drawn[model])

    def _evidence(self, recorded: _Recorded, drawn: NDArray[np.intp]) -> Evidence:
        keys, tokens = recorded.keys[drawn].tolist(), recorded.tokens[drawn].tolist()
        if not self._by_agreement:
            return Evidence.of([None] * len(keys), tokens, keys)
        return Evidence.of([None if key == NO_ANSWER else key + 1 for key in keys], tokens)

    def _select(self, keys: Floats) -> int:
        """Place of the best of the drawn samples; ties go to the first drawn."""
        return int(np.argmax(_shares(keys) if self._by_agreement else keys))


def _record(model: str, samples: SampleSet, place: int) -> _Recorded:
    oracle = samples.oracle[place]
    keys = samples.answers if samples.answers is not None else samples.scores
    tokens = samples.completion_tokens[place]
    return _Recorded(
        oracle=oracle,
        tokens=tokens,
        prompt_tokens=float(samples.prompt_tokens[place]),
        keys=np.zeros(len(oracle)) if keys is None else keys[place].astype(np.float64),
        samples=tuple(
            Sample(model=model, message={"role": "assistant"}, completion_tokens=int(count))
            for count in tokens
        ),
    )


def _shares(codes: Floats) -> Floats:
    """Share of the draw that gives each one's answer; 0 where it gives none."""
    same = (codes[:, None] == codes[None, :]).mean(axis=1)
    return np.where(codes == NO_ANSWER, 0.0, same)
