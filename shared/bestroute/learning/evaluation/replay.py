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
from bestroute.learning.bestofn import Floats, Indices
from bestroute.learning.evaluation.recording import Recording
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.sample_sets import Extract, SampleSets
from bestroute.policy import Accept, Draw, Policy, State
from bestroute.pool import Arm, ModelPool
from bestroute.rewards.answers import extract_answer

if TYPE_CHECKING:
    import pyarrow as pa

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
        self._rates = {
            (arm, cached): prices.rates(arm, cached=cached)
            for arm in pool.arms
            for cached in (False, True)
        }
        self._cached_from = {each.name: prices.cached_from(each.name) for each in pool.models}
        needed = {member.name: member.max_samples for member in pool.models}
        sets = SampleSets(table, needed, agreement=agreement, proxy=proxy, evidence=extract_answer)
        recorded: dict[str, dict[str, Recording]] = {}
        for rows, models in sets:
            for place, row in enumerate(rows):
                recorded[sets.queries[row].query_id] = {
                    model: Recording(model, each, place) for model, each in models.items()
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
        again: Floats | None = None,
        match: Floats | None = None,
        permutations: int = 100,
        seed: int = 0,
        orders: Sequence[Sequence[Orders]] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Replayed:
        """Ask the policy, draw, look, ask again, until it accepts; for every query and order.

        Its first move, which cannot depend on the order, is asked for once a query.

        Args:
            policy: The policy.
            estimated: Estimated costs [Q, A] in $.
            again: Those of models that were sent the prompt before; by default the same.
            match: Match probabilities [Q, A], for a policy that needs them.
            permutations: Random orders of the samples of each query, at least 2; one is all
                there is where no model has several samples.
            seed: Of the orders: equal seeds give every policy the same ones.
            orders: Instead of random ones, those of every query: samples by their places.
            progress: Called with the number of queries done and of all queries.
        """
        arms, played = self._outcomes.arms, []
        for row, recorded in enumerate(self._recorded):
            costs = dict(zip(arms, estimated[row].tolist(), strict=True))
            later = costs
            if again is not None and (again[row] != estimated[row]).any():
                later = dict(zip(arms, again[row].tolist(), strict=True))
            matches = {} if match is None else dict(zip(arms, match[row].tolist(), strict=True))
            state = partial(
                State,
                arms=arms,
                reference=self._outcomes.reference,
                costs=costs,
                costs_again=later,
                match=matches,
                query=self._outcomes.queries[row],
            )
            first = policy.next(state())
            for order in orders[row] if orders else self._orders(row, permutations, seed):
                played.append(self._run(policy, first, state(), recorded, order))
            if progress is not None:
                progress(row + 1, len(self._recorded))
        figures = np.array(played).reshape(len(self._recorded), -1, 6)
        cost, quality, waves, tokens = figures[:, :, :4].mean(axis=1).T
        count = figures.shape[1]
        varied = figures[:, :, 1].var(axis=1, ddof=1).sum() / count if count > 1 else 0.0
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
        count = permutations if self._several else 1
        cost = np.empty((len(self._recorded), count, len(self._columns)))
        quality = np.empty_like(cost)
        for row, recorded in enumerate(self._recorded):
            shuffled = self._orders(row, permutations, seed)
            drawn = {m: np.array([order[m] for order in shuffled]) for m in recorded}
            winners = {m: each.winners(drawn[m]) for m, each in recorded.items()}
            tokens = {m: each.tokens[drawn[m]].cumsum(axis=1) for m, each in recorded.items()}
            for arm, column in self._columns.items():
                each, sampled = recorded[arm.model], tokens[arm.model][:, arm.n - 1]
                cost[row, :, column] = self._cost(arm, each, sampled)
                if arm.n > 1:
                    cost[row, :, column] += self._to_score(arm.n, each, sampled)
                quality[row, :, column] = each.oracle[winners[arm.model][:, arm.n - 1]]
        return cost, quality

    def _orders(self, row: int, permutations: int, seed: int) -> list[Orders]:
        rng = np.random.default_rng([seed, row])
        return [
            {m: rng.permutation(len(each.oracle)) for m, each in self._recorded[row].items()}
            for _ in range(permutations if self._several else 1)
        ]

    def _cost(
        self, arm: Arm, recording: Recording, tokens: Floats, *, again: bool = False
    ) -> Floats:
        """$ of an arm whose samples have so many completion tokens together.

        Where the model was sent the prompt before, its provider is taken to read it from its
        cache, if that holds any (`catalog.cached_from`).
        """
        cached = again and recording.prompt_tokens >= self._cached_from[arm.model]
        per_prompt_token, per_output_token = self._rates[arm, cached]
        return per_prompt_token * recording.prompt_tokens + per_output_token / arm.n * tokens

    def _to_score(self, n: int, recording: Recording, tokens: Floats) -> Floats:
        """$ of a reward model that reads so many samples, and the prompt with each."""
        return self._reward_price * (n * recording.prompt_tokens + tokens)

    def _run(
        self,
        policy: Policy,
        move: Sequence[Draw] | Accept,
        state: State,
        recorded: Mapping[str, Recording],
        order: Orders,
    ) -> tuple[float, ...]:
        """$, oracle score, waves, tokens, seconds, and the column of the arm that answered."""
        drawn: dict[str, Indices] = {}
        begun: dict[str, float] = {}  # ahead, at these seconds
        while not isinstance(move, Accept):
            state.waves += 1
            ends = [state.elapsed]
            for draw in move:
                if draw.ahead:
                    begun.setdefault(draw.model, state.elapsed)
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
                tokens = recorded[model].tokens[seen].sum()
                state.spent += float(self._to_score(len(seen), recorded[model], tokens))
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
        self, recorded: Recording, model: str, order: Indices, start: float, state: State
    ) -> None:
        """Pay for a sample drawn ahead in vain: for its prompt alone, unless it has come."""
        came = start + recorded.seconds[order[0]] <= state.elapsed
        tokens = recorded.tokens[order[:1]].sum() * came
        state.spent += float(self._cost(Arm(model, 1), recorded, tokens))

    def _draw(
        self,
        draw: Draw,
        state: State,
        recorded: Recording,
        order: Indices,
        drawn: dict[str, Indices],
    ) -> float:
        """Draw, and show the policy what came; the seconds that it took."""
        model, seen = draw.model, len(drawn.get(draw.model, ()))
        new = order[seen : seen + draw.n]
        if len(new) < draw.n:
            raise DataError(f"{seen + draw.n} samples of {model} drawn, {len(order)} recorded")
        tokens = recorded.tokens[new].sum()
        arm, again = Arm(model, draw.n), seen > 0
        state.spent += float(self._cost(arm, recorded, tokens, again=again))
        drawn[model] = order[: seen + draw.n]
        state.samples.setdefault(model, []).extend(recorded.stand_ins[i] for i in new)
        state.evidence[model] = recorded.look(drawn[model])[0]
        return float(recorded.seconds[new].max())
