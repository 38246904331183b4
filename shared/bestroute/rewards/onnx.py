"""A sequence classifier that ONNX Runtime runs: exported by `bestroute export`, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._onnx import INPUT_IDS, TYPE_IDS, Graph, digest_of
from bestroute.errors import ArtifactError
from bestroute.rewards.base import Scores
from bestroute.rewards.encoded import EncodedReward
from bestroute.rewards.folder import read_description, write_description
from bestroute.rewards.tokens import PairTokenizer

KIND = "onnx"


class OnnxReward(EncodedReward):
    """A `ClassifierReward`, exported; pairs are read as it reads them.

    Pairs run one at a time, side by side on the cores, so that a score does not depend on what
    else is in the batch: int8 activations are scaled by all that is fed together.

    Args:
        folder: Holds `model.onnx`, `tokenizer.json` and `reward.json`.
        threads: Of one run, and runs at once; 0 takes what the machine has.

    Raises:
        MissingExtraError: The extra `onnx` is not installed.
        ArtifactError: A file is missing, damaged or another one than was saved, or the graph
            refers to other files.
    """

    def __init__(self, folder: str | Path, *, threads: int = 0) -> None:
        description = read_description(Path(folder))
        max_tokens = description.get("max_tokens")
        if description.get("kind") != KIND or not isinstance(max_tokens, int) or max_tokens < 8:
            raise ArtifactError(f"{folder} is not described as an exported reward model")
        self._folder = str(folder)
        self._graph = Graph(folder, what="reward model", threads=threads)
        self._graph.must_be(description.get("digest"))
        if self._graph.probe.shape != (1,):
            raise ArtifactError(f"{folder} holds a model that gives no one score")
        super().__init__(
            self._folder, PairTokenizer(_Columns(self._graph.tokenizer, max_tokens), max_tokens)
        )

    def _logits(self, encoded: Sequence[Mapping[str, Any]]) -> Scores:
        return np.array(self._graph.side_by_side(self._logit, encoded), dtype=np.float64)

    def _logit(self, tokens: Mapping[str, Any]) -> float:
        return float(self._graph.run(tokens)[0])

    def config(self) -> dict[str, Any]:
        """Kind, folder, and SHA-256 of graph and tokenizer."""
        return {"kind": KIND, "name_or_path": self._folder, "digest": self._graph.digest}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OnnxReward:
        """Build what `config` described.

        Raises:
            ArtifactError: The description, or what lies in the folder, is damaged.
        """
        folder = config.get("name_or_path")
        if not isinstance(folder, str):
            raise ArtifactError("the ONNX reward model's folder is not named")
        reward = cls(folder)
        if "digest" in config:  # a folder by itself has its own
            reward._graph.must_be(config["digest"])
        return reward


def describe(folder: Path, *, max_tokens: int) -> None:
    """Write `reward.json` beside the graph and tokenizer that lie in a folder."""
    description = {"kind": KIND, "max_tokens": max_tokens, "digest": digest_of(folder)}
    write_description(folder, description)


class _Columns:
    """A tokenizer of `tokenizers`, asked as `PairTokenizer` asks one of `transformers`."""

    is_fast, pad_token_id, chat_template = True, 0, None
    model_input_names = (INPUT_IDS, TYPE_IDS)

    def __init__(self, tokenizer: Any, model_max_length: int) -> None:
        self._tokenizer, self.model_max_length = tokenizer, model_max_length

    def __call__(
        self,
        texts: Sequence[str],
        others: Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        return_offsets_mapping: bool = False,
    ) -> dict[str, list[Any]]:
        given = texts if others is None else list(zip(texts, others, strict=True))
        found = self._tokenizer.encode_batch(given, add_special_tokens=add_special_tokens)
        columns = {INPUT_IDS: [each.ids for each in found]}
        columns[TYPE_IDS] = [each.type_ids for each in found]
        if return_offsets_mapping:
            columns["offset_mapping"] = [each.offsets for each in found]
        return columns
