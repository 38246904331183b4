"""A sequence-classification reward model: a tiny real one, made here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from bestroute.errors import ArtifactError, ConfigError, ScoreError
from bestroute.rewards import ClassifierReward, load_reward
from tests.tiny_reward import WORDS, save_model, tokenizer

QUERY = "a b c"
RESPONSES = ["d e f g h i j", "k", "l m n", "o p q r s t u v w", "x y", "d"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("reward"))


@pytest.fixture
def reward(folder: Path) -> ClassifierReward:
    return ClassifierReward(str(folder), device="cpu", batch_tokens=44)


def scores_alone(reward: ClassifierReward, query: str, responses: list[str]) -> list[float]:
    return [float(reward.score(query, [response])[0]) for response in responses]


def test_scores_are_the_models_logits(folder: Path, reward: ClassifierReward) -> None:
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([[2, *map(WORDS.index, "abc"), 3, *map(WORDS.index, "de"), 3]])
    types = torch.tensor([[0] * 5 + [1] * 3])
    with torch.inference_mode():
        logit = model(input_ids=ids, token_type_ids=types).logits.item()
    assert reward.score("a b c", ["d e"]).tolist() == pytest.approx([logit], abs=1e-4)


def test_a_batch_scores_as_each_alone(reward: ClassifierReward) -> None:
    batched = reward.score(QUERY, RESPONSES)
    assert batched.dtype == np.float64
    assert batched.tolist() == pytest.approx(scores_alone(reward, QUERY, RESPONSES), abs=1e-4)
    assert np.ptp(batched) > 0.1  # a constant would pass for anything


def test_order_does_not_matter(reward: ClassifierReward) -> None:
    forward, backward = reward.score(QUERY, RESPONSES), reward.score(QUERY, RESPONSES[::-1])
    assert backward[::-1].tolist() == pytest.approx(forward.tolist(), abs=1e-4)


def test_pairs_of_several_queries(reward: ClassifierReward) -> None:
    pairs = [(query, response) for query in ("a", "b c d") for response in RESPONSES]
    expected = [reward.score(query, [response])[0] for query, response in pairs]
    assert reward.score_many(pairs).tolist() == pytest.approx(expected, abs=1e-4)


def test_no_responses_no_scores(reward: ClassifierReward) -> None:
    assert reward.score(QUERY, []).shape == (0,)


def test_batches_hold_pairs_of_like_length_within_so_many_tokens(
    reward: ClassifierReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = watch(reward, monkeypatch)
    reward.score("a", [text for each in "bcde" for text in (each, f"{each} f g h i j k")])
    assert shapes == [(4, 11), (4, 5)]
    shapes.clear()
    reward.score("a", [" ".join("bcdefghijklmnopqrstuvwxyz" * 2), *"bcdefghijk"])
    assert shapes == [(1, 54), (8, 5), (2, 5)]  # one that is longer goes alone


def test_equal_pairs_are_scored_once(
    reward: ClassifierReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = reward.score("a", ["b", "c d"]).tolist()
    shapes = watch(reward, monkeypatch)
    scores = reward.score("a", ["b", "c d", "b", "b", "c d"]).tolist()
    assert scores == pytest.approx([once[i] for i in (0, 1, 0, 0, 1)], abs=1e-4)
    assert shapes == [(2, 6)]


def test_a_text_of_a_megabyte_takes_no_longer_than_what_is_kept_of_it(folder: Path) -> None:
    reward = ClassifierReward(str(folder), device="cpu", max_tokens=16)
    kept = reward.score("a b c d", ["x y z " * 12])
    began = time.process_time()
    assert reward.score("q " * 500_000 + "a b c d", ["w " * 500_000 + "x y z " * 12]) == kept
    assert time.process_time() - began < 1


def watch(
    reward: ClassifierReward,
    monkeypatch: pytest.MonkeyPatch,
    memory: float = float("inf"),
    error: Exception | None = None,
) -> list[tuple[int, ...]]:
    """Shapes of the batches that pass; larger ones than `memory` do not fit."""
    refusal = error or torch.cuda.OutOfMemoryError("too much")
    shapes: list[tuple[int, ...]] = []
    forward = BertForSequenceClassification.forward

    def limited(self: Any, **inputs: Any) -> Any:
        if len(inputs["input_ids"]) > memory:
            raise refusal
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(self, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", limited)
    return shapes


NO_MEMORY = [
    torch.cuda.OutOfMemoryError("too much"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=["cuda", "python", "cpu"])
def test_out_of_memory_halves_the_batch_for_good(
    reward: ClassifierReward, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = reward.score(QUERY, RESPONSES)
    shapes = watch(reward, monkeypatch, memory=1, error=error)
    assert reward.score(QUERY, RESPONSES).tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert {size for size, _ in shapes} == {1}
    watch(reward, monkeypatch, memory=0, error=error)
    with pytest.raises(ScoreError, match="out of memory"):
        reward.score(QUERY, RESPONSES)


def test_another_failure_of_torch_is_not_taken_for_a_lack_of_memory(
    reward: ClassifierReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(reward, monkeypatch, memory=0, error=RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side"):
        reward.score(QUERY, RESPONSES)


def test_too_long_a_pair_loses_its_query_first_then_the_responses_beginning(folder: Path) -> None:
    short = ClassifierReward(str(folder), device="cpu", max_tokens=16)
    whole = ClassifierReward(str(folder), device="cpu", max_tokens=64)
    # Room for 16 tokens less 3 special ones; the query keeps at least 4.
    for query, response, kept_query, kept_response in [
        ("a b c d " * 5, "x y z", "c d a b c d a b c d", "x y z"),
        ("a b c d " * 5, "x y z " * 12, "a b c d", "x y z x y z x y z"),
        ("a b", "x y z " * 12, "a b", "y z x y z x y z x y z"),
        ("a b c d " * 5, "", "d a b c d a b c d a b c d", ""),
    ]:
        expected = whole.score(kept_query, [kept_response]).tolist()
        assert short.score(query, [response]).tolist() == pytest.approx(expected, abs=1e-4)


def test_a_chat_template_is_used(folder: Path, tmp_path: Path) -> None:
    BertForSequenceClassification.from_pretrained(folder).save_pretrained(tmp_path)
    tokenizer(tmp_path, "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}")
    templated = ClassifierReward(str(tmp_path), device="cpu", max_tokens=12)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    ids = [WORDS.index(word) for word in "user a b assistant c".split()]
    with torch.inference_mode():
        logit = model(input_ids=torch.tensor([ids])).logits.item()
    assert templated.score("a b", ["c"]).tolist() == pytest.approx([logit], abs=1e-4)
    assert np.isfinite(templated.score("a " * 99, ["c " * 99])).all()


def test_a_decoder_without_a_padding_token_can_be_batched(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=1, initializer_range=1.0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", eos_token="[SEP]"
    ).save_pretrained(tmp_path)
    reward = ClassifierReward(str(tmp_path), device="cpu")
    alone = scores_alone(reward, QUERY, RESPONSES)
    assert reward.score(QUERY, RESPONSES).tolist() == pytest.approx(alone, abs=1e-4)


def test_nan_is_an_error(tmp_path: Path) -> None:
    broken = ClassifierReward(str(save_model(tmp_path, weight=float("nan"))), device="cpu")
    with pytest.raises(ScoreError, match="NaN"):
        broken.score(QUERY, RESPONSES)


def test_more_than_one_logit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 logits"):
        ClassifierReward(str(save_model(tmp_path, labels=2)))


def test_a_model_without_a_trained_head_is_refused(folder: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(folder)
    model.bert.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="random"):
        ClassifierReward(str(tmp_path))


@pytest.fixture
def pickled(folder: Path, tmp_path: Path) -> Iterator[Path]:
    model = BertForSequenceClassification.from_pretrained(folder)
    model.config.save_pretrained(tmp_path)
    tokenizer(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    yield tmp_path


def test_pickled_weights_are_refused(pickled: Path) -> None:
    with pytest.raises(ConfigError, match="safetensors"):
        ClassifierReward(str(pickled))


def test_an_absent_model_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        ClassifierReward(str(tmp_path / "nothing"))


def test_it_can_be_saved_and_built_again(folder: Path, reward: ClassifierReward) -> None:
    config = json.loads(json.dumps(reward.config()))
    built = load_reward({**config, "trust_remote_code": True})
    assert built.score(QUERY, RESPONSES).tolist() == pytest.approx(
        reward.score(QUERY, RESPONSES).tolist(), abs=1e-4
    )
    assert "trust_remote_code" not in config


@pytest.mark.parametrize("damage", [{"name_or_path": None}, {"revision": 3}, {"max_tokens": "x"}])
def test_damaged_descriptions_are_refused(
    reward: ClassifierReward, damage: dict[str, object]
) -> None:
    with pytest.raises(ArtifactError, match="damaged"):
        load_reward({**reward.config(), **damage})


OWN_CODE = """
from dataclasses import dataclass
import torch
from transformers import BertForSequenceClassification
from transformers.utils import ModelOutput

@dataclass
class Output(ModelOutput):
    logits: torch.Tensor = None
    {field}: torch.Tensor = None

class Gated(BertForSequenceClassification):
    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **kwargs):
        output = super().forward(input_ids, attention_mask, token_type_ids)
        gate = torch.arange(output.logits.shape[-1]).float()
        return Output(logits=output.logits, {field}=output.logits @ gate)
"""


@pytest.fixture
def with_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A model of 19 logits whose own code makes one field out of them, as ArmoRM's does."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "hf"))

    def save(field: str) -> Path:
        folder = save_model(tmp_path / f"own_{field}", labels=19)
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModelForSequenceClassification": "own_code.Gated"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "own_code.py").write_text(OWN_CODE.format(field=field))
        return folder

    return save


def test_a_models_own_code_scores_only_if_it_is_trusted(with_code: Callable[[str], Path]) -> None:
    folder = with_code("score")
    with pytest.raises(ConfigError, match="19 logits.*trust_remote_code=True"):
        ClassifierReward(str(folder), device="cpu")
    reward = ClassifierReward(str(folder), device="cpu", trust_remote_code=True)
    plain = BertForSequenceClassification.from_pretrained(folder).eval()
    tokens = PreTrainedTokenizerFast.from_pretrained(folder)
    with torch.inference_mode():
        logits = [plain(**tokens(QUERY, each, return_tensors="pt")).logits[0] for each in RESPONSES]
    expected = [float(each @ torch.arange(19).float()) for each in logits]
    assert reward.score(QUERY, RESPONSES).tolist() == pytest.approx(expected, rel=1e-3)
    with pytest.raises(ConfigError, match="19 logits"):  # an artifact carries no such trust
        load_reward(reward.config())


def test_own_code_that_gives_no_score_is_an_error(with_code: Callable[[str], Path]) -> None:
    reward = ClassifierReward(str(with_code("rewards")), device="cpu", trust_remote_code=True)
    with pytest.raises(ScoreError, match="19 logits and no score"):
        reward.score(QUERY, RESPONSES)
