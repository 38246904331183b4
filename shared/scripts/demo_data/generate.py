"""Record the samples that `bestroute demo` runs on: real small LLMs, served on this machine.

Resumable: every prompt's samples are appended to one JSON Lines part per model as they come, and
messages that are there already, or in the shipped table, are not asked again. The project's own
sampler does the asking, through LiteLLM, against a local OpenAI-compatible server.

    pip install -e ".[demo,live]"
    python shared/scripts/local_models.py fetch
    python shared/scripts/demo_data/generate.py
    python shared/scripts/demo_data/build.py
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from local_models import running  # noqa: E402
from prompts import DemoPrompt, build  # noqa: E402

from bestroute.learning.samples import canonical, read_samples  # noqa: E402
from bestroute.pool import PooledModel  # noqa: E402
from bestroute.query import Request  # noqa: E402
from bestroute.sampling import Drawn, Sampler  # noqa: E402

PARTS = HERE / "parts"
DATA = HERE.parents[1] / "bestroute" / "data" / "demo_samples.parquet"
SAMPLING = {"temperature": 0.8, "top_p": 0.95}
PARALLEL = 5
RECORDED = "2026-11-24"
"""Day of the shipped recording."""
COUNTS = {"smollm2-135m": 10, "qwen2.5-coder-0.5b": 10, "qwen2.5-coder-1.5b": 4}
"""Samples a prompt, model by model; the last one is the reference."""


def recordings(name: str) -> dict[str, list[dict[str, Any]]]:
    """A model's rows by messages: those of the shipped table, and of its part before them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _part(PARTS / f"{name}.jsonl"):
        found.setdefault(row["messages"], []).append(row)
    shipped: dict[str, list[dict[str, Any]]] = {}
    for row in read_samples(DATA).to_pylist() if DATA.exists() else ():
        if row["model"] == name and row["messages"] not in found:
            shipped.setdefault(row["messages"], []).append(row)
    return found | shipped


def _part(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a part; a last line cut off by a crash is dropped from the file."""
    if not path.exists():
        return
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end != len(whole):
        path.write_bytes(whole[:end])
    for line in whole[:end].decode().splitlines():
        yield json.loads(line)


class TokenCounter:
    """Exact token counts from the server's own tokenizer: its usage counts one choice only."""

    def __init__(self, base: str) -> None:
        self.url = base.removesuffix("/v1") + "/tokenize"

    def __call__(self, model: str, text: str) -> int:
        """Tokens of a text."""
        body = json.dumps({"content": text}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return len(json.load(response)["tokens"])


def messages_of(prompt: DemoPrompt) -> list[dict[str, Any]]:
    """What is asked: one user message, no system prompt of ours."""
    return [{"role": "user", "content": prompt.text}]


def rows_of(prompt: DemoPrompt, request: Request, drawn: Drawn, name: str) -> list[dict[str, Any]]:
    """Rows of the samples table; the end-of-turn token is billed like any other."""
    return [
        {
            "query_id": prompt.id,
            "model": name,
            "messages": canonical(list(request.messages)),
            "sampling": canonical({**SAMPLING, "max_tokens": prompt.max_tokens}),
            "sample": index,
            "response": sample.text,
            "finish_reason": sample.finish_reason,
            "prompt_tokens": drawn.calls[0].usage.prompt_tokens,
            "completion_tokens": sample.completion_tokens + (sample.finish_reason == "stop"),
            "latency": round(drawn.calls[0].latency, 3),
        }
        for index, sample in enumerate(drawn.samples)
    ]


async def record(name: str, count: int, prompts: list[DemoPrompt], progress: Progress) -> None:
    """Record what is still missing of one model."""
    done = recordings(name)
    missing = [prompt for prompt in prompts if canonical(messages_of(prompt)) not in done]
    task = progress.add_task(name, total=len(prompts), completed=len(prompts) - len(missing))
    if not missing:
        return
    part = PARTS / f"{name}.jsonl"
    with running(name, PARALLEL) as base, part.open("a", encoding="utf-8") as output:
        member = PooledModel(
            model=f"openai/{name}",
            name=name,
            native_n=True,
            max_native_n=PARALLEL,
            params={"api_base": base, "api_key": "none", **SAMPLING},
        )
        sampler = Sampler(timeout=600, count_tokens=TokenCounter(base))
        for prompt in missing:
            request = Request.build(messages_of(prompt), {"max_tokens": prompt.max_tokens})
            drawn = await sampler.draw(request, member, count)
            if len(drawn.samples) < count:  # the sampler keeps no empty answers
                drawn.add(await sampler.draw(request, member, count))
            rows = rows_of(prompt, request, drawn, name)[:count]
            output.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            output.flush()
            progress.advance(task)


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Models; all by default.")] = None,
) -> None:
    """Record every prompt on every model."""
    PARTS.mkdir(exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        for name in models or COUNTS:
            asyncio.run(record(name, COUNTS[name], build(), progress))


if __name__ == "__main__":
    typer.run(main)
