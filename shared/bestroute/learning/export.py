"""A router whose transformer encoder runs in ONNX Runtime, in int8: `bestroute export`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute.engine import BestRoute
from bestroute.errors import ConfigError
from bestroute.policy.base import Thresholded
from bestroute.routers.onnx import MODEL_FILE, OUTSIDE, TOKENIZER_FILE, OnnxEncoder
from bestroute.routers.transformer import TransformerEncoder

_FEATURE, _EXTRA = "Exporting to ONNX", "export"
_TEXTS = (
    "What is the capital of France?",
    "Write a Python function that sorts a list of numbers, then explain why it works. " * 8,
)
_LEAST_COSINE = 0.9


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        engine: The exported router, ready to route.
        difference: Largest difference of a match probability to the original router, on the
            queries given; 0 without any.
    """

    engine: BestRoute
    difference: float


def export(router: str | Path, output: str | Path, *, queries: Sequence[str] = ()) -> Exported:
    """Save a router again, its transformer encoders as int8 ONNX graphs.

    Weights are quantised here, activations as they come (dynamic). The threshold stays; what
    calibration promised held for the original probabilities and is left out: `bestroute
    calibrate` finds it again.

    Args:
        router: Directory or hub id of a saved router.
        output: Directory of the new one, which needs neither torch nor transformers.
        queries: To compare match probabilities on.

    Raises:
        ConfigError: The router has no transformer encoder, or one that cannot be exported; or
            the output is the router itself.
        MissingExtraError: The extra `export` is not installed.
    """
    if Path(router).resolve() == Path(output).resolve():
        raise ConfigError(f"{output} is the router itself: name another directory")
    engine = BestRoute.from_pretrained(router)
    if engine.router is None or not (parts := _encoded(engine.router)):
        raise ConfigError(f"{router} has no transformer encoder: there is nothing to export")
    before = engine.router.predict(queries).match
    with tempfile.TemporaryDirectory() as folder:
        exported: dict[str, OnnxEncoder] = {}
        for part in parts:
            digest = part.encoder.config()["digest"]
            if digest not in exported:
                target = Path(folder) / str(len(exported))
                exported[digest] = export_encoder(part.encoder, target)
            part.encoder = exported[digest]
        if engine.calibration is not None and isinstance(engine.policy, Thresholded):
            engine.policy = engine.policy.at(vars(engine.policy)["threshold"])
        engine.calibration = None
        engine.save_pretrained(output)
    after = engine.router.predict(queries).match
    return Exported(BestRoute.from_pretrained(output), float(np.abs(after - before).max(initial=0)))


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
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for module in ("onnxruntime", "onnxscript", "onnx"):
        require(module, feature=_FEATURE, extra=_EXTRA)
    from bestroute.learning.onnx_graph import write_int8

    write_int8(encoder, target / MODEL_FILE)
    if OUTSIDE in (target / MODEL_FILE).read_bytes():
        raise ConfigError(f"{encoder.name} has parts named {OUTSIDE.decode()!r}: rename them")
    encoder.save_tokenizer(target / TOKENIZER_FILE)
    made = OnnxEncoder(target, max_tokens=encoder.max_tokens)
    cosine = float((made.encode(_TEXTS) * encoder.encode(_TEXTS)).sum(axis=1).min())
    if not cosine >= _LEAST_COSINE:
        raise ConfigError(f"{encoder.name} in int8 is too unlike itself (cosine {cosine:.2f})")
    return made
