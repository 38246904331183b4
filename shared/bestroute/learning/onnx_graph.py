"""A transformer encoder as an ONNX graph in int8; importing this imports torch and onnx."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from bestroute.routers.onnx import INPUT, OUTPUT
from bestroute.routers.transformer import TransformerEncoder


class _Sums(torch.nn.Module):
    """Token ids [1, tokens] -> sum of the last hidden states [dimension]."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """One run, nothing of it masked."""
        hidden = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.as_tensor(hidden[0].sum(dim=0))


def write_int8(encoder: TransformerEncoder, path: Path) -> None:
    """Write the encoder's graph, embeddings and products of matrices in int8.

    Weights are scaled by output channel, in 7 bits: what all CPUs multiply without overflow.
    Products that narrow stay in float32: those of a feed-forward layer's wide inputs, whose
    outliers one scale for all does not serve.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain = Path(folder) / "float32.onnx"
        _trace(encoder, plain)
        quantize_dynamic(
            plain,
            path,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_narrowing(onnx.load(plain).graph),
        )


def _trace(encoder: TransformerEncoder, path: Path) -> None:
    module = _Sums(encoder.module().cpu()).eval()
    longest = encoder.max_tokens
    tokens = torch.export.Dim("tokens", min=1, max=longest)
    program = torch.onnx.export(
        module,
        (torch.ones(1, min(longest, 9), dtype=torch.long),),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({1: tokens},),
        verbose=False,
    )
    assert program is not None
    program.save(path)


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
