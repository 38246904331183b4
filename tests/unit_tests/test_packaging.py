"""What is imported when, which way imports point, and what a built wheel holds."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "shared" / "bestroute"
SAMPLES = CORE / "data" / "demo_samples.parquet"


def run(code: str, *, python: str | Path = sys.executable, cwd: Path | None = None) -> list[str]:
    """What a script prints, in words, in a process of its own."""
    done = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, timeout=250, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# Imports are cheap

HEAVY = ("litellm", "torch", "transformers", "sklearn", "pyarrow", "matplotlib", "typer", "rich")
FRAMEWORKS = ("langchain", "langchain_core", "llama_index", "langchain_bestroute")


def test_importing_bestroute_is_light() -> None:
    loaded = set(run("import sys; from bestroute import *; print(*sys.modules)"))
    assert "bestroute.engine" in loaded
    assert not loaded & {*HEAVY, *FRAMEWORKS, "bestroute.learning", "bestroute.cli"}


@pytest.mark.parametrize("package", ["bestroute", "bestroute.policy"])
def test_names_that_come_late_all_come(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nobody'"):
        _ = module.Nobody


ANSWERED = """
import json, sys
from bestroute import BestRoute, ModelPool
from bestroute.recorded import Recording

chat = [{"role": "user", "content": "hi"}]
row = {"messages": json.dumps(chat), "sampling": "{}", "response": "hello",
       "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
Recording([{**row, "model": name} for name in ("small", "small", "big")]).install()
pool = ModelPool.from_dict({"models": [
    {"model": "recorded/small", "max_samples": 2, "native_n": True},
    {"model": "recorded/big", "reference": True},
]})
assert BestRoute(pool).complete(chat).text == "hello"
print(*sys.modules)
"""


def test_answering_a_request_needs_nothing_of_training() -> None:
    loaded = set(run("import os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'" + ANSWERED))
    assert "litellm" in loaded
    assert not loaded & {*FRAMEWORKS, "torch", "sklearn", "pyarrow", "bestroute.learning"}


def test_loading_and_running_a_router_needs_nothing_of_training() -> None:
    code = "import sys, bestroute.routers, bestroute.artifact as a\n"
    code += "from bestroute.routers import StaticEncoder\n"
    code += "StaticEncoder().encode(['hi']); print(*sys.modules)"
    loaded = set(run(code))
    assert not loaded & {*FRAMEWORKS, "torch", "transformers", "sklearn", "bestroute.learning"}


# Nothing imports upward

FLOORS = (
    (
        *("errors", "failures", "breaker", "deadline", "_aside", "_batches", "_config"),
        *("_extras", "_files", "_lazy", "_litellm", "_onnx", "_plain", "_routed", "_secrets"),
        *("_sync", "_tasks", "_walks"),
    ),
    ("client", "pool", "query", "samples", "catalog", "cost", "billing", "calibration"),
    (
        *("routers", "rewards", "policy", "sampling", "recorded"),
        *("asking", "events", "live", "budget", "purse", "calls", "reservation"),
        *("bundle", "constraints", "explanation", "selection", "response", "reading", "trace"),
    ),
    (
        *("target", "defaults", "options", "plan", "planner", "flights", "fallback"),
        *("account", "artifact", "card", "checks", "engine", "label_sampling", "ledger", "loop"),
        *("manifest", "source", "__init__"),
    ),
    ("learning",),
    ("cli", "provider", "serving", "__main__"),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def test_the_house_is_drawn_as_it_stands() -> None:
    drawn = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    public = [name for name in FLOOR if not name.startswith("_")]
    absent = [name for name in public if not re.search(rf"`{name}/?`", drawn)]
    assert not absent


def imported(node: ast.AST) -> Iterator[str]:
    """Full names that a module imports, at its top or later; not those for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imported(child)


def part(name: str) -> str:
    """`bestroute.policy.base.Draw` -> `policy`; a public name of the package -> `__init__`."""
    first = name.split(".")[1] if "." in name else "__init__"
    return first if first in FLOOR else "__init__"


MODULES = sorted(CORE.rglob("*.py"))


def test_every_module_has_its_floor() -> None:
    names = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in MODULES}
    assert names == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_nothing_imports_upward(path: Path) -> None:
    own = path.relative_to(CORE).parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imported(tree):
        assert name.split(".")[0] not in (*FRAMEWORKS, "llamaindex_bestroute", "shared"), name
        if name.split(".")[0] == "bestroute":
            assert FLOOR[part(name)] <= FLOOR[own], f"{own} imports {name}"


def test_the_floors_would_notice() -> None:
    tree = ast.parse("def f():\n    from bestroute.learning.fit import fit\n    import a.b\n")
    assert list(imported(tree)) == ["bestroute.learning.fit.fit", "a.b"]
    assert FLOOR[part("bestroute.learning.fit.fit")] > FLOOR["engine"]
    assert part("bestroute.ModelPool") == "__init__"


# An extra that is absent

WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Rest:
    def find_spec(self, name, path=None, target=None):
        absent = name.split(".")[0] == {package!r}
        return None if absent else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Rest()
from bestroute.errors import MissingExtraError
try:
    {code}
except MissingExtraError as error:
    assert isinstance(error, ImportError)
    print(error.extra)
    assert f'bestroute[{{error.extra}}]' in str(error)
"""


@pytest.mark.parametrize(
    ("package", "code", "extra"),
    [
        ("typer", "import bestroute.cli; bestroute.cli.main()", "cli"),
        ("rich", "import bestroute.cli; bestroute.cli.main()", "cli"),
        ("tokenizers", "from bestroute.routers import StaticEncoder; StaticEncoder()", "static"),
        ("wordllama", "from bestroute.routers import StaticEncoder; StaticEncoder()", "static"),
        ("pyarrow", "from bestroute.learning.samples import schema; schema()", "train"),
        ("langchain_core", "import langchain_bestroute", "langchain"),
        ("llama_index", "import llamaindex_bestroute", "llamaindex"),
    ],
)
def test_an_absent_extra_is_named(package: str, code: str, extra: str) -> None:
    assert run(WITHOUT.format(package=package, code=code)) == [extra]


def test_the_core_works_without_any_extra() -> None:
    code = "; ".join(
        [
            "import sys",
            f"sys.modules.update(dict.fromkeys({[*HEAVY[1:], 'tokenizers', 'wordllama']}))",
            "import bestroute, bestroute.recorded, bestroute.rewards",
            "print(bestroute.__version__)",
        ]
    )
    assert run(code)


# The wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a clean environment that holds the built wheel, outside the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    build = [sys.executable, "-m", "build", "--wheel", *offline, "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=250)
    (wheel,) = folder.glob("*.whl")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    target = Path(run("import sysconfig; print(sysconfig.get_path('purelib'))", python=python)[0])
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *install, str(wheel)], check=True)
    # The dependencies, without the editable install: a path in a .pth file is not searched for
    # further .pth files.
    (target / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def inside(python: Path, code: str) -> list[str]:
    return run(code, python=python, cwd=python.parent)


@pytest.mark.slow
def test_the_wheel_is_what_is_imported(installed: Path) -> None:
    code = "import bestroute, langchain_bestroute, llamaindex_bestroute as l\n"
    code += "print(bestroute.__file__, langchain_bestroute.__file__, l.__file__)"
    for path in inside(installed, code):
        assert Path(path).is_relative_to(installed.parents[1])


@pytest.mark.slow
def test_the_wheel_holds_what_is_not_python(installed: Path) -> None:
    code = """
from importlib import resources
files = ["bestroute/py.typed", "langchain_bestroute/py.typed", "llamaindex_bestroute/py.typed",
         "bestroute/data/demo_pool.yaml", "bestroute/learning/evaluation/report.html.j2"]
for name in files:
    package, _, rest = name.partition("/")
    if not resources.files(package).joinpath(rest).is_file():
        print(name)
"""
    assert inside(installed, code) == []


@pytest.mark.slow
def test_the_wheel_s_pool_can_be_read(installed: Path) -> None:
    code = """
from importlib import resources
from bestroute import ModelPool
path = resources.files("bestroute") / "data" / "demo_pool.yaml"
print(*ModelPool.from_yaml(str(path)).arms)
"""
    assert len(inside(installed, code)) == 11


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not in this checkout")
def test_the_wheel_s_samples_can_be_read(installed: Path) -> None:
    code = """
from importlib import resources
from bestroute.learning.samples import read_samples
path = resources.files("bestroute") / "data" / "demo_samples.parquet"
print(read_samples(str(path), scored=True).num_rows)
"""
    assert int(inside(installed, code)[0]) >= 500 * (10 + 10 + 4)
    assert SAMPLES.stat().st_size <= 6 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "tests", "scripts"])
def test_the_wheel_brings_no_second_copy_and_nothing_else(installed: Path, name: str) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert inside(installed, code) == ["None"]


@pytest.mark.slow
def test_the_wheel_s_command_runs(installed: Path) -> None:
    code = "import sys; sys.argv = ['bestroute', '--version']\n"
    code += "from importlib.metadata import distribution\n"
    code += "(command,) = distribution('bestroute').entry_points\ncommand.load()()"
    assert inside(installed, code) == ["0.1.0"]
