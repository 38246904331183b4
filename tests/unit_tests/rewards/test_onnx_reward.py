"""A sequence classifier in ONNX Runtime: scores like the one it was exported from; no torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.errors import ArtifactError, ConfigError, MissingExtraError
from bestroute.rewards import FunctionReward, load_reward

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from bestroute.cli.app import app  # noqa: E402
from bestroute.learning.export import agreement_of, export, export_reward  # noqa: E402
from bestroute.learning.training.train import train_router  # noqa: E402
from bestroute.rewards import ClassifierReward, OnnxReward  # noqa: E402
from bestroute.rewards.folder import load_folder  # noqa: E402
from bestroute.routers import Encoder, StaticEncoder  # noqa: E402
from bestroute.routers.onnx import OnnxEncoder  # noqa: E402
from bestroute.routers.transformer import TransformerEncoder  # noqa: E402
from tests.tiny_bert import save_tiny_bert  # noqa: E402
from tests.tiny_reward import save_model, tokenizer  # noqa: E402

QUERY = "a b c"
RESPONSES = ["d e f g h i j", "k", "l m n", "o p q r s t u v w", "x y", "d", "", "k"]
PRICES = {"price": {"input": 1, "output": 1}}
DATA = Path(bestroute.__file__).parent / "data"
POOL = ModelPool.from_dict(
    {
        "models": [
            {"model": "openai/s", "name": "s", "max_samples": 2, **PRICES},
            {"model": "openai/b", "name": "b", "reference": True, **PRICES},
        ]
    }
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> ClassifierReward:
    folder = save_model(tmp_path_factory.mktemp("torch"), spread=0.3)
    return ClassifierReward(str(folder), device="cpu", max_tokens=16)


@pytest.fixture(scope="module")
def exact(original: ClassifierReward, tmp_path_factory: pytest.TempPathFactory) -> OnnxReward:
    return export_reward(original, tmp_path_factory.mktemp("float32"))


@pytest.fixture(scope="module")
def folder(original: ClassifierReward, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("int8")
    export_reward(original, target, int8=True)
    return target


def test_in_float32_it_scores_as_before(original: ClassifierReward, exact: OnnxReward) -> None:
    scores = exact.score(QUERY, RESPONSES)
    assert np.ptp(scores) > 0.1
    assert scores.tolist() == pytest.approx(original.score(QUERY, RESPONSES).tolist(), abs=1e-4)
    assert exact.score(QUERY, []).shape == (0,)


@pytest.mark.parametrize("query", ["a b c d " * 5, "a b", "q " * 100_000, ""])
@pytest.mark.parametrize("response", ["x y z " * 12, "x y z", "", "x \ud800 y"])
def test_too_long_a_pair_is_cut_as_before(
    original: ClassifierReward, exact: OnnxReward, query: str, response: str
) -> None:
    expected = original.score(query, [response]).tolist()
    assert exact.score(query, [response]).tolist() == pytest.approx(expected, abs=1e-4)


def test_in_int8_it_scores_nearly_as_before(original: ClassifierReward, folder: Path) -> None:
    before, after = (each.score(QUERY, RESPONSES) for each in (original, OnnxReward(folder)))
    assert 1e-4 < np.abs(after - before).max() < 0.2 * np.ptp(before)


def test_a_score_does_not_depend_on_the_batch(folder: Path) -> None:
    reward = OnnxReward(folder)
    alone = [reward.score(QUERY, [response])[0] for response in RESPONSES]
    assert reward.score(QUERY, RESPONSES).tolist() == alone


async def test_concurrent_requests_get_their_own_scores(folder: Path) -> None:
    reward = OnnxReward(folder, threads=2)
    expected = reward.score(QUERY, RESPONSES).tolist()
    assert (await reward.ascore(QUERY, RESPONSES)).tolist() == expected


def test_picks_are_compared_where_there_is_something_to_pick() -> None:
    length, negative = (
        FunctionReward(lambda query, text, sign=sign: sign * len(text)) for sign in (1.0, -1.0)
    )
    sets: list[tuple[str, Sequence[str]]] = [("q", ["a", "a"]), ("q", ["a", "bb", "bb"])]
    same = agreement_of(length, length, sets)
    assert same is not None and (same.sets, same.same) == (1, 1.0)
    assert same.correlation == pytest.approx(1)
    opposite = agreement_of(length, negative, sets)
    assert opposite is not None and opposite.same == 0
    assert opposite.correlation == pytest.approx(-1)
    assert agreement_of(length, length, sets[:1]) is None
    tied = agreement_of(length, negative, [("q", ["aa", "bb"]), ("q", ["a", "bb"])])
    assert tied is not None and tied.same == 0.5


# What is saved


def test_config_and_folder_build_it_again(folder: Path) -> None:
    reward = OnnxReward(folder)
    expected = reward.score(QUERY, RESPONSES).tolist()
    for again in (load_reward(json.loads(json.dumps(reward.config()))), load_folder(folder)):
        assert again.score(QUERY, RESPONSES).tolist() == expected


def changed(folder: Path, target: Path, name: str, content: bytes) -> Path:
    shutil.copytree(folder, target)
    (target / name).write_bytes(content)
    return target


def test_other_files_than_the_saved_ones_are_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "tokenizer.json").read_bytes() + b"\n"
    other = changed(folder, tmp_path / "other", "tokenizer.json", content)
    with pytest.raises(ArtifactError, match="sha256"):
        OnnxReward(other)
    with pytest.raises(ArtifactError, match="sha256"):
        load_reward({**OnnxReward(folder).config(), "digest": "0" * 64})
    with pytest.raises(ArtifactError, match="not named"):
        load_reward({"kind": "onnx"})


def redescribed(folder: Path) -> Path:
    """As one would who has it in for us."""
    from bestroute._onnx import digest_of

    description = json.loads((folder / "reward.json").read_text())
    (folder / "reward.json").write_text(json.dumps({**description, "digest": digest_of(folder)}))
    return folder


def test_a_graph_that_reads_other_files_is_refused(folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    weight = next(each for each in graph.graph.initializer if len(each.raw_data) > 64)
    onnx.external_data_helper.set_external_data(weight, "/etc/passwd", length=64)
    weight.ClearField("raw_data")
    hostile = changed(folder, tmp_path / "hostile", "model.onnx", graph.SerializeToString())
    with pytest.raises(ArtifactError, match="outside"):
        OnnxReward(redescribed(hostile))


def test_a_graph_of_many_logits_is_refused(folder: Path, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor("sizes", onnx.TensorProto.INT64, [1], [-1])
    nodes = [
        onnx.helper.make_node("Cast", ["input_ids"], ["numbers"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Reshape", ["numbers", "sizes"], ["out"]),
    ]
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, "tokens"])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["tokens"])
    graph = onnx.helper.make_graph([*nodes], "many", [ids], [out], [value])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    many = changed(folder, tmp_path / "many", "model.onnx", model.SerializeToString())
    with pytest.raises(ArtifactError, match="no one score"):
        OnnxReward(redescribed(many))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_damaged_or_missing_files_are_named(folder: Path, tmp_path: Path, name: str) -> None:
    damaged = redescribed(changed(folder, tmp_path / "damaged", name, b"{}"))
    with pytest.raises(ArtifactError, match="no reward model that can be run"):
        OnnxReward(damaged)
    (damaged / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        OnnxReward(damaged)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"kind": "onnx"}', b'{"kind": "onnx", "max_tokens": 2}']
)
def test_a_damaged_description_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    damaged = changed(folder, tmp_path / "damaged", "reward.json", content)
    with pytest.raises(ArtifactError, match="damaged|not described"):
        OnnxReward(damaged)


def test_without_the_runtime_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"bestroute\[onnx\]"):
        OnnxReward(folder)


# What is exported


def saved_router(folder: Path, reward: ClassifierReward, encoder: Encoder | None = None) -> Path:
    queries = [f"{letter} b c" for letter in "abcdefghijklmnopqrstuvwxyz"]
    labels = np.column_stack([np.arange(26) % 2, np.arange(26) % 3 > 0, np.ones(26)]).astype(float)
    router = train_router(queries, labels, POOL.arms, "b", encoder=encoder or StaticEncoder())
    BestRoute(POOL, router=router, threshold=0.5, reward=reward).save_pretrained(folder)
    return folder


def test_a_router_s_reward_model_is_exported_and_then_needs_no_torch(
    original: ClassifierReward, tmp_path: Path
) -> None:
    router = saved_router(tmp_path / "torch", original)
    sets = [(query, RESPONSES) for query in ("a", "a b", "c d e")]
    exported = export(router, tmp_path / "onnx", queries=["a b c"], sample_sets=sets)
    assert exported.difference == 0  # the static encoder stays as it is
    assert exported.agreement is not None and exported.agreement.sets == 3
    assert exported.agreement.same == 1
    assert exported.agreement.correlation == pytest.approx(1)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'onnx']))\n"
        "from bestroute import BestRoute\n"
        f"engine = BestRoute.from_pretrained({str(tmp_path / 'onnx')!r})\n"
        f"print(engine.reward.score({QUERY!r}, {RESPONSES!r}).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = original.score(QUERY, RESPONSES).tolist()
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-4)


def test_the_command_exports_a_reward_model_by_itself(
    original: ClassifierReward, tmp_path: Path
) -> None:
    out, found = tmp_path / "onnx", tmp_path / "found.json"
    samples = ["--samples", str(DATA / "demo_samples.parquet")]
    command = ["export", original.name, "-o", str(out), "--json", str(found), *samples]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    agreement = json.loads(found.read_text())["reward"]
    assert 216 < agreement["sets"] <= 216 * (2 + 2 + 1)  # of 10, 10 and 4 responses, five a set
    assert agreement["same"] > 0.99
    made = load_folder(out)
    assert isinstance(made, OnnxReward)
    expected = original.score(QUERY, ["d", "e f"]).tolist()
    assert made.score(QUERY, ["d", "e f"]).tolist() == pytest.approx(expected, abs=1e-4)
    again = CliRunner().invoke(app, ["export", str(out), "-o", str(tmp_path / "again")])
    assert isinstance(again.exception, ConfigError)
    assert "needs no export" in str(again.exception)


def test_what_cannot_be_exported_says_why(original: ClassifierReward, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the reward model itself"):
        export_reward(original, original.name)
    chat = shutil.copytree(original.name, tmp_path / "chat")
    tokenizer(chat, "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}")
    reward = ClassifierReward(str(chat), device="cpu")
    with pytest.raises(ConfigError, match="as a chat"):
        export_reward(reward, tmp_path / "onnx")
    with pytest.raises(ConfigError, match="as a chat"):
        export(saved_router(tmp_path / "torch", reward), tmp_path / "onnx")


def test_a_reward_model_that_cannot_be_exported_holds_up_no_encoder(
    original: ClassifierReward, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chat = shutil.copytree(original.name, tmp_path / "chat")
    tokenizer(chat, "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}")
    encoder = TransformerEncoder(save_tiny_bert(tmp_path / "tiny", list("abc")), device="cpu")
    reward = ClassifierReward(str(chat), device="cpu")
    router = saved_router(tmp_path / "torch", reward, encoder)
    exported = export(router, tmp_path / "onnx", sample_sets=[("a", RESPONSES)])
    assert isinstance(vars(exported.engine.router)["encoder"], OnnxEncoder)
    assert isinstance(exported.engine.reward, ClassifierReward)
    assert exported.agreement is None
    assert "stays as it is, and needs torch" in caplog.text


def test_an_export_that_is_not_faithful_cannot_be_loaded(
    original: ClassifierReward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = np.arange(3.0)
    monkeypatch.setattr(original, "score_many", lambda pairs: other)
    with pytest.raises(ConfigError, match="scores otherwise"):
        export_reward(original, tmp_path)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_folder(tmp_path)


def test_a_large_model_is_one_file_too(
    original: ClassifierReward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bestroute.learning import onnx_graph

    size = "torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD"
    monkeypatch.setattr(size, 1)  # bytes, instead of 1.5 GiB: the paper's proxy has more
    export_reward(original, tmp_path / "large")
    export_reward(original, tmp_path / "int8", int8=True)
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match="more than one graph holds"):
        export_reward(original, tmp_path / "too-large")
