"""What fills a score column: a reward model, the check, the reference answer, or a function."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from bestroute.bundle import fingerprint
from bestroute.errors import ConfigError, DataError
from bestroute.learning.samples import canonical
from bestroute.learning.scoring.references import References
from bestroute.learning.scoring.verifiers import parse_check, verify
from bestroute.rewards import (
    ClassifierReward,
    FunctionReward,
    JudgeReward,
    OnnxReward,
    RewardModel,
)
from bestroute.rewards.static import StaticReward

KINDS = (
    "check, references, judge:MODEL, classifier:NAME, static:FOLDER, onnx:FOLDER, "
    "function:PATH.py:NAME or function:MODULE:NAME"
)


@dataclass(frozen=True)
class Scorer:
    """Scores responses one by one.

    Attributes:
        name: What its scores depend on; a score is made once under one name.
        reward: From the truth about a query (empty where none is needed) to what scores its
            responses.
        truth: Column that holds the truth about a query; `None` for a reward model.
        judge: The paid judge, if it is one.
        made_from: The arguments of `scorer` that it came from; pickled, it is made from them
            again where it arrives.
    """

    name: str
    reward: Callable[[str], RewardModel]
    truth: str | None = None
    judge: JudgeReward | None = None
    made_from: tuple[str, bool] | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, if it has one."""
        if self.made_from is None:
            return super().__reduce__()
        return partial(scorer, trust_remote_code=self.made_from[1]), self.made_from[:1]

    def batches(self, responses: Sequence[str]) -> list[list[str]]:
        """Responses that are scored, and kept, together: one paid call at a time."""
        if self.judge:
            return [[response] for response in responses]
        return [list(responses)] if responses else []


CHECK = Scorer(
    "check",
    lambda check: FunctionReward(_checked(check)),
    truth="check",
    made_from=("check", False),
)
REFERENCES = Scorer(
    "references",
    lambda answer: FunctionReward(References.parse(answer)),
    truth="reference_answer",
    made_from=("references", False),
)


_TRUTHS = {"check": CHECK, "references": REFERENCES}

Source = str | RewardModel | Scorer
"""What scores, or its name."""


def scorer(source: Source, *, trust_remote_code: bool = False) -> Scorer:
    """What scores: a reward model, or the name of one.

    Args:
        source: A reward model; or `check` (the column of that name), `references` (the column
            `reference_answer`), `judge:MODEL`, `classifier:NAME`, `static:FOLDER`,
            `onnx:FOLDER`, or `function:PATH.py:NAME` / `function:MODULE:NAME`, a function
            `(query, response) -> float`, which runs as your own code.
        trust_remote_code: Run code that comes with a classifier.

    Raises:
        ConfigError: The name says nothing, or the reward model's scores depend on the other
            responses in the draw: no column can hold them.
    """
    if isinstance(source, Scorer):
        return source
    if isinstance(source, RewardModel):
        return _of_reward(source)
    if source in _TRUTHS:
        return _TRUTHS[source]
    kind, _, name = source.partition(":")
    if kind == "consistency":
        raise ConfigError(_why_not("SelfConsistency"))
    if kind == "function" and ":" in name:
        made = _of_function(name)
    elif kind in _REWARDS and name:
        made = _of_reward(_REWARDS[kind](name, trust_remote_code))
    else:
        raise ConfigError(f"{source!r} names nothing that scores; known: {KINDS}")
    return replace(made, made_from=(source, trust_remote_code))


_REWARDS: Mapping[str, Callable[[str, bool], RewardModel]] = {
    "judge": lambda name, trust: JudgeReward(name),
    "classifier": lambda name, trust: ClassifierReward(name, trust_remote_code=trust),
    "static": lambda name, trust: StaticReward.from_pretrained(name),
    "onnx": lambda name, trust: OnnxReward(name),
}


def _of_reward(reward: RewardModel) -> Scorer:
    if reward.set_dependent:
        raise ConfigError(_why_not(type(reward).__name__))
    if isinstance(reward, JudgeReward):
        name = f"judge {canonical(reward.identity())}"
        return Scorer(name, lambda _: reward, judge=reward)
    config = reward.config()
    # Who does not say what it is cannot be known again: its scores are made anew. Not by its
    # `id`, which another one may have later.
    anew = f"{type(reward).__name__} {uuid.uuid4().hex}"
    name = canonical(fingerprint(config)) if config else anew
    return Scorer(name, lambda _: reward)


def _why_not(name: str) -> str:
    return (
        f"{name} scores a response by the others drawn with it, so no column can hold its score; "
        "leave the column empty: training and evaluation compute agreement from the responses"
    )


def _checked(check: str) -> Callable[[str, str], float]:
    try:
        parsed = parse_check(check)
    except ValidationError as error:
        raise DataError(f"check {check[:80]!r} cannot be read") from error
    return lambda query, response: verify(parsed, response)


def _of_function(place: str) -> Scorer:
    source, _, name = place.rpartition(":")
    module = _module(source)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{source} has no function {name!r}")
    file = inspect.getsourcefile(module)
    digest = hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()
    reward = FunctionReward(function)
    return Scorer(f"function {name} of {digest}", lambda _: reward)


def _module(source: str) -> ModuleType:
    """A Python file or a module; an error inside of it is the user's to see."""
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            raise ConfigError(f"no module {source!r}: {error}") from error
    spec = importlib.util.spec_from_file_location(Path(source).stem, source)
    if not Path(source).is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"no file {source!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
