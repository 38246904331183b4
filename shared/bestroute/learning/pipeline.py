"""The whole way from prompts to a router: collect, score, train the reward model, fit, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bestroute.errors import ConfigError, DataError
from bestroute.learning.collecting.collect import collect
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.collecting.workload import Samples
from bestroute.learning.evaluation.page import write_report
from bestroute.learning.evaluation.report import assessment_markdown
from bestroute.learning.fit import Fitted, fit
from bestroute.learning.fit_checks import CONSISTENCY, check_fit
from bestroute.learning.progress import Progress, silent
from bestroute.learning.reward_training.train_reward import train_reward
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.score import score
from bestroute.learning.scoring.scorers import Source
from bestroute.pool import ModelPool
from bestroute.rewards.base import RewardModel

if TYPE_CHECKING:
    import pyarrow as pa

COLLECTED, _SCORED, _PROXY, _REWARD = (
    "samples.parquet",
    "scored.parquet",
    "proxy-scored.parquet",
    "reward",
)


def fit_prompts(
    prompts: Sequence[Prompt],
    pool: ModelPool,
    work: str | Path,
    *,
    samples: Samples = None,
    oracle: Source | None = None,
    concurrency: int = 8,
    max_cost: float | None = None,
    reward: str = CONSISTENCY,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Fitted:
    """Collect samples of every model, score them, and fit a router to them.

    Every step writes into the working folder and goes on there when it is run again: no sample
    and no score that was paid for is asked twice.

    Args:
        prompts: The prompts.
        pool: The models.
        work: Working folder; made if absent. It holds prompts and responses: not to be shared.
        samples: Samples of each prompt; see `collect`.
        oracle: What scores the samples; by default the prompts' checks or reference answers.
        concurrency: Calls under way at a time.
        max_cost: $ that collecting may spend.
        reward: What selects at run time; see `fit_table`.
        seed: Of everything that is random.
        progress: Told of every step.
        **options: Those of `fit`.

    Raises:
        ConfigError: There is nothing to score by; or see `check_fit`, which looks for all that
            can be known before anything is paid for.
        DataError: Samples or scores are missing, and running it again goes on; or see there.
    """
    report = progress or silent
    truth = check_fit(
        prompts,
        pool,
        oracle=oracle or oracle_of(prompts),
        samples=samples,
        reward=reward,
        **options,
    )
    folder = Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    collected = collect(
        prompts,
        pool,
        folder / COLLECTED,
        samples=samples,
        concurrency=concurrency,
        max_cost=max_cost,
        progress=report,
    )
    if collected.missing or collected.path is None:
        why = collected.stopped or "; ".join(each.error for each in collected.failures)
        raise DataError(
            f"{collected.missing} samples are missing ({why}); run it again to go on, those "
            f"that are there are kept in {folder}"
        )
    scored = folder / _SCORED
    found = score(
        read_samples(collected.path),
        scored,
        oracle=truth,
        concurrency=concurrency,
        progress=report,
    )
    if found.failure:
        raise DataError(f"scores are missing ({found.failure}); run it again to go on")
    return fit_table(
        read_samples(scored, scored=True),
        pool,
        folder,
        reward=reward,
        seed=seed,
        progress=report,
        **options,
    )


def fit_table(
    table: pa.Table,
    pool: ModelPool,
    work: str | Path,
    *,
    reward: str = CONSISTENCY,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Fitted:
    """Fit a router to a scored samples table.

    Args:
        table: Scored samples table with the three splits.
        pool: The models.
        work: Working folder, for a reward model that is trained.
        reward: What selects at run time: `consistency` needs no model; else a proxy reward model
            is trained on the train split (`train_reward`): `static`, or a checkpoint's hub id
            or path.
        seed: Of everything that is random.
        progress: Told of every step.
        **options: Those of `fit`.
    """
    chosen: RewardModel | None = None
    if reward != CONSISTENCY:
        folder = Path(work)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = train_reward(
            table, folder / _REWARD, base=reward, seed=seed, progress=progress
        ).reward
        score(table, folder / _PROXY, proxy=chosen, progress=progress)
        table = read_samples(folder / _PROXY, scored=True)
    return fit(table, pool, reward=chosen, seed=seed, progress=progress, **options)


def oracle_of(prompts: Sequence[Prompt]) -> str:
    """What the prompts themselves can be scored by: their checks, or their reference answers.

    Raises:
        ConfigError: Some have neither.
    """
    for name, held in (("check", "check"), ("references", "answer")):
        if all(getattr(prompt, held) is not None for prompt in prompts):
            return name
    raise ConfigError(
        "not every prompt has a check, or every one a reference answer: say what scores the "
        "responses, for example --oracle judge:openai/gpt-4o"
    )


def save(fitted: Fitted, directory: str | Path, *, report: str | Path | None = None) -> Path:
    """Write a fitted router: artifact and model card; plots and report too, or elsewhere."""
    folder = fitted.engine.save_pretrained(directory, card=assessment_markdown(fitted.assessment))
    write_report(
        fitted.assessment,
        fitted.engine.pool,
        report or folder,
        drops=fitted.drops,
        note=fitted.calibration.note,
    )
    return folder
