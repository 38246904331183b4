"""A transformer as an ONNX graph; importing this imports torch and onnx."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from bestroute._onnx import INPUT_IDS, MOST_BYTES, TYPE_IDS
from bestroute.errors import ConfigError


class Sums(torch.nn.Module):
    """Token ids [1, tokens] -> sum of the last hidden states [dimension].

    Args:
        model: An encoder.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """One run, nothing of it masked."""
        hidden = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.as_tensor(hidden[0].sum(dim=0))


class Logit(torch.nn.Module):
    """Token ids, and types where the model reads them, [1, tokens] -> its one logit [1].

    Args:
        model: A sequence classifier.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """One pair, nothing of it masked."""
        more = {} if types is None else {TYPE_IDS: types}
        found = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), **more)
        return torch.as_tensor(found.logits[0])


def write_graph(
    module: torch.nn.Module, path: Path, *, longest: int, types: bool = False, int8: bool = True
) -> None:
    """Write a module's graph, in int8 its embeddings and products of matrices.

    Weights are scaled by output channel, in 7 bits: what all CPUs multiply without overflow.
    Products that narrow stay in float32: those of a feed-forward layer's wide inputs, whose
    outliers one scale for all does not serve.

    Args:
        module: `Sums` or `Logit`.
        path: Where to.
        longest: Most tokens.
        types: Whether it reads token types beside the ids.
        int8: Otherwise all stays in float32.

    Raises:
        ConfigError: In float32 it is too large.
    """
    inputs = (INPUT_IDS, TYPE_IDS) if types else (INPUT_IDS,)
    with _quiet():
        program = _trace(module, inputs, longest)
        if not int8:
            _save(program, path)
            return
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "float32.onnx"
            program.save(plain)
            quantize_dynamic(
                plain,
                path,
                op_types_to_quantize=["MatMul", "Gather"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_narrowing(onnx.load(plain).graph),
            )


def _trace(module: torch.nn.Module, inputs: Sequence[str], longest: int) -> Any:
    tokens = torch.export.Dim("tokens", min=1, max=longest)
    program = torch.onnx.export(
        module.cpu().eval(),
        tuple(torch.ones(1, min(longest, 9), dtype=torch.long) for _ in inputs),
        dynamo=True,
        input_names=list(inputs),
        dynamic_shapes=tuple({1: tokens} for _ in inputs),
        verbose=False,
    )
    assert program is not None
    return program


def _save(program: Any, path: Path) -> None:
    """In one file; by itself torch puts weights of more than 1.5 GiB beside it."""
    held = [each.const_value for each in program.model.graph.initializers.values()]
    size = sum(each.nbytes for each in held if each is not None)
    if size >= MOST_BYTES:
        raise ConfigError(f"weights of {size / 2**30:.1f} GiB are more than one graph holds (2)")
    path.write_bytes(program.model_proto.SerializeToString())


def _narrowing(graph: Any) -> list[str]:
    """Names of the products by a weight that has fewer columns than rows."""
    narrow = {each.name for each in graph.initializer if _narrows(each.dims)}
    products = (node for node in graph.node if node.op_type == "MatMul")
    return [node.name for node in products if narrow & set(node.input)]


def _narrows(shape: Any) -> bool:
    return len(shape) == 2 and shape[0] > shape[1]


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters tell every step to the root logger."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
