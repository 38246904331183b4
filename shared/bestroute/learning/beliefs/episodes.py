"""Episodes: recorded samples drawn one after the other, in seeded random orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bestroute.errors import DataError
from bestroute.learning.bestofn import NO_ANSWER, Floats
from bestroute.learning.outcomes import Outcomes
from bestroute.learning.sample_sets import SampleSet, SampleSets
from bestroute.policy.belief import FEATURES, features
from bestroute.policy.evidence import Evidence
from bestroute.policy.likeness import similarity
from bestroute.pool import Arm, ModelPool
from bestroute.rewards.answers import extract_answer
from bestroute.routers.encoder import Vectors

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
    sets = SampleSets(table, needed, **selection, evidence=extract_answer)
    row_of = {query_id: row for row, query_id in enumerate(outcomes.query_ids)}
    column_of = {arm: column for column, arm in enumerate(outcomes.arms)}
    models = [member.name for member in pool.models if not member.reference]
    levels = {model: levels_of(needed[model]) for model in models}
    columns = {m: [column_of[Arm(m, n)] for n in levels[m]] for m in models}
    found = {m: _nothing(len(outcomes), permutations, len(levels[m])) for m in models}
    done = 0
    for rows, samples in sets:
        reference = samples[pool.reference.name].oracle - margin
        for place, index in enumerate(rows):
            row = row_of.get(sets.queries[index].query_id)
            if row is None:
                continue
            for model in models:
                orders = _orders([seed, row], samples[model].oracle.shape[1], permutations)
                _play(
                    samples[model],
                    place,
                    reference[place],
                    prior[row, columns[model]],
                    [order[:n] for order in orders for n in levels[model]],
                    *(each[row] for each in found[model]),
                )
            done += 1
            if progress is not None:
                progress(done, len(outcomes))
    if done < len(outcomes):
        raise DataError("queries of the outcomes have no samples to replay")
    return {m: Episodes(levels[m], *found[m], prior[:, column_of[Arm(m, 1)]]) for m in models}


def _nothing(queries: int, orders: int, levels: int) -> tuple[Floats, Floats]:
    """Room for what is seen, and for whether it matches."""
    seen = np.full((queries, orders, levels, len(FEATURES)), np.nan)
    return seen, seen[..., 0].copy()


def _orders(seed: list[int], samples: int, count: int) -> list[NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(samples) for _ in range(count)]


def _play(
    samples: SampleSet,
    place: int,
    reference: Floats,
    prior: Floats,
    draws: Sequence[NDArray[np.intp]],
    seen: Floats,
    match: Floats,
) -> None:
    """Write what the draws of one query show [P, L, D], and whether they match [P, L]."""
    wins = (samples.oracle[place][:, None] >= reference[None, :]).mean(axis=1)
    for at, drawn in zip(np.ndindex(match.shape), draws, strict=True):
        evidence, winner = look(samples, place, drawn)
        seen[at] = features(float(prior[at[1]]), evidence)
        match[at] = wins[drawn[winner]]


def look(samples: SampleSet, place: int, drawn: NDArray[np.intp]) -> tuple[Evidence, int]:
    """What a draw shows, and which of it is selected; ties go to the first drawn."""
    tokens = samples.completion_tokens[place][drawn].tolist()
    codes = np.full(len(drawn), NO_ANSWER)
    if samples.answers is not None:
        codes = samples.answers[place][drawn]
    answers = [None if code == NO_ANSWER else code + 1 for code in codes.tolist()]
    worth, scores = (codes[:, None] == codes[None, :]).sum(axis=1), []
    worth[codes == NO_ANSWER] = 0
    if samples.scores is not None:
        worth = samples.scores[place][drawn]
        scores = worth.tolist()
    seen = Evidence.of(
        answers,
        tokens,
        scores,
        logprobs=() if samples.logprobs is None else samples.logprobs[place][drawn].tolist(),
        similarity=math.nan if samples.vectors is None else _alike(samples.vectors[place][drawn]),
    )
    return seen, int(np.argmax(worth))


def _alike(vectors: Vectors) -> float:
    """Of the open answers among them."""
    return similarity(vectors[~np.isnan(vectors[:, 0])])
