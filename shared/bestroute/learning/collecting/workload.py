"""What there is to collect, and what it will cost."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bestroute import catalog
from bestroute.calls import settings
from bestroute.cost import CostModel, TokenStats
from bestroute.errors import DataError, MissingPriceError, SampleLimitError
from bestroute.learning.collecting.prompts import Prompt
from bestroute.learning.journal import Journal, Lost
from bestroute.learning.samples import canonical
from bestroute.pool import Arm, ModelPool, PooledModel, PoolLike

DEFAULT_SAMPLES = 20
"""Samples of each model and prompt in the paper (arXiv 2506.22716, section 4)."""

_NOT_SAMPLING = (
    *("api_base", "base_url", "api_version", "custom_llm_provider", "timeout", "max_retries"),
    *("num_retries", "metadata", "seed", "user"),
)

Samples = int | Mapping[str, int] | None
"""Samples of each prompt: of every model, or by model."""


class ModelPlan(BaseModel):
    """What one model will be asked.

    Attributes:
        model: Its name in the pool.
        samples: Samples that are still missing.
        calls: Calls that will bring them.
        prompt_tokens, completion_tokens: Expected, of all calls together.
        cost: Expected $; `None` where no price is known.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    samples: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class Plan(BaseModel):
    """What a collection will ask, before it does.

    Attributes:
        models: What each model will be asked.
        prompts: Number of prompts.
        kept: Samples that are there already.
        lost: What an earlier run that was stopped left under way; it is asked again.
    """

    model_config = ConfigDict(frozen=True)

    models: tuple[ModelPlan, ...]
    prompts: int
    kept: int = 0
    lost: Lost = Lost(0, 0, 0.0)

    @property
    def samples(self) -> int:
        """Samples that are still missing."""
        return sum(each.samples for each in self.models)

    @property
    def cost(self) -> float | None:
        """Expected $ of all models; `None` where a price is not known."""
        costs = [each.cost for each in self.models if each.samples]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


@dataclass(frozen=True)
class Unit:
    """One prompt for one model.

    Attributes:
        prompt: What is asked.
        member: Who is asked.
        wanted: How many samples there shall be.
    """

    prompt: Prompt
    member: PooledModel
    wanted: int

    @cached_property
    def key(self) -> str:
        """Its name in the journal; another text under the same id is another unit."""
        content = canonical([self.prompt.messages, self.prompt.params])
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return canonical([self.prompt.id, self.member.name, digest])

    @property
    def sampling(self) -> dict[str, Any]:
        """Parameters that the distribution of its answers depends on."""
        return {**sampling_params(self.member), **_sampling(self.prompt.params)}

    def columns(self) -> dict[str, Any]:
        """What all its rows of the samples table share."""
        prompt = self.prompt
        return {
            "query_id": prompt.id,
            "query": prompt.query,
            "messages": canonical(prompt.messages),
            "task": prompt.task,
            "split": prompt.split,
            "model": self.member.name,
            "sampling": canonical(self.sampling),
            "check": prompt.check.model_dump_json() if prompt.check else None,
            "reference_answer": prompt.reference_answer,
        }


class Workload:
    """The units of a collection, model by model, and how much of each is there.

    Args:
        prompts: The prompts.
        pool: The models.
        samples: Samples of each prompt; by default 20, or what its arms need if that is
            more, and 1 at temperature 0.
        journal: What was collected before.

    Raises:
        DataError: Two prompts have the same id.
        UnknownModelError: `samples` names a model that is not in the pool.
        SampleLimitError: More than one sample is asked for at temperature 0.
    """

    def __init__(
        self, prompts: Sequence[Prompt], pool: ModelPool, samples: Samples, journal: Journal | None
    ) -> None:
        if isinstance(samples, Mapping):
            for name in samples:
                pool[name]  # raises for an unknown one
        if len({each.id for each in prompts}) < len(prompts):
            raise DataError("two prompts have the same id")
        self.prompts = prompts
        self.pool = pool
        self.units = {
            member.name: [
                Unit(each, member, wanted_samples(each, member, samples)) for each in prompts
            ]
            for member in pool.models
        }
        self.kept = journal.counts() if journal else {}
        self._lost = journal.lost if journal else Lost(0, 0, 0.0)
        self._costs = CostModel(pool, self._stats(journal) if journal else None)

    def missing(self, unit: Unit) -> int:
        """Samples that a unit still needs."""
        return max(0, unit.wanted - self.kept.get(unit.key, 0))

    def cost(self, unit: Unit, samples: int) -> float | None:
        """Expected $ of so many samples; `None` where no price is known."""
        try:
            return self.sure_cost(unit, samples)
        except MissingPriceError:
            return None

    def sure_cost(self, unit: Unit, samples: int) -> float:
        """Expected $ of so many samples.

        Raises:
            MissingPriceError: No price is known.
        """
        arm = Arm(unit.member.name, samples)
        prompt = unit.prompt.request.prompt
        return self._costs.estimate(arm, prompt, output_tokens=self._output_tokens(unit))

    def plan(self) -> Plan:
        """What is still to be asked."""
        return Plan(
            models=tuple(self._of_model(name, units) for name, units in self.units.items()),
            prompts=len(self.prompts),
            kept=sum(self.kept.get(u.key, 0) for units in self.units.values() for u in units),
            lost=self._lost,
        )

    def _of_model(self, name: str, units: Sequence[Unit]) -> ModelPlan:
        native = catalog.native_n(units[0].member)
        asked = [(unit, missing) for unit in units if (missing := self.missing(unit))]
        calls = [-(-missing // native) for _, missing in asked]
        prompt = [self._costs.prompt_tokens(name, u.prompt.request.prompt) for u, _ in asked]
        costs = [self.cost(unit, missing) for unit, missing in asked]
        return ModelPlan(
            model=name,
            samples=sum(missing for _, missing in asked),
            calls=sum(calls),
            prompt_tokens=round(sum(t * c for t, c in zip(prompt, calls, strict=True))),
            completion_tokens=round(sum(self._output_tokens(u) * m for u, m in asked)),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        )

    def _output_tokens(self, unit: Unit) -> float:
        """Expected completion tokens of one sample; never more than it may have."""
        said = settings(unit.prompt.request, unit.member)
        limit = said.get("max_completion_tokens") or said.get("max_tokens") or float("inf")
        return min(self._costs.output_tokens(unit.member.name), float(limit))

    def _stats(self, journal: Journal) -> dict[str, TokenStats]:
        """Mean tokens of the samples that are there, by model."""
        stats = {}
        for name, units in self.units.items():
            sums: dict[str, float] = defaultdict(float)
            for unit in units:
                results = [json.loads(text) for text in journal.results(unit.key)]
                sums["samples"] += len(results)
                sums["characters"] += len(results) * len(unit.prompt.request.prompt)
                sums["prompt"] += sum(each["prompt_tokens"] for each in results)
                sums["completion"] += sum(each["completion_tokens"] for each in results)
            if sums["characters"]:
                stats[name] = TokenStats(
                    prompt_ratio=sums["prompt"] / sums["characters"],
                    output_tokens=sums["completion"] / sums["samples"],
                )
        return stats


def plan(
    prompts: Sequence[Prompt],
    pool: PoolLike,
    output: str | Path | None = None,
    *,
    samples: Samples = None,
) -> Plan:
    """What `collect` with the same arguments would ask and spend; asks nobody.

    Args:
        prompts: The prompts.
        pool: The models.
        output: Where an earlier run wrote to: what it collected is not planned again, and the
            lengths seen there replace the guess of 256 completion tokens.
        samples: Samples of each prompt; see `Workload`.

    Raises:
        DataError: The journal beside `output` is in use, or of another pool.
        SampleLimitError: More than one sample is asked for at temperature 0.
        UnknownModelError: LiteLLM knows no provider for a model, or `samples` names none.
    """
    pool = ModelPool.read(pool)
    if output is None or not journal_path(output).exists():
        return Workload(prompts, pool, samples, None).plan()
    with closing(Journal(journal_path(output), about(pool))) as journal:
        return Workload(prompts, pool, samples, journal).plan()


def journal_path(output: str | Path) -> Path:
    """The journal of a collection that writes to `output`."""
    return Path(f"{output}.collected")


def about(pool: ModelPool) -> dict[str, str]:
    """What must not change under a collection: each model's id and sampling parameters."""
    facts = {
        f"model {member.name!r}": canonical({"id": member.model, **sampling_params(member)})
        for member in pool.models
    }
    return {"kind of journal": "samples", **facts}


def sampling_params(member: PooledModel) -> dict[str, Any]:
    """The pool's parameters for a model, without its address, keys and seed."""
    return _sampling(member.model_dump()["params"])


def _sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in params.items()
        if name not in _NOT_SAMPLING and not str(value).startswith("os.environ/")
    }


def default_samples(member: PooledModel) -> int:
    """Samples of each prompt unless told otherwise: as in the paper, or all that its arms need."""
    return max(DEFAULT_SAMPLES, needed_samples(member))


def needed_samples(member: PooledModel) -> int:
    """The fewest samples that labels of all its arms can be made of.

    Best-of-n of the reference is compared with a sample outside the draw: it takes one more.
    """
    return member.max_samples + int(member.reference and member.max_samples > 1)


def wanted_samples(prompt: Prompt, member: PooledModel, samples: Samples) -> int:
    """Samples of a prompt that a model is to give.

    Raises:
        SampleLimitError: Fewer than one are asked for, or more than one at temperature 0.
    """
    asked = samples.get(member.name) if isinstance(samples, Mapping) else samples
    greedy = settings(prompt.request, member).get("temperature") == 0
    if asked is None:
        return 1 if greedy else default_samples(member)
    if asked < 1 or (greedy and asked > 1):
        why = "at temperature 0 all are the same" if greedy else "at least one is needed"
        raise SampleLimitError(f"{member.name}: cannot collect {asked} samples: {why}")
    return asked
