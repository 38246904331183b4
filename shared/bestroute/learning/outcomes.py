"""What every arm is worth on every query: the tensor that labels and evaluation start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bestroute.cost import CHARS_PER_TOKEN, CostModel, TokenStats
from bestroute.errors import DataError, PoolMismatchError
from bestroute.learning.bestofn import (
    Floats,
    expected_quality,
    match_probability,
    self_match_probability,
)
from bestroute.learning.sample_sets import Extract, SampleSet, SampleSets
from bestroute.pool import Arm, ModelPool

if TYPE_CHECKING:
    import pyarrow as pa

    from bestroute.routers.base import Prediction

_PROMPT_RATIO_BOUNDS = (0.05, 2.0)
"""Tokens a character: below any tokenizer on prose, above any on ideographs."""


@dataclass(frozen=True)
class Outcomes:
    """Q queries x A arms, every entry exact given the recorded samples.

    Attributes:
        arms: The columns.
        reference: The reference with n = 1.
        query_ids, queries, prompts, tasks, splits: The rows; `prompts` is what is billed, and
            what the table leaves out is an empty text.
        match: Match probability [Q, A] (arXiv 2506.22716, section 3).
        quality: Expected oracle score of best-of-n [Q, A].
        cost: Realised cost in $, in expectation over the draw [Q, A]: the prompt as often as
            n samples bill it (`CostModel`), and n x mean completion tokens.
        prompt_tokens: Prompt tokens, counted once [Q, A].
        output_tokens: Mean completion tokens of one sample [Q, A].

    Raises:
        DataError: Shapes disagree, a number is not finite, or the reference is not an arm.
    """

    arms: tuple[Arm, ...]
    reference: Arm
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    prompts: tuple[str, ...]
    tasks: tuple[str, ...]
    splits: tuple[str, ...]
    match: Floats
    quality: Floats
    cost: Floats
    prompt_tokens: Floats
    output_tokens: Floats

    def __post_init__(self) -> None:
        """Check the shapes once, so that nothing downstream has to."""
        if self.reference not in self.arms:
            raise DataError(f"the reference {self.reference} is not among the arms")
        if {len(getattr(self, name)) for name in _ROWS} != {len(self.query_ids)}:
            raise DataError(f"{', '.join(_ROWS)} must have one entry a query")
        for name in _GRIDS:
            grid = getattr(self, name)
            if grid.shape != (len(self), len(self.arms)) or not np.isfinite(grid).all():
                raise DataError(f"{name} must be finite numbers [queries, arms]")

    def __len__(self) -> int:
        """Number of queries Q."""
        return len(self.query_ids)

    @property
    def reference_index(self) -> int:
        """Column of the reference with n = 1."""
        return self.arms.index(self.reference)

    @property
    def sampled_tokens(self) -> Floats:
        """Expected completion tokens of all samples of an arm together [Q, A]."""
        return np.asarray(self.output_tokens * [arm.n for arm in self.arms])

    @classmethod
    def from_samples(
        cls,
        table: pa.Table,
        pool: ModelPool,
        *,
        agreement: Extract | None = None,
        proxy: str = "proxy_score",
        margin: float = 0.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcomes:
        """Sum over all draws of the recorded samples.

        Args:
            table: Samples table with oracle scores and token counts.
            pool: Its arms become the columns; models outside it are ignored.
            agreement: Keep the sample whose answer most others give (self-consistency); takes a
                response, returns a hashable answer or `None`.
            proxy: Without `agreement`: keep the sample of the highest score in this column.
            margin: How much worse than the reference still counts as a match.
            progress: Called with the number of queries done and of all queries.

        Raises:
            DataError: A query lacks samples of a model (the reference's best-of-n needs n + 1),
                or a score or token count; names the query and the model.
            MissingPriceError: A model has no price.
        """
        needed = {member.name: member.max_samples for member in pool.models}
        if pool.reference.max_samples > 1:
            needed[pool.reference.name] += 1
        sets = SampleSets(table, needed, agreement=agreement, proxy=proxy)
        if not len(sets):
            raise DataError(f"the table holds no sample of {', '.join(needed)}")
        match, quality, prompt_tokens, output_tokens = np.empty((4, len(sets), len(pool.arms)))
        done = 0
        for rows, samples in sets:
            for column, arm in enumerate(pool.arms):
                own, reference = samples[arm.model], samples[pool.reference.name]
                weights = own.weights(arm.n)
                quality[rows, column] = expected_quality(weights, own.oracle)
                match[rows, column] = (
                    _self_match(arm.n, own, margin)
                    if own is reference
                    else match_probability(weights, own.oracle, reference.oracle, margin)
                )
                prompt_tokens[rows, column] = own.prompt_tokens
                output_tokens[rows, column] = own.completion_tokens.mean(axis=1)
            done += len(rows)
            if progress is not None:
                progress(done, len(sets))
        prices = CostModel(pool)
        per_prompt_token, per_output_token = np.array([prices.rates(arm) for arm in pool.arms]).T
        return cls(
            arms=pool.arms,
            reference=pool.reference_arm,
            query_ids=tuple(query.query_id for query in sets.queries),
            queries=tuple(query.query for query in sets.queries),
            prompts=tuple(query.prompt for query in sets.queries),
            tasks=tuple(query.task for query in sets.queries),
            splits=tuple(query.split for query in sets.queries),
            match=match,
            quality=quality,
            cost=prompt_tokens * per_prompt_token + output_tokens * per_output_token,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
        )

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Outcomes:
        """The outcomes of these rows."""
        index = np.asarray(rows, dtype=np.intp)
        taken: dict[str, Any] = {name: getattr(self, name)[index] for name in _GRIDS}
        taken |= {name: tuple(getattr(self, name)[row] for row in index) for name in _ROWS}
        return replace(self, **taken)

    def select(self, split: str) -> Outcomes:
        """The outcomes of one split.

        Raises:
            DataError: No query belongs to it.
        """
        rows = [row for row, name in enumerate(self.splits) if name == split]
        if not rows:
            raise DataError(f"no query of split {split!r}; there are {sorted(set(self.splits))}")
        return self.take(rows)

    def token_stats(self, split: str = "train") -> dict[str, TokenStats]:
        """Token statistics per model, for `CostModel`; learnt from one split only.

        Raises:
            DataError: No query belongs to the split.
        """
        seen = self.select(split)
        characters = np.array([len(prompt) for prompt in seen.prompts], dtype=np.float64)
        stats = {}
        for column, arm in enumerate(self.arms):
            if arm.n == 1:
                base, ratio = _fit_line(characters, seen.prompt_tokens[:, column])
                mean = float(seen.output_tokens[:, column].mean())
                stats[arm.model] = TokenStats(
                    prompt_base=base, prompt_ratio=ratio, output_tokens=mean
                )
        return stats

    def estimated_costs(
        self, cost_model: CostModel, prediction: Prediction | None = None, *, again: bool = False
    ) -> Floats:
        """What a policy believes the arms cost, before any call [Q, A], in $.

        Args:
            cost_model: Prices and token statistics of the training split.
            prediction: Its `output_tokens`, where a router predicts them, replace the
                expected completion tokens; NaN leaves an entry as it is.
            again: Of a further wave of the same request: see `CostModel.estimate`.

        Raises:
            PoolMismatchError: The prediction is on other arms or another number of queries.
        """
        tokens = np.full((len(self), len(self.arms)), np.nan)
        if prediction is not None and prediction.output_tokens is not None:
            if prediction.arms != self.arms or prediction.output_tokens.shape != tokens.shape:
                raise PoolMismatchError("the prediction is not on these queries and arms")
            tokens = prediction.output_tokens
        characters = [len(prompt) for prompt in self.prompts]
        return cost_model.estimates(self.arms, characters, tokens, again=again)


_ROWS = ("query_ids", "queries", "prompts", "tasks", "splits")
_GRIDS = ("match", "quality", "cost", "prompt_tokens", "output_tokens")


def _self_match(n: int, reference: SampleSet, margin: float) -> Floats | float:
    if n == 1:
        return 1.0  # by definition
    return self_match_probability(partial(reference.weights, n), reference.oracle, margin)


def _fit_line(characters: Floats, tokens: Floats) -> tuple[float, float]:
    """Least squares of tokens on characters: base >= 0 and a ratio that a tokenizer can have."""
    spread = characters - characters.mean()
    variance = float(spread @ spread)
    slope = float(spread @ tokens) / variance if variance > 0 else 1 / CHARS_PER_TOKEN
    ratio = float(np.clip(slope, *_PROMPT_RATIO_BOUNDS))
    base = float(tokens.mean() - ratio * characters.mean())
    if base >= 0:
        return base, ratio
    return 0.0, float(tokens.mean() / characters.mean())
