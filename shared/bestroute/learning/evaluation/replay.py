"""Replay: the policies that run, played on recorded samples in seeded random order.

A policy that decides once has exact sums (`outcomes`); one that looks at the samples it drew is
measured here, with the Monte Carlo error of the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bestroute.cost import CostModel
from bestroute.errors import DataError
from bestroute.learning.beliefs.episodes import look
from bestroute.learning.bestofn import Floats, Indices
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.sample_sets import Extract, SampleSet, SampleSets
from bestroute.policy import Accept, Draw, Policy, State
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm, ModelPool
from bestroute.rewards.answers import extract_answer
from bestroute.samples import Sample

if TYPE_CHECKING:
    import pyarrow as pa

SECONDS_PER_TOKEN = 0.02
"""What a completion token is taken to last where no latency was recorded."""

Orders = Mapping[str, Indices]
"""The order in which the samples of each model come."""


@dataclass(frozen=True)
class Replayed:
    """What a policy costs and gives on Q queries, each in P orders of its samples.

    Attributes:
        cost: Realised cost in $, in expectation over the orders [Q].
        quality: Oracle score of the accepted sample [Q].
        waves: Waves of samples, the reference's among them [Q].
        tokens: Completion tokens of all samples, the reference's among them [Q].
        answered: Column of the arm that answered: the accepted model at so many samples [Q, P].
        seconds: From the first draw to the last: every wave takes as long as its slowest
            sample [Q, P].
        recorded: Whether seconds were recorded; else they are `SECONDS_PER_TOKEN` x tokens.
        error: Monte Carlo standard error of the mean quality.
    """

    cost: Floats
    quality: Floats
    waves: Floats
    tokens: Floats
    answered: Indices
    seconds: Floats
    recorded: bool
    error: float

    def take(self, rows: Indices) -> Replayed:
        """The same of some queries."""
        kept = {name: getattr(self, name)[rows] for name in _ROWS}
        return replace(self, **kept)


_ROWS = ("cost", "quality", "waves", "tokens", "answered", "seconds")


class Replay:
    """Recorded samples of the queries of one set of outcomes.

    Args:
        table: Samples table; it holds all queries of the outcomes.
        pool: The model pool.
        outcomes: Names the queries, in their order.
        agreement: Keep samples by agreement of these answers ...
        proxy: ... or else by this column.
        reward_price: $ per token of the prompt and response of every sample that is scored.

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
        reward_price: float = 0.0,
    ) -> None:
        self._outcomes, self._reward_price = outcomes, reward_price
        self._columns = {arm: column for column, arm in enumerate(outcomes.arms)}
        prices = CostModel(pool)
        self._rates = {arm: prices.rates(arm) for arm in pool.arms}
        needed = {member.name: member.max_samples for member in pool.models}
        sets = SampleSets(table, needed, agreement=agreement, proxy=proxy, evidence=extract_answer)
        recorded: dict[str, dict[str, _Recorded]] = {}
        for rows, models in sets:
            for place, row in enumerate(rows):
                recorded[sets.queries[row].query_id] = {
                    model: _Recorded(model, each, place) for model, each in models.items()
                }
        absent = [each for each in outcomes.query_ids if each not in recorded]
        if absent:
            raise DataError(f"no samples of query {absent[0]!r} to replay")
        self._recorded = [recorded[query_id] for query_id in outcomes.query_ids]
        every = [each for models in self._recorded for each in models.values()]
        self._timed = all(each.timed for each in every)
        self._several = any(len(each.oracle) > 1 for each in every)

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

        Its first move, which cannot depend on the order, is asked for once a query.

        Args:
            policy: The policy.
            estimated: Estimated costs [Q, A] in $.
            match: Match probabilities [Q, A], for a policy that needs them.
            permutations: Random orders of the samples of each query, at least 2; one is all
                there is where no model has several samples.
            seed: Of the orders: equal seeds give every policy the same ones.
            progress: Called with the number of queries done and of all queries.
        """
        arms, played = self._outcomes.arms, []
        for row, recorded in enumerate(self._recorded):
            costs = dict(zip(arms, estimated[row].tolist(), strict=True))
            matches = {} if match is None else dict(zip(arms, match[row].tolist(), strict=True))
            state = partial(
                State,
                arms=arms,
                reference=self._outcomes.reference,
                costs=costs,
                match=matches,
                query=self._outcomes.queries[row],
            )
            first = policy.next(state())
            for order in self._orders(row, permutations, seed):
                played.append(self._run(policy, first, state(), recorded, order))
            if progress is not None:
                progress(row + 1, len(self._recorded))
        figures = np.array(played).reshape(len(self._recorded), -1, 6)
        cost, quality, waves, tokens = figures[:, :, :4].mean(axis=1).T
        orders = figures.shape[1]
        varied = figures[:, :, 1].var(axis=1, ddof=1).sum() / orders if orders > 1 else 0.0
        return Replayed(
            cost=cost,
            quality=quality,
            waves=waves,
            tokens=tokens,
            answered=figures[:, :, 5].astype(np.intp),
            seconds=figures[:, :, 4],
            recorded=self._timed,
            error=float(np.sqrt(varied)) / len(figures),
        )

    def arms(self, *, permutations: int = 100, seed: int = 0) -> tuple[Floats, Floats]:
        """Cost in $ and oracle score of every arm, drawn at once, in each order [Q, P, A].

        What a clairvoyant chooses from: it knows what will be drawn, and the same selector picks.
        No policy that draws in these orders is better at equal cost.
        """
        found = [
            [
                [self._alone(arm, recorded[arm.model], order) for arm in self._columns]
                for order in self._orders(row, permutations, seed)
            ]
            for row, recorded in enumerate(self._recorded)
        ]
        cost, quality = np.moveaxis(np.array(found), -1, 0)
        return cost, quality

    def _orders(self, row: int, permutations: int, seed: int) -> list[Orders]:
        rng = np.random.default_rng([seed, row])
        return [
            {m: rng.permutation(len(each.oracle)) for m, each in self._recorded[row].items()}
            for _ in range(permutations if self._several else 1)
        ]

    def _alone(self, arm: Arm, recorded: _Recorded, order: Orders) -> tuple[float, float]:
        drawn = order[arm.model][: arm.n]
        winner = recorded.look(drawn)[1]
        scored = self._reward_price * recorded.read(drawn) if arm.n > 1 else 0.0
        return self._cost(arm, recorded, drawn) + scored, float(recorded.oracle[drawn[winner]])

    def _cost(self, arm: Arm, recorded: _Recorded, drawn: Indices) -> float:
        per_prompt_token, per_output_token = self._rates[arm]
        output = per_output_token / arm.n * recorded.tokens[drawn].sum()
        return float(per_prompt_token * recorded.prompt_tokens + output)

    def _run(
        self,
        policy: Policy,
        move: Sequence[Draw] | Accept,
        state: State,
        recorded: Mapping[str, _Recorded],
        order: Orders,
    ) -> tuple[float, ...]:
        """$, oracle score, waves, tokens, seconds, and the column of the arm that answered."""
        drawn: dict[str, Indices] = {}
        begun: dict[str, float] = {}  # ahead, at these seconds
        while not isinstance(move, Accept):
            state.waves += 1
            ends = [state.elapsed]
            for draw in move:
                if draw.ahead and draw.model not in begun:
                    begun[draw.model] = state.elapsed
                    continue
                start = begun.pop(draw.model, state.elapsed)
                took = self._draw(draw, state, recorded[draw.model], order[draw.model], drawn)
                ends.append(start + took)
            state.elapsed = max(ends)
            move = policy.next(state)
        for model, start in begun.items():
            self._abandon(recorded[model], model, order[model], start, state)
        for model, seen in drawn.items():
            if len(seen) > 1 or getattr(policy, "reads_scores", False):
                state.spent += self._reward_price * recorded[model].read(seen)
        model = move.model or next(iter(drawn))
        seen = drawn[model]
        winner = recorded[model].look(seen)[1]
        return (
            state.spent,
            recorded[model].oracle[seen[winner]],
            state.waves,
            sum(recorded[each].tokens[places].sum() for each, places in drawn.items()),
            state.elapsed,
            self._columns[Arm(model, len(seen))],
        )

    def _abandon(
        self, recorded: _Recorded, model: str, order: Indices, start: float, state: State
    ) -> None:
        """Pay for a sample drawn ahead in vain: for its prompt alone, unless it has come."""
        came = start + recorded.seconds[order[0]] <= state.elapsed
        state.spent += self._cost(Arm(model, 1), recorded, order[:1] if came else order[:0])

    def _draw(
        self,
        draw: Draw,
        state: State,
        recorded: _Recorded,
        order: Indices,
        drawn: dict[str, Indices],
    ) -> float:
        """Draw, and show the policy what came; the seconds that it took."""
        model, seen = draw.model, len(drawn.get(draw.model, ()))
        new = order[seen : seen + draw.n]
        if len(new) < draw.n:
            raise DataError(f"{seen + draw.n} samples of {model} drawn, {len(order)} recorded")
        state.spent += self._cost(Arm(model, draw.n), recorded, new)
        drawn[model] = order[: seen + draw.n]
        state.samples.setdefault(model, []).extend(recorded.stand_ins[i] for i in new)
        state.evidence[model] = recorded.look(drawn[model])[0]
        return float(recorded.seconds[new].max())


class _Recorded:
    """The N samples of one model on one query."""

    def __init__(self, model: str, samples: SampleSet, place: int) -> None:
        self._samples, self._place = samples, place
        self._seen: dict[bytes, tuple[Evidence, int]] = {}
        self.oracle, self.tokens = samples.oracle[place], samples.completion_tokens[place]
        self.prompt_tokens = float(samples.prompt_tokens[place])
        self.timed = samples.latency is not None
        self.seconds = self.tokens * SECONDS_PER_TOKEN
        if samples.latency is not None:
            self.seconds = samples.latency[place]
        self.stand_ins = [
            Sample(model=model, message={"role": "assistant"}, completion_tokens=int(count))
            for count in self.tokens
        ]

    def read(self, drawn: Indices) -> float:
        """Tokens that a reward model reads to score a draw."""
        return float(len(drawn) * self.prompt_tokens + self.tokens[drawn].sum())

    def look(self, drawn: Indices) -> tuple[Evidence, int]:
        """What a draw shows, and the place of the selected in it; looked at once."""
        key = drawn.tobytes()
        if key not in self._seen:
            self._seen[key] = look(self._samples, self._place, drawn)
        return self._seen[key]
