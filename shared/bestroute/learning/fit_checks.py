"""What would end `fit` after everything was paid for, looked for before anything is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bestroute import catalog
from bestroute._extras import need, require
from bestroute.cost import CostModel
from bestroute.errors import ConfigError, DataError
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.collecting.workload import Samples, needed_samples, wanted_samples
from bestroute.learning.fit import check_options
from bestroute.learning.samples import SPLITS
from bestroute.learning.scoring.scorers import Scorer, Source, scorer
from bestroute.pool import ModelPool, PooledModel
from bestroute.routers.encoder import Encoder

CONSISTENCY = "consistency"
"""The reward that needs no model."""

_ADAPTIVE = 3
"""Train prompts of which each may be held out, with two left to train on."""

_STATIC = 10
"""Train prompts that the static reward model's cross-validation takes."""


def check_fit(
    prompts: Sequence[Prompt],
    pool: ModelPool,
    *,
    oracle: Source,
    samples: Samples = None,
    reward: str = CONSISTENCY,
    encoder: Encoder | None = None,
    policy: str = "threshold",
    **options: Any,
) -> Scorer:
    """Make sure that a fit of these prompts can come to its end; asks no model.

    Args:
        prompts: The prompts.
        pool: The models.
        oracle: What scores the samples.
        samples: Samples of each prompt; see `collect`.
        reward: What selects at run time.
        encoder: What reads the queries.
        policy: What decides.
        **options: Others of `fit`.

    Returns:
        What scores the samples, loaded.

    Raises:
        ConfigError: Options contradict each other; there is nothing to route to; too few samples
            for the arms; an unknown reward or oracle.
        MissingPriceError: A model has no price.
        MissingExtraError: A package is not installed.
        DataError: A split has too few prompts; or the oracle needs what not every prompt has.
    """
    check_options(policy=policy, **options)
    if len(pool.arms) < 2:
        raise ConfigError("the pool holds nothing to route to but the reference")
    _check_splits(prompts, reward, policy)
    _check_samples(prompts, pool, samples)
    costs = CostModel(pool)
    for member in pool.models:
        costs.price(member.name)
    _check_packages(encoder)
    _check_reward(reward)
    return _checked_oracle(prompts, oracle)


def _check_splits(prompts: Sequence[Prompt], reward: str, policy: str) -> None:
    held = {split: sum(prompt.split == split for prompt in prompts) for split in SPLITS}
    if absent := [split for split in SPLITS if not held[split]]:
        raise DataError(f"no prompt is of the split {absent[0]!r}: give more, or other splits")
    floors = {
        "the router": 2,
        "the adaptive policy": _ADAPTIVE if policy == "adaptive" else 0,
        "the static reward model": _STATIC if reward == "static" else 0,
    }
    who, least = max(floors.items(), key=lambda floor: floor[1])
    if held["train"] < least:
        raise DataError(
            f"{held['train']} of {len(prompts)} prompts are of the split 'train', and {who} "
            f"needs at least {least} (hundreds to be any good): give more"
        )


def _check_samples(prompts: Sequence[Prompt], pool: ModelPool, samples: Samples) -> None:
    for member in pool.models:
        given = min(wanted_samples(prompt, member, samples) for prompt in prompts)
        if given < needed_samples(member):
            raise ConfigError(
                f"{member.name}: {given} samples of a prompt, and its arms need "
                f"{needed_samples(member)}: collect more, or lower max_samples in the pool"
            )


def _check_packages(encoder: Encoder | None) -> None:
    packages = ("pyarrow", "sklearn", "scipy", "matplotlib", "jinja2")
    need(*packages, feature="Fitting a router", extra="train")
    if encoder is None:
        need("tokenizers", "wordllama", feature="The static encoder", extra="static")


def _check_reward(reward: str) -> None:
    if reward in (CONSISTENCY, "static"):
        return
    need("torch", "accelerate", feature="Training a reward model", extra="torch")
    transformers = require("transformers", feature="Training a reward model", extra="torch")
    try:
        transformers.AutoConfig.from_pretrained(reward, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no reward {reward!r}: neither {CONSISTENCY!r} nor 'static', and no checkpoint can be "
            f"read there ({str(error).partition(chr(10))[0]})"
        ) from error


def _checked_oracle(prompts: Sequence[Prompt], oracle: Source) -> Scorer:
    truth = scorer(oracle)
    if truth.truth is not None:
        field = "answer" if truth.truth == "reference_answer" else truth.truth
        without = sum(getattr(prompt, field) is None for prompt in prompts)
        if without:
            raise DataError(
                f"the oracle {truth.name!r} scores by each prompt's {field}, and {without} of "
                f"{len(prompts)} prompts have none"
            )
    if truth.judge is not None:
        catalog.provider(PooledModel(model=truth.judge.identity()["model"]))
    return truth
