"""Episodes: recorded samples drawn one after the other, in seeded random orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bestroute.errors import DataError
from bestroute.learning.bestofn import NO_ANSWER, Floats
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.sample_sets import SampleSet, SampleSets
from bestroute.policy.belief import FEATURES, features
from bestroute.policy.evidence import Evidence
from bestroute.pool import Arm, ModelPool

if TYPE_CHECKING:
    import pyarrow as pa

LEVELS = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 128)
"""Numbers of samples after which a policy may look; a model's own largest n is one as well."""


@dataclass(frozen=True)
class Episodes:
    """What one model's samples show on Q queries, in P orders, after each of L levels.

    Attributes:
        levels: Numbers of samples, ascending [L].
        seen: What the estimator reads [Q, P, L, D].
        match: Whether the best so far matches the reference: the share of the reference's
            samples that it is no worse than [Q, P, L].
        prior: Match probability before any sample [Q].
    """

    levels: tuple[int, ...]
    seen: Floats
    match: Floats
    prior: Floats


def levels_of(most: int) -> tuple[int, ...]:
    """The levels of a model of so many samples."""
    return (*(n for n in LEVELS if n < most), most)


def replay(
    table: pa.Table,
    pool: ModelPool,
    outcomes: Outcomes,
    prior: Floats,
    *,
    selection: Mapping[str, Any],
    permutations: int = 40,
    margin: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Episodes]:
    """Draw every query's samples in random orders, and look after each level.

    Args:
        table: Scored samples table; it holds all queries of the outcomes.
        pool: The model pool.
        outcomes: Names the queries, in their order.
        prior: Match probabilities [Q, A] that were not learnt from these very queries.
        selection: How best-of-n selects: the arguments of `Outcomes.from_samples`.
        permutations: Orders of the samples of each query.
        margin: How much worse than the reference still counts as a match.
        seed: Of the orders.
        progress: Called with the number of queries done and of all queries.

    Raises:
        DataError: A query of the outcomes has no samples here.
    """
    needed = {member.name: member.max_samples for member in pool.models}
    sets = SampleSets(table, needed, **selection)
    row_of = {query_id: row for row, query_id in enumerate(outcomes.query_ids)}
    models = [member for member in pool.models if not member.reference]
    levels = {member.name: levels_of(member.max_samples) for member in models}
    shape = (len(outcomes), permutations)
    seen = {m: np.full((*shape, len(n), len(FEATURES)), np.nan) for m, n in levels.items()}
    match = {m: np.full((*shape, len(n)), np.nan) for m, n in levels.items()}
    columns = {arm: column for column, arm in enumerate(outcomes.arms)}
    done = 0
    for rows, samples in sets:
        reference = samples[pool.reference.name].oracle - margin
        for place, index in enumerate(rows):
            row = row_of.get(sets.queries[index].query_id)
            if row is None:
                continue
            for member in models:
                own = samples[member.name]
                wins = (own.oracle[place][:, None] >= reference[place][None, :]).mean(axis=1)
                rng = np.random.default_rng([seed, row])
                for turn in range(permutations):
                    order = rng.permutation(len(wins))
                    for level, n in enumerate(levels[member.name]):
                        drawn = order[:n]
                        evidence, winner = look(own, place, drawn)
                        belief = prior[row, columns[Arm(member.name, n)]]
                        seen[member.name][row, turn, level] = features(belief, evidence)
                        match[member.name][row, turn, level] = wins[drawn[winner]]
            done += 1
            if progress is not None:
                progress(done, len(outcomes))
    if done < len(outcomes):
        raise DataError("queries of the outcomes have no samples to replay")
    return {
        member.name: Episodes(
            levels[member.name],
            seen[member.name],
            match[member.name],
            prior[:, columns[Arm(member.name, 1)]],
        )
        for member in models
    }


def look(samples: SampleSet, place: int, drawn: Any) -> tuple[Evidence, int]:
    """What a draw shows, and which of it is selected; ties go to the first drawn."""
    tokens = samples.completion_tokens[place][drawn].tolist()
    if samples.answers is None:
        scores = np.zeros(len(drawn)) if samples.scores is None else samples.scores[place][drawn]
        return Evidence.of([None] * len(tokens), tokens, scores.tolist()), int(np.argmax(scores))
    codes = samples.answers[place][drawn]
    shares = (codes[:, None] == codes[None, :]).sum(axis=1)
    shares[codes == NO_ANSWER] = 0
    answers = [None if code == NO_ANSWER else int(code) + 1 for code in codes]
    return Evidence.of(answers, tokens), int(np.argmax(shares))
