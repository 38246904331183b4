"""What an import costs, and without langchain-core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BASE = "from langchain_core.language_models import BaseChatModel"
OURS = "from langchain_bestroute import ChatBestRoute"
HEAVY = ("litellm", "torch", "transformers", "sklearn", "pyarrow", "langchain", "langgraph")


def _processor_seconds(code: str, cache: Path) -> float:
    """User and system time of a fresh interpreter: what others do meanwhile hardly counts."""
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    told["PYTHONPYCACHEPREFIX"] = str(cache)  # pip compiles what it installs, but not a checkout
    pid = os.spawnve(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code], told)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, code
    return used.ru_utime + used.ru_stime


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs wait4")
def test_an_import_costs_little_more_than_langchain_core_s(tmp_path: Path) -> None:
    _processor_seconds(OURS, tmp_path)  # compiles what is not compiled yet
    base, ours = [], []
    for runs in range(1, 21):  # in turn: a slow minute slows both
        base.append(_processor_seconds(BASE, tmp_path))
        ours.append(_processor_seconds(OURS, tmp_path))
        if runs >= 5 and min(ours) <= 1.2 * min(base):
            break
    assert min(ours) <= 1.2 * min(base), (sorted(base), sorted(ours))


def test_nothing_heavy_is_imported() -> None:
    code = f"import sys; {OURS}; from langchain_bestroute import BestRouteRouter; "
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "langchain_bestroute.chat_models" in loaded
    assert not loaded & set(HEAVY)


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
from bestroute.errors import MissingExtraError
try:
    import langchain_bestroute
except MissingExtraError as error:
    print("extra:", error)
except ImportError as error:
    print("other:", error)
"""


def _import_without(blocked: str) -> str:
    command = [sys.executable, "-c", BLOCKED.format(blocked=blocked)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_error_names_the_extra() -> None:
    assert 'extra: langchain_bestroute needs an extra: pip install "bestroute[langchain]"' in (
        _import_without("langchain_core")
    )


def test_another_absent_package_is_not_blamed_on_the_extra() -> None:
    told = _import_without("langsmith")
    assert told.startswith("other:")
    assert "langsmith" in told
