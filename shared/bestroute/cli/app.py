"""`bestroute`: the commands, one function each."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from bestroute import __version__
from bestroute.cli.calibrate import calibrate
from bestroute.cli.chat import chat
from bestroute.cli.collect import collect
from bestroute.cli.demo import demo
from bestroute.cli.evaluate import evaluate
from bestroute.cli.export import export
from bestroute.cli.fit import fit
from bestroute.cli.importer import import_samples
from bestroute.cli.init import init
from bestroute.cli.ledger import ledger
from bestroute.cli.report import report
from bestroute.cli.route import route
from bestroute.cli.score import score
from bestroute.cli.serve import serve
from bestroute.cli.train import train
from bestroute.cli.train_reward import train_reward
from bestroute.errors import BestRouteError

app = typer.Typer(
    help="Route each query to a model and a number of samples: pay for the big one when needed.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
LEARNING = (demo, fit, collect, score, train_reward, train, calibrate, evaluate, export)
LOOKING = (report, route, chat, ledger)
for command in (*LEARNING, *LOOKING):
    app.command()(command)
app.command("import")(import_samples)
app.command()(init)
app.command()(serve)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        Console().print(__version__)
        raise typer.Exit


def run() -> None:
    """Run the app: 0 is success, 1 an error in one clear message, 2 wrong usage, 130 Ctrl-C."""
    try:
        app(prog_name="bestroute")
    except (BestRouteError, OSError) as error:
        Console(stderr=True).print(f"[bold red]{type(error).__name__}[/]: ", end="")
        Console(stderr=True, markup=False, highlight=False).print(str(error))
        sys.exit(1)
