"""`bestroute chat`: talk to the engine, and see what each answer cost and why it came so."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bestroute._litellm import litellm
from bestroute.cli.console import console_of
from bestroute.cli.conversation import Conversation
from bestroute.cli.engines import AnyPool, AnyRouter, PromisedDrop, TargetCost, Threshold, engine_of
from bestroute.cli.options import JsonPath, Recorded, write_json
from bestroute.cli.recording import install_recording, recorded_questions
from bestroute.cli.talk import Talk
from bestroute.pool import ModelPool

_PROMPT = "> "


def chat(
    router: AnyRouter = None,
    pool: AnyPool = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="The shipped pool, answered by recorded samples.")
    ] = False,
    recorded: Recorded = None,
    threshold: Threshold = None,
    max_drop: PromisedDrop = None,
    target_cost: TargetCost = None,
    ledger: Annotated[
        Path | None, typer.Option(help="File that keeps what each turn cost, for `ledger`.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.")] = None,
    json_path: JsonPath = None,
) -> None:
    """Talk to the models of a pool; arm, cost and savings after each turn.

    /why explains the last answer, /threshold 0.7 sets the threshold, /reset starts anew,
    /exit (or the end of input) ends. /example asks a recorded question, where there are any.

    Example: echo /example | bestroute chat --demo
    """
    console = console_of(json_path)
    litellm().suppress_debug_info = True  # the command line owns the terminal
    path = Path(str(resources.files("bestroute") / "data" / "demo_pool.yaml")) if demo else pool
    models = None if path is None else ModelPool.from_yaml(path)
    engine = engine_of(
        router,
        models,
        threshold=threshold,
        max_drop=max_drop,
        target_cost=target_cost,
        ledger=ledger,
    )
    examples = _examples(models, recorded)
    conversation = Conversation(engine)
    params = {} if max_tokens is None else {"max_tokens": max_tokens}
    talk = Talk(conversation, console, params=params, examples=examples)
    talk.greet()
    try:
        for line in _lines(console):
            if not talk.hear(line):
                break
    finally:  # Ctrl-C is one way to end
        talk.end()
        write_json(json_path, conversation.summary())


def _examples(pool: ModelPool | None, table: Path | None) -> Mapping[str, dict[str, Any]]:
    """Recorded questions and their parameters; none where no model is recorded."""
    if pool is None or not install_recording(pool, table):
        return {}
    questions = list(recorded_questions(table).items())
    random.Random(0).shuffle(questions)  # of all tasks, from the start
    return dict(questions)


def _lines(console: Console) -> Iterator[str]:
    """What the user types, or what a script pipes in, until its end."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            console.print(f"{_PROMPT}{line.rstrip()}", markup=False, highlight=False)
            yield line
        return
    with suppress(ImportError):
        import readline  # noqa: F401  (arrow keys and history)
    with suppress(EOFError):
        while True:
            yield console.input(f"[bold]{_PROMPT}[/]")
