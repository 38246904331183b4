"""Record what the tests' chain, query engine and agent ask local models, and what these answer.

    pip install -e ".[dev,live]"
    python shared/scripts/local_models.py fetch
    python shared/scripts/record_cassette.py

Writes one JSON line a sample to tests/cassettes/frameworks.jsonl: exactly the messages, the
sampling parameters and as many samples as were drawn, so that a replay takes the same way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

from local_models import running  # noqa: E402

from bestroute import BestRoute, ModelPool  # noqa: E402
from bestroute.calls import call_params  # noqa: E402
from bestroute.events import Delta  # noqa: E402
from bestroute.learning.samples import canonical  # noqa: E402
from bestroute.pool import PooledModel  # noqa: E402
from bestroute.query import Request  # noqa: E402
from bestroute.sampling import Drawn, Sampler  # noqa: E402
from langchain_bestroute import ChatBestRoute  # noqa: E402
from llamaindex_bestroute import BestRouteLLM  # noqa: E402
from tests.scenarios import (  # noqa: E402
    COUNTRIES,
    DOCUMENT_QUESTIONS,
    MODELS,
    TICKETS,
    agent,
    chain,
    pool,
    query_engine,
)

CASSETTE = ROOT / "tests" / "cassettes" / "frameworks.jsonl"
_NOT_SAMPLING = ("api_base", "api_key")


class RecordingSampler(Sampler):
    """Draws from real models, and keeps what was asked and answered."""

    def __init__(self) -> None:
        super().__init__(timeout=600)
        self.rows: list[dict[str, Any]] = []

    async def draw(
        self, request: Request, member: PooledModel, n: int, *, start: int = 0, **limits: Any
    ) -> Drawn:
        """Draw, and keep one row a sample."""
        drawn = await super().draw(request, member, n, start=start, **limits)
        self._keep(request, member, drawn, start)
        return drawn

    async def stream(
        self, request: Request, member: PooledModel, drawn: Drawn, **limits: Any
    ) -> AsyncGenerator[Delta, None]:
        """Stream, and keep the row once it is whole."""
        async for delta in super().stream(request, member, drawn, **limits):
            yield delta
        self._keep(request, member, drawn, 0)

    def _keep(self, request: Request, member: PooledModel, drawn: Drawn, start: int) -> None:
        params = call_params(request, member)
        sampling = {key: value for key, value in params.items() if key not in _NOT_SAMPLING}
        self.rows += [
            {
                "model": member.name,
                "messages": canonical(list(request.messages)),
                "sampling": canonical(sampling),
                "sample": start + index,
                "response": sample.text,
                "finish_reason": sample.finish_reason,
                "prompt_tokens": drawn.calls[0].usage.prompt_tokens,
                "completion_tokens": sample.completion_tokens,
            }
            for index, sample in enumerate(drawn.samples)
        ]


async def use_tools(llm: BestRouteLLM) -> str:
    """Let the agent answer."""
    return str(await agent(llm).run(TICKETS))


def main() -> None:
    """Run the scenarios on live models and write the cassette."""
    console = Console()
    sampler = RecordingSampler()
    with ExitStack() as servers:
        bases = {m: servers.enter_context(running(m, 5, context=4096)) for m in MODELS}
        members = ModelPool.from_dict(pool(bases))
        ask = chain(ChatBestRoute(engine=BestRoute(members, sampler=sampler)))
        for country in COUNTRIES:
            console.print(country, ask.invoke({"country": country}))
        search = query_engine(BestRouteLLM(engine=BestRoute(members, sampler=sampler)))
        for question in DOCUMENT_QUESTIONS:
            console.print(question, str(search.query(question)))
        llm = BestRouteLLM(engine=BestRoute(members, sampler=sampler))
        console.print(TICKETS, asyncio.run(use_tools(llm)))
    CASSETTE.parent.mkdir(exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in sampler.rows)
    CASSETTE.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
