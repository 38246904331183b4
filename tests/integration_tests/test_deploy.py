"""docs/deploy.md as it stands: two servers behind nginx, one Redis (`make deploy`)."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.integration_tests.test_serve import KEY, answer, free_port, start, wait_for
from tests.servers import Body, ChatServer, Reply

REDIS, NGINX = shutil.which("redis-server"), shutil.which("nginx", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(
    REDIS is None or NGINX is None or importlib.util.find_spec("fastapi_sso") is None,
    reason="needs redis-server, nginx and the extra serve (make deploy)",
)
PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]


class Site:
    """What a test touches: the balancer's address, the servers, the models behind."""

    def __init__(self, url: str, servers: list[subprocess.Popen[bytes]], models: ChatServer):
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        self.servers = servers
        self.models = models

    def ask(self, text: str, **body: Any) -> Any:
        messages: Any = [{"role": "user", "content": text}]
        return self.client.chat.completions.with_raw_response.create(
            model="bestroute", messages=messages, extra_body=body
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    where = tmp_path_factory.mktemp("deploy")
    redis_port, port, ports = free_port(), free_port(), [free_port(), free_port()]
    with ChatServer(answer) as models, ExitStack() as ends:

        def run(command: list[str]) -> None:
            process = subprocess.Popen(command, cwd=where, stdout=subprocess.DEVNULL)
            ends.callback(process.wait)
            ends.callback(process.terminate)

        pool = [
            {"model": "openai/small", "name": "small", "max_samples": 3},
            {"model": "openai/big", "name": "big", "reference": True},
        ]
        for each, price in zip(pool, (1, 10), strict=True):
            each |= {"price": {"input": price, "output": price}, "params": models.params}
        (where / "pool.yaml").write_text(repr({"models": pool}).replace("True", "true"))
        (where / "config.yaml").write_text(block("yaml"))
        run([str(REDIS), "--port", str(redis_port), "--requirepass", "secret", "--save", ""])
        env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port)}
        env |= {"REDIS_PASSWORD": "secret", "LITELLM_MASTER_KEY": KEY}
        servers = []
        for number, each in enumerate(ports):
            options = ("--config", "config.yaml", "--port", str(each))
            servers.append(start(where, *options, log=f"log{number}", **env))
            ends.callback(servers[-1].wait)
            ends.callback(servers[-1].kill)
        for number, (each, server) in enumerate(zip(ports, servers, strict=True)):
            wait_for(f"http://127.0.0.1:{each}", server, where / f"log{number}")
        conf = block("nginx").replace("listen 80", f"listen 127.0.0.1:{port}")
        for name, each in zip(("machine1", "machine2"), ports, strict=True):
            conf = conf.replace(f"{name}:4000", f"127.0.0.1:{each}")
        (where / "nginx.conf").write_text(f"daemon off; pid {where}/pid; error_log stderr;{conf}")
        run([str(NGINX), "-p", str(where), "-c", str(where / "nginx.conf")])
        url = f"http://127.0.0.1:{port}"
        wait_for(url, servers[0], where / "log0")
        yield Site(url, servers, models)


def test_both_machines_answer_and_share_what_they_cached(site: Site) -> None:
    told = [site.ask(f"What is {n} times seven?").headers["x-bestroute-arm"] for n in range(8)]
    assert told == ["small:3"] * 8
    before = len(site.models.requests)
    texts = [site.ask("What is 3 times seven?").parse().choices[0].message.content] * 4
    assert texts == ["42"] * 4
    assert len(site.models.requests) == before  # whichever machine was asked


def test_one_machine_leaves_and_nobody_notices(site: Site) -> None:
    site.models.reply = slow
    calls = [
        subprocess.Popen(
            [sys.executable, "-c", CALL, str(site.client.base_url), f"Slowly: {n}?"],
            stdout=subprocess.PIPE,
        )
        for n in range(4)
    ]
    before = len(site.models.requests)
    while len(site.models.requests) < before + 4:
        pass
    site.servers[0].send_signal(signal.SIGTERM)
    assert [call.communicate(timeout=60)[0].strip() for call in calls] == [b"42"] * 4
    site.models.reply = answer
    site.servers[0].wait(30)
    for n in range(4):
        assert site.ask(f"What is {n} times nine?").parse().choices[0].message.content == "42"


def slow(body: Body) -> Reply:
    return Reply(["42"] * (body.get("n") or 1), delay=2)


CALL = f"""
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1], api_key={KEY!r}, max_retries=0)
messages = [{{"role": "user", "content": sys.argv[2]}}]
print(client.chat.completions.create(model="bestroute", messages=messages)
      .choices[0].message.content)
"""
