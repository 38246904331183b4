"""`bestroute serve`, as its clients see it: OpenAI's own client, curl, and an application.

In a virtual environment of its own (`make serve`): LiteLLM's proxy pins what others need newer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.servers import Body, ChatServer, Reply

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fastapi_sso") is None, reason="needs the extra serve (make serve)"
)

ASK = [{"role": "user", "content": "What is six times seven?"}]
COMMAND = [sys.executable, "-c", "from bestroute.cli import main; main()", "serve"]
KEY = "sk-of-this-test-and-long-enough-for-anyone-0123456789"


def answer(body: Body) -> Reply:
    """42, as often as asked for; the big model says more."""
    if body["model"] == "big":
        return Reply("it is 42")
    return Reply(["42"] * (body.get("n") or 1))


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


def start(folder: Path, *options: str, log: str = "log", **env: str) -> subprocess.Popen[bytes]:
    known = {name: each for name, each in os.environ.items() if name != "LITELLM_MASTER_KEY"}
    with (folder / log).open("wb") as out:
        return subprocess.Popen(
            [*COMMAND, "--pool", str(folder / "pool.yaml"), *options],
            env={**known, **env},
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/health/liveliness", timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def models() -> Iterator[ChatServer]:
    with ChatServer(answer) as server:
        yield server


@pytest.fixture(scope="module")
def folder(models: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pool = [
        {"model": "openai/small", "name": "small", "price": {"input": 1, "output": 1}},
        {"model": "openai/big", "name": "big", "price": {"input": 10, "output": 10}},
    ]
    pool[0] |= {"max_samples": 3, "params": models.params}
    pool[1] |= {"reference": True, "params": models.params}
    where = tmp_path_factory.mktemp("serve")
    (where / "pool.yaml").write_text(json.dumps({"models": pool}))
    return where


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A server of two workers, with a key."""
    port = free_port()
    told = ("--json", str(folder / "served.json"))
    process = start(folder, "--port", str(port), "--workers", "2", *told, LITELLM_MASTER_KEY=KEY)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


def test_openais_client(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="bestroute", messages=ASK)
    response = raw.parse()
    assert response.choices[0].message.content == "42"
    assert response.usage and response.usage.completion_tokens == 3  # of all samples
    told = {name: each for name, each in raw.headers.items() if name.startswith("x-bestroute-")}
    assert told["x-bestroute-model"] == "small" and told["x-bestroute-n"] == "3"
    assert told["x-bestroute-arm"] == "small:3"
    assert told["x-bestroute-match-probability"] == "unknown"  # a pool alone
    assert float(told["x-bestroute-cost"]) > 0 and float(told["x-bestroute-savings"]) > 0


def test_scripts_are_told_where_it_is(url: str, folder: Path) -> None:
    told = json.loads((folder / "served.json").read_text())
    assert told == {"name": "bestroute", "url": f"{url}/v1", "workers": 2}


def test_options_in_the_body(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="bestroute", messages=ASK, extra_body={"max_n": 2}
    )
    assert raw.headers["x-bestroute-arm"] == "small:2"
    with pytest.raises(openai.BadRequestError, match="trained router"):
        client.chat.completions.create(
            model="bestroute", messages=ASK, extra_body={"threshold": 0.5}
        )


def test_streaming(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="bestroute",
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"models": ["big"]},
        )
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(filter(None, pieces)) == "it is 42" and len(list(filter(None, pieces))) == 3
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [3]
    (told,) = (told for chunk in chunks if (told := getattr(chunk, "bestroute", None)))
    assert told["arm"] == "big:1" and told["cost"] > 0


def test_tools(client: openai.OpenAI, models: ChatServer) -> None:
    function = {"name": "add", "arguments": '{"a": 1}'}
    call = {"id": "c1", "type": "function", "function": function}
    models.reply = lambda body: Reply([{"content": None, "tool_calls": [call]}] * body.get("n", 1))
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {}}}
    try:
        response = client.chat.completions.create(model="bestroute", messages=ASK, tools=[tool])
    finally:
        models.reply = answer
    (made,) = response.choices[0].message.tool_calls or ()
    assert made.type == "function" and made.function.name == "add"


@pytest.mark.parametrize(
    "body",
    [
        {"pool": "/etc/passwd"},
        {"pool": {"models": []}},
        {"revision": "main"},
        {"api_base": "http://127.0.0.1:1/v1"},
        {"extra_body": {"api_base": "http://127.0.0.1:1/v1"}},
        {"extra_body": {"api_key": "x"}},
        {"base_url": "http://127.0.0.1:1/v1"},
        {"unknown_option": 1},
    ],
)
def test_callers_say_neither_files_nor_addresses_nor_keys(
    body: dict[str, Any], url: str, models: ChatServer
) -> None:
    before = len(models.requests)
    response = httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": "bestroute", "messages": ASK, **body},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=30,
    )
    assert response.is_client_error, response.text
    assert len(models.requests) == before


def test_whoever_has_no_key_is_refused(url: str, models: ChatServer) -> None:
    before = len(models.requests)
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.APIStatusError) as told:
        stranger.chat.completions.create(model="bestroute", messages=ASK)
    assert 400 <= told.value.status_code < 500  # without a database of keys LiteLLM says 400
    assert len(models.requests) == before


def test_curl(url: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl on this machine")
    body = json.dumps({"model": "bestroute", "messages": ASK})
    headers = ["-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {KEY}"]
    command = [curl, "-s", "-i", f"{url}/v1/chat/completions", *headers, "-d", body]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "x-bestroute-arm: small:3" in out and '"content":"42"' in out


def test_a_client_application(url: str, tmp_path: Path) -> None:
    """`llm`, a command-line client for many servers."""
    if importlib.util.find_spec("llm") is None:
        pytest.skip("needs the application llm (make serve)")
    known = {"model_id": "routed", "model_name": "bestroute", "api_base": f"{url}/v1"}
    models = json.dumps([{**known, "api_key_name": "mine"}])  # JSON is YAML
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    (tmp_path / "keys.json").write_text(json.dumps({"mine": KEY}))
    env = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "llm", "-m", "routed", ASK[0]["content"]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "42", done.stderr


def test_health_and_metrics(url: str, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="bestroute", messages=ASK)
    assert httpx.get(f"{url}/health/readiness").json()["status"] == "healthy"
    headers = {"Authorization": f"Bearer {KEY}"}
    metrics = httpx.get(f"{url}/metrics/", headers=headers, follow_redirects=True)
    assert metrics.is_success
    listed = httpx.get(f"{url}/v1/models", headers=headers).json()["data"]
    assert [each["id"] for each in listed] == ["bestroute"]


def test_other_addresses_need_a_key(folder: Path) -> None:
    process = start(folder, "--host", "0.0.0.0", "--port", str(free_port()), log="open")
    assert process.wait(60) == 1
    assert "LITELLM_MASTER_KEY" in (folder / "open").read_text()


def test_a_call_in_flight_is_finished_on_shutdown(folder: Path, models: ChatServer) -> None:
    port = free_port()
    process = start(folder, "--port", str(port), log="graceful")
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, folder / "graceful")
        before = len(models.requests)
        models.reply = lambda body: Reply(["42"] * (body.get("n") or 1), delay=2)
        call = [sys.executable, "-c", CALL, address]
        caller = subprocess.Popen(call, stdout=subprocess.PIPE)
        while len(models.requests) == before:
            time.sleep(0.05)
        process.terminate()
        out, _ = caller.communicate(timeout=30)
        assert out.strip() == b"42"
        process.wait(30)
    finally:
        models.reply = answer
        process.kill()


CALL = """
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="any", max_retries=0)
messages = [{"role": "user", "content": "What is six times seven?"}]
print(client.chat.completions.create(model="bestroute", messages=messages)
      .choices[0].message.content)
"""


def test_a_proxy_of_ones_own_registers_the_provider(folder: Path) -> None:
    deployment = {
        "model_name": "mine",
        "litellm_params": {"model": f"bestroute/{folder}/pool.yaml"},
    }
    entry = {"provider": "bestroute", "custom_handler": "bestroute.provider.provider"}
    config = {
        "model_list": [deployment],
        "litellm_settings": {"custom_provider_map": [entry]},
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    (folder / "own.yaml").write_text(json.dumps(config))
    port = free_port()
    arguments = ["--config", str(folder / "own.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "own.log").open("wb") as out:
        command = [str(Path(sys.executable).with_name("litellm")), *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}", process, folder / "own.log")
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        raw = client.chat.completions.with_raw_response.create(
            model="mine", messages=ASK, extra_body={"max_n": 2}
        )
    finally:
        process.terminate()
        process.wait(30)
    assert raw.headers["llm_provider-x-bestroute-arm"] == "small:2"
    assert float(raw.headers["x-litellm-response-cost"]) > 0
