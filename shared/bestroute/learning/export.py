"""A router, or a reward model, whose transformer runs in ONNX Runtime: `bestroute export`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bestroute._extras import require
from bestroute._onnx import MODEL_FILE, OUTSIDE, TOKENIZER_FILE
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError
from bestroute.policy.base import Thresholded
from bestroute.rewards.base import RewardModel
from bestroute.rewards.classifier import ClassifierReward
from bestroute.rewards.folder import CONFIG_FILE
from bestroute.rewards.onnx import OnnxReward, describe
from bestroute.routers.onnx import OnnxEncoder
from bestroute.routers.transformer import TransformerEncoder

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

SampleSets = Sequence[tuple[str, Sequence[str]]]
"""Queries, each with the responses that the best is picked of."""

_SET = 5
_FEATURE, _EXTRA = "Exporting to ONNX", "export"
_TEXTS = (
    "What is the capital of France?",
    "Write a Python function that sorts a list of numbers, then explain why it works. " * 8,
)
_LEAST_COSINE = 0.9

_PAIRS = [(_TEXTS[0], response) for response in ("Paris.", "It is Berlin, I think.", "")]
_TOLERANCE = 1e-3

_ROUNDING = 1e-5
"""Of float32: texts that a tokenizer takes for the same differ by less."""


@dataclass(frozen=True)
class Agreement:
    """How a reward model's picks are after its export.

    Attributes:
        sets: Sample sets of more than one distinct response that were compared on.
        same: Share of the sets of which both pick the same response, or an equally good one.
        correlation: Pearson's, of all scores of those sets.
    """

    sets: int
    same: float
    correlation: float


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        engine: The exported router, ready to route.
        difference: Largest difference of a match probability to the original router, on the
            queries given; 0 without any.
        agreement: Of the reward model, on the sample sets given; `None` where none was exported,
            or without any.
    """

    engine: BestRoute
    difference: float
    agreement: Agreement | None = None


def export(
    router: str | Path,
    output: str | Path,
    *,
    queries: Sequence[str] = (),
    sample_sets: SampleSets = (),
    int8_reward: bool = False,
) -> Exported:
    """Save a router again, its transformer encoders and its reward model as ONNX graphs.

    Encoders are in int8, weights quantised here, activations as they come (dynamic); reward
    models in float32. The threshold stays; what calibration promised held for the original
    numbers and is left out: `bestroute calibrate` finds it again.

    Args:
        router: Directory or hub id of a saved router.
        output: Directory of the new one, which needs neither torch nor transformers, unless a
            reward model that cannot be exported stays as it is; a warning says so.
        queries: To compare match probabilities on.
        sample_sets: To compare the reward model's picks on.
        int8_reward: Whether a `ClassifierReward` is in int8, too; in float32 it scores as before.

    Raises:
        ConfigError: The router has no transformer, or one that cannot be exported; or the output
            is the router itself.
        MissingExtraError: The extra `export` is not installed.
    """
    if Path(router).resolve() == Path(output).resolve():
        raise ConfigError(f"{output} is the router itself: name another directory")
    engine = BestRoute.from_pretrained(router)
    parts = _encoded(engine.router)
    old = engine.reward
    if engine.router is None or not (parts or isinstance(old, ClassifierReward)):
        raise ConfigError(f"{router} has no transformer encoder: there is nothing to export")
    before = engine.router.predict(queries).match
    with tempfile.TemporaryDirectory() as folder:
        _replace_encoders(parts, Path(folder))
        if isinstance(old, ClassifierReward):
            try:
                engine.reward = export_reward(old, Path(folder) / "reward", int8=int8_reward)
            except ConfigError as error:
                if not parts:
                    raise
                _log.warning("the reward model stays as it is, and needs torch: %s", error)
        if engine.calibration is not None and isinstance(engine.policy, Thresholded):
            engine.policy = engine.policy.at(vars(engine.policy)["threshold"])
        engine.calibration = None
        engine.save_pretrained(output)
        difference = float(np.abs(engine.router.predict(queries).match - before).max(initial=0))
        new = engine.reward
    agreement = None if new is old else agreement_of(old, new, sample_sets)
    return Exported(BestRoute.from_pretrained(output), difference, agreement)


def _replace_encoders(parts: Sequence[Any], folder: Path) -> None:
    exported: dict[str, OnnxEncoder] = {}
    for part in parts:
        digest = part.encoder.config()["digest"]
        if digest not in exported:
            exported[digest] = export_encoder(part.encoder, folder / str(len(exported)))
        part.encoder = exported[digest]


def _encoded(router: Any) -> list[Any]:
    """The routers, within one another, that have a transformer encoder."""
    inner = [*getattr(router, "routers", ()), getattr(router, "router", None)]
    found = [part for each in inner if each is not None for part in _encoded(each)]
    own = isinstance(getattr(router, "encoder", None), TransformerEncoder)
    return [router, *found] if own else found


def export_encoder(encoder: TransformerEncoder, folder: str | Path) -> OnnxEncoder:
    """Write an encoder as `model.onnx` (int8) and `tokenizer.json`.

    Raises:
        ConfigError: It cannot be exported, or not faithfully.
        MissingExtraError: The extra `export` is not installed.
    """
    graph = _graphs().Sums(encoder.module())
    _write(encoder, graph, Path(folder), longest=encoder.max_tokens)
    made = OnnxEncoder(folder, max_tokens=encoder.max_tokens)
    cosine = float((made.encode(_TEXTS) * encoder.encode(_TEXTS)).sum(axis=1).min())
    if not cosine >= _LEAST_COSINE:
        raise ConfigError(f"{encoder.name} in int8 is too unlike itself (cosine {cosine:.2f})")
    return made


def export_reward(
    reward: ClassifierReward, folder: str | Path, *, int8: bool = False
) -> OnnxReward:
    """Write a reward model as `model.onnx`, `tokenizer.json` and `reward.json`.

    Args:
        reward: A sequence classifier.
        folder: Where to; `OnnxReward` loads it.
        int8: Embeddings and products of matrices in int8, which moves scores enough to change
            some picks: see `agreement_of`.

    Raises:
        ConfigError: It cannot be exported, for it reads pairs as a chat, or its own code scores;
            or not faithfully.
        MissingExtraError: The extra `export` is not installed.
    """
    target, model = Path(folder), reward.module()
    if target.resolve() == Path(reward.name).resolve():
        raise ConfigError(f"{target} is the reward model itself: name another directory")
    if reward.tokens.templated:
        raise ConfigError(f"{reward.name} reads pairs as a chat, which an export cannot")
    if model.config.num_labels != 1:
        raise ConfigError(f"{reward.name} scores by code of its own, which an export cannot hold")
    positions = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    longest = min(limit for limit in (reward.tokens.max_tokens, positions) if limit > 0)
    graph = _graphs().Logit(model)
    _write(reward, graph, target, longest=longest, types=reward.tokens.typed, int8=int8)
    describe(target, max_tokens=longest)
    made = OnnxReward(target)
    if not int8 and not np.allclose(
        made.score_many(_PAIRS), reward.score_many(_PAIRS), rtol=_TOLERANCE, atol=_TOLERANCE
    ):
        (target / CONFIG_FILE).unlink()  # so that nobody loads it
        raise ConfigError(f"{reward.name} scores otherwise once it is exported")
    return made


def _graphs() -> Any:
    """The module that makes them; to import it imports torch."""
    for module in ("onnxruntime", "onnxscript", "onnx"):
        require(module, feature=_FEATURE, extra=_EXTRA)
    from bestroute.learning import onnx_graph

    return onnx_graph


def _write(
    model: TransformerEncoder | ClassifierReward, graph: Any, target: Path, **options: Any
) -> None:
    """Graph and tokenizer."""
    target.mkdir(parents=True, exist_ok=True)
    _graphs().write_graph(graph, target / MODEL_FILE, **options)
    if OUTSIDE in (target / MODEL_FILE).read_bytes():
        raise ConfigError(f"{model.name} has parts named {OUTSIDE.decode()!r}: rename them")
    model.save_tokenizer(target / TOKENIZER_FILE)


def agreement_of(old: RewardModel, new: RewardModel, sample_sets: SampleSets) -> Agreement | None:
    """How often two reward models pick the same of a sample set, and how alike they score.

    Args:
        old: One.
        new: The other one.
        sample_sets: To compare on; those of equal responses leave nothing to pick.
    """
    sets = [(query, list(dict.fromkeys(responses))) for query, responses in sample_sets]
    scores = [
        (old.score(query, texts), new.score(query, texts))
        for query, texts in sets
        if len(texts) > 1
    ]
    if not scores:
        return None
    same = np.mean([one.max() - one[other.argmax()] <= _ROUNDING for one, other in scores])
    flat = [np.concatenate(each) for each in zip(*scores, strict=True)]
    return Agreement(len(scores), float(same), float(np.corrcoef(flat)[0, 1]))


def held_out_sets(table: pa.Table) -> list[tuple[str, list[str]]]:
    """Sample sets of a table's test split: of each model's responses, five or what is left."""
    names = ("split", "query", "model", "response")
    responses: dict[tuple[str, str], list[str]] = {}
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    for split, query, model, response in rows:
        if split == "test":
            responses.setdefault((query, model), []).append(response)
    return [
        (query, some[begin : begin + _SET])
        for (query, _), some in responses.items()
        for begin in range(0, len(some), _SET)
    ]
