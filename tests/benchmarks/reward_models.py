"""Reward models to be timed, of real shapes and random weights, and pairs to score."""

from __future__ import annotations

import math
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks.routers import DATA

Pairs = list[tuple[str, str]]

QUERIES, SAMPLES = 100, 5
_WORDS = "sum map tax river prove list date code poem price speed graph verb cell root rate".split()
_VOCABULARY = 32_000


def save_minilm(folder: Path) -> Path:
    """The shape of all-MiniLM-L6-v2: 6 layers, 384 wide."""
    from transformers import BertConfig, BertForSequenceClassification

    size: dict[str, Any] = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}
    config = BertConfig(
        vocab_size=_VOCABULARY, num_attention_heads=12, num_labels=1, initializer_range=0.1, **size
    )
    return _save(BertForSequenceClassification(config), folder)


def _save(model: Any, folder: Path) -> Path:
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    spec = find_spec("wordllama")
    assert spec and spec.submodule_search_locations
    file = "tokenizers/l2_supercat_tokenizer_config.json"
    raw = Tokenizer.from_file(str(Path(spec.submodule_search_locations[0]) / file))
    raw.no_padding()
    raw.no_truncation()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<unk>",
        unk_token="<unk>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def recorded() -> Pairs:
    """Shipped questions with five shipped responses each: short, and often alike."""
    from bestroute.learning.samples import read_samples

    table = read_samples(DATA / "demo_samples.parquet")
    columns = (table[name].to_pylist() for name in ("model", "query", "response"))
    responses: dict[str, list[str]] = {}
    for model, query, response in zip(*columns, strict=True):
        if model == "qwen2.5-coder-0.5b":
            responses.setdefault(query, []).append(response)
    chosen = random.Random(0).sample(sorted(responses), QUERIES)
    return [(query, each) for query in chosen for each in responses[query][:SAMPLES]]


def made_up() -> Pairs:
    """Queries of 6 to 60 words, responses of 6 to 300, all different; most are short."""
    rng = random.Random(0)

    def text(longest: int) -> str:
        words = round(math.exp(rng.uniform(math.log(6), math.log(longest))))
        return " ".join(rng.choices(_WORDS, k=words))

    queries = [text(60) for _ in range(QUERIES)]
    return [(query, text(300)) for query in queries for _ in range(SAMPLES)]
