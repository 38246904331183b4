"""Without langchain-core."""

from __future__ import annotations

import subprocess
import sys

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
