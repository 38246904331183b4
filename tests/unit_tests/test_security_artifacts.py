"""Saved routers from anyone: data only, read within bounds, and no say in where keys go."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bestroute import BestRoute, ModelPool
from bestroute.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from bestroute.errors import ArtifactError, BestRouteError
from bestroute.manifest import OWN_KEY
from tests.fuzzing import nested
from tests.small_router import routed

POOL: dict[str, Any] = {
    "models": [
        {
            "model": "openai/small",
            "name": "small",
            "max_samples": 2,
            "price": {"input": 1, "output": 2},
        },
        {
            "model": "openai/big",
            "name": "big",
            "reference": True,
            "price": {"input": 5, "output": 9},
        },
    ]
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return routed(POOL).save_pretrained(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "router"))


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    path = folder / CONFIG_FILE
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    return folder


@contextmanager
def little_memory(most: int = 200_000_000) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(folder: Path, match: str = "") -> None:
    with pytest.raises(ArtifactError, match=match):
        BestRoute.from_pretrained(folder)


# Weights


def header(length: int, text: bytes, rest: bytes = b"") -> bytes:
    return length.to_bytes(8, "little") + text + rest


def one(**entry: Any) -> bytes:
    return json.dumps(
        {"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8], **entry}}
    ).encode()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "raw",
    [
        header(2**63, b"{}"),
        header(2**40, b"{}"),
        header(90_000_000, b" " * 90_000_000),
        header(1, b"{"),
        header(2, b"[]"),
        header(2, b"{}", b"left over"),
        header(len(one()), one(), b""),
        header(len(one(shape=[2**40])), one(shape=[2**40]), b"12345678"),
        header(len(one(shape=[-1, -1])), one(shape=[-1, -1]), b"12345678"),
        header(len(one(shape=[True])), one(shape=[True]), b"12345678"),
        header(len(one(shape="x")), one(shape="x"), b"12345678"),
        header(len(one(data_offsets=[8, 0])), one(data_offsets=[8, 0]), b"12345678"),
        header(len(one(data_offsets=[0, 2**62])), one(data_offsets=[0, 2**62]), b"12345678"),
        header(len(one(dtype="I64")), one(dtype="I64"), b"12345678"),
        header(len(one(dtype="BF16", shape=[4])), one(dtype="BF16", shape=[4]), b"12345678"),
        header(len(one(dtype="F16", shape=[4])), one(dtype="F16", shape=[4]), b"12345678"),
        header(len(one(dtype={})), one(dtype={}), b"12345678"),
        header(100_000, b'{"x":' * 20_000),
        header(26, b'{"x":' + b"9" * 20 + b"}"),
        header(17, b'{"x":{}, "x": {}}'),
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_headers_that_lie_are_refused_before_memory_is_taken(saved: Path, raw: bytes) -> None:
    (saved / WEIGHTS_FILE).write_bytes(raw)
    with little_memory():
        refused(saved, WEIGHTS_FILE)


def test_a_file_larger_than_any_router_is_refused_unread(saved: Path) -> None:
    with (saved / WEIGHTS_FILE).open("r+b") as file:
        file.truncate(2**33)  # sparse: it takes no room
    with little_memory():
        refused(saved, "more than any saved router's")


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
@pytest.mark.timeout(10)
def test_a_pipe_or_a_device_is_no_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    refused(saved, name)
    (saved / name).unlink()
    (saved / name).symlink_to("/dev/zero")
    refused(saved, name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["vectors", "match", "quality"])
def test_weights_that_are_no_numbers_are_refused(saved: Path, name: str, value: float) -> None:
    tensors = load_file(str(saved / WEIGHTS_FILE))
    tensors[name].flat[1] = value
    save_file(tensors, str(saved / WEIGHTS_FILE))
    refused(saved, name)


# The description


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5_000_000,
        '{"a":' * 200_000,
        "9" * 5_000_000,
        '{"version": 3, "version": 3}',
        '{"version": NaN}',
        '{"version": 1e999}',
        '{"version": "3"}',
        '"' + "x" * 17 * 2**20 + '"',
        "\x00",
        "",
    ],
    ids=lambda text: text[:12],
)
def test_hostile_json_is_refused(saved: Path, text: str) -> None:
    (saved / CONFIG_FILE).write_text(text, encoding="utf-8")
    with little_memory():
        refused(saved, CONFIG_FILE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("router", nested(90)),
        ("policy", {"kind": "one-shot", "threshold": nested(200)}),
        ("token_stats", {"small": {"output_tokens": 10**400}}),
        ("models", [{"model": f"openai/{i}", "max_samples": 128} for i in range(5000)]),
        ("label_sampling", {"small": 5}),
    ],
)
def test_descriptions_beyond_all_bounds_are_refused(saved: Path, field: str, value: Any) -> None:
    refused(edited(saved, lambda data: data.update({field: value})))


def test_a_router_of_a_thousand_routers_is_refused_unbuilt(saved: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["router"] = {"kind": "ensemble", "routers": [data["router"]] * 1000}

    refused(edited(saved, change), "parts")


# Names of models beside it or on the hub


@pytest.mark.parametrize(
    "name",
    [
        *("/etc", "../..", "./../other", "~/models", "./", "./a/../../b", "file:///etc", "a\\b"),
        *("https://evil.example/x", "os.environ/HOME", "", " ", "a/b/c", "./\0", "..", "./x\n"),
    ],
)
@pytest.mark.parametrize("part", ["reward", "encoder"])
def test_no_name_leads_elsewhere(saved: Path, name: str, part: str) -> None:
    (saved.parent / "other").mkdir()

    def change(data: dict[str, Any]) -> None:
        if part == "reward":
            data["reward"] = {"kind": "classifier", "name_or_path": name}
        else:
            data["router"]["encoder"] = {"kind": "transformer", "name": name}

    with pytest.raises(BestRouteError):
        BestRoute.from_pretrained(edited(saved, change))


def test_a_folder_within_that_is_a_link_out_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (saved / "reward").symlink_to(tmp_path / "outside", target_is_directory=True)
    reward = {"kind": "static", "name_or_path": "./reward"}
    refused(edited(saved, lambda data: data.update(reward=reward)), "leads out")


@pytest.mark.parametrize("revision", [5, ["main"], "../x", "-x", "a b", ""])
def test_a_revision_is_a_name(saved: Path, revision: Any) -> None:
    reward = {"kind": "classifier", "name_or_path": "org/model", "revision": revision}
    refused(edited(saved, lambda data: data.update(reward=reward)), "revision|damaged")


def test_code_is_never_trusted_by_an_artifact(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    seen: list[Any] = []

    def load(name: str, **options: Any) -> Any:
        seen.append((name, options))
        raise OSError("not there")

    for kind in ("AutoConfig", "AutoTokenizer", "AutoModel"):
        monkeypatch.setattr(getattr(transformers, kind), "from_pretrained", load)
    for trust in (True, "yes"):
        extra = {"name": "org/model", "name_or_path": "org/model", "trust_remote_code": trust}
        for part in (
            {"reward": {"kind": "classifier", **extra}},
            {"router": {"kind": "knn", "encoder": {"kind": "transformer", **extra}}},
        ):

            def change(data: dict[str, Any], part: dict[str, Any] = part) -> None:
                data["reward"] = part.get("reward")
                data["router"]["encoder"] = part.get("router", data["router"]).get("encoder")

            with pytest.raises(BestRouteError):
                BestRoute.from_pretrained(edited(saved, change))
    assert seen and all(options["trust_remote_code"] is False for _, options in seen)


def test_saving_over_links_writes_nowhere_else(saved: Path, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("mine", encoding="utf-8")
    for name in (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE):
        for place in (saved / name, saved / f"{name}.new"):
            place.unlink(missing_ok=True)
            place.symlink_to(outside)
    routed(POOL).save_pretrained(saved)
    assert outside.read_text(encoding="utf-8") == "mine"
    assert BestRoute.from_pretrained(saved).route("hi")


# Where keys go


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"api_base": "https://evil.example"}},
        {"params": {"api_key": "os.environ/OPENAI_API_KEY"}},
        {"client": "x"},
        {"rpm": 5},
        {"model": "openai/https://evil.example"},
        {"model": "os.environ/OPENAI_API_KEY"},
        {"model": "openai/../x"},
        {"model": "bedrock/evil.example#/x"},
        {"model": "bedrock/evil.example?/x"},
        {"model": "openai/x\n"},
        {"model": "openai//x"},
        {"model": " openai/x"},
        {"model": ["openai/x"]},
        {"name": "small\x1b[2J"},
    ],
    ids=str,
)
def test_a_pool_says_no_more_than_names_and_prices(saved: Path, change: dict[str, Any]) -> None:
    refused(edited(saved, lambda data: data["models"][0].update(change)), CONFIG_FILE)


@pytest.fixture
def hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`saved` is what `someone/router` is on the hub."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **_: str(saved))
    return saved


def test_a_router_of_the_hub_tells_who_will_be_asked(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="bestroute"):
        BestRoute.from_pretrained("someone/router")
    assert "prompts go to openai/small, openai/big" in caplog.text
    caplog.clear()
    BestRoute.from_pretrained("someone/router", pool=POOL)
    BestRoute.from_pretrained(hub)
    assert not caplog.text


def test_a_router_of_the_hub_tells_which_further_models_it_loads(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reward = {"kind": "classifier", "name_or_path": "someone/else"}
    edited(hub, lambda data: data.update(reward=reward))
    with pytest.raises(BestRouteError):  # offline
        BestRoute.from_pretrained("someone/router", pool=POOL)
    assert "loads further models from the hub: someone/else" in caplog.text


@pytest.mark.parametrize(
    "model",
    [
        *("novita/big", "custom_openai/big", "openai_like/big", "litellm_proxy/big", "custom/big"),
        *("hosted_vllm/big", "huggingface/big", "bedrock/evil.example/big", "big", "vllm/big"),
        *("github_copilot/big", "OpenAI/big", "openai", "cerebras/big"),
    ],
)
def test_a_router_of_the_hub_needs_your_pool_for_other_providers(hub: Path, model: str) -> None:
    edited(hub, lambda data: data["models"][1].update(model=model))
    with pytest.raises(ArtifactError, match="give your own pool as pool="):
        BestRoute.from_pretrained("someone/router")
    mine = json.loads(json.dumps(POOL))
    mine["models"][1]["model"] = model
    engine = BestRoute.from_pretrained("someone/router", pool=mine)
    assert engine.pool == ModelPool.from_dict(mine)


KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "cohere": "COHERE_API_KEY",
    "cohere_chat": "COHERE_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "fireworks_ai": "FIREWORKS_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "xai": "XAI_API_KEY",
}
LEAKS = ("novita", "cerebras", "perplexity")


@pytest.mark.parametrize("provider", sorted(OWN_KEY - {"recorded"}))
def test_providers_of_a_stranger_s_choice_get_no_key_but_their_own(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = calls(f"{provider}/x", KEYS.get(provider), monkeypatch)
    assert "-canary" not in sent


@pytest.mark.parametrize("provider", LEAKS)
def test_others_do_get_the_key_of_openai(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, LiteLLM has become more careful: `OWN_KEY` may grow."""
    assert "openai-canary" in calls(f"{provider}/x", None, monkeypatch)


def calls(model: str, own: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that LiteLLM sends for a model whose own key is not set while all the others are."""
    import litellm

    sent: list[str] = []

    async def send(self: Any, request: httpx.Request, **_: Any) -> httpx.Response:
        sent.append(f"{request.url} {dict(request.headers)} {request.content!r}")
        raise httpx.ConnectError("nobody")

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    for name in os.environ:
        if name.endswith("_KEY"):
            monkeypatch.delenv(name)
    for provider, variable in KEYS.items():
        if variable != own:
            monkeypatch.setenv(variable, f"{provider}-canary")
    chat = [{"role": "user", "content": "hi"}]
    with pytest.raises(Exception):  # noqa: B017 - whatever a provider's package raises
        asyncio.run(litellm.acompletion(model=model, messages=chat, max_retries=0, timeout=5))
    return " ".join(sent)
