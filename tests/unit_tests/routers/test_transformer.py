"""A transformer encoder, on a tiny random model that the test builds and saves."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bestroute.errors import ArtifactError, ConfigError
from bestroute.routers import Encoder, TransformerEncoder, load_encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "?"]


def save_model(folder, seed=0):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    core = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    core.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=32,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(scope="module")
def encoder(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield TransformerEncoder(folder, device="cpu")


def test_it_is_an_encoder_within_the_limits_of_its_model(encoder):
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == 16
    assert encoder.max_tokens == 32


def test_vectors_are_the_mean_of_the_hidden_states(encoder, folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(**tokenizer("the cat sat", return_tensors="pt")).last_hidden_state[0]
    mean = states.mean(dim=0).numpy()
    assert np.allclose(encoder.encode(["the cat sat"])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_padding_changes_nothing(encoder):
    texts = ["the cat sat on a mat", "dog", "", "a dog ran far ?"] * 12
    alone = np.concatenate([encoder.encode([text]) for text in texts[:4]])
    assert np.allclose(encoder.encode(texts)[-4:], alone, atol=1e-5)


def test_a_text_longer_than_the_model_is_read_to_its_end(encoder):
    filler = "the cat sat on a mat " * 9
    plain, changed = encoder.encode([filler + "the", filler + "far"])
    assert not np.allclose(plain, changed, atol=1e-6)


def test_odd_texts_give_finite_vectors(encoder):
    odd = ["", " ", "\ud800", "\x00", "x" * 1_000_000, "the cat " * 125_000, "?" * 100_000]
    vectors = encoder.encode(odd)
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert encoder.encode([]).shape == (0, 16)


def test_a_long_text_costs_a_bounded_number_of_runs(encoder):
    rows = []
    hook = encoder._model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    encoder.encode(["?" * 1_000_000])
    hook.remove()
    assert sum(count for count, _ in rows) == 16
    assert max(length for _, length in rows) == encoder.max_tokens


def test_threads_share_an_encoder(encoder):
    texts = ["the cat sat", "a dog ran far " * 20]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(encoder.encode, [texts] * 16):
            assert np.allclose(vectors, expected, atol=1e-5)


def test_config_builds_it_again(encoder):
    config = json.loads(json.dumps(encoder.config()))
    again = load_encoder(config)
    assert np.allclose(again.encode(["the mat"]), encoder.encode(["the mat"]), atol=1e-6)


def test_other_weights_are_refused(encoder, tmp_path):
    other = save_model(tmp_path, seed=1)
    with pytest.raises(ArtifactError, match="weights"):
        load_encoder({**encoder.config(), "name": str(other)})
    with pytest.raises(ArtifactError, match="name"):
        load_encoder({"kind": "transformer"})


def test_a_model_without_safetensors_is_refused(folder, tmp_path):
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    state = transformers.AutoModel.from_pretrained(folder).state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        TransformerEncoder(tmp_path)
