"""The notebooks run from top to bottom, without keys and network, and show what they did.

After a change: `jupyter execute --inplace docs/notebooks/NAME.ipynb`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def _kinds(notebook: Any) -> list[list[tuple[str, str]]]:
    """What each cell puts out: text, a value, a warning ..."""
    return [
        [(output.output_type, output.get("name", "")) for output in cell.get("outputs", ())]
        for cell in notebook.cells
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    shown = _kinds(notebook)
    work = {"metadata": {"path": str(tmp_path)}}
    # Text comes in as many pieces as the machine makes of it.
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources=work, coalesce_streams=True
    )
    client.execute()
    assert _kinds(notebook) == shown, "the outputs in the file are of another run"
    assert any(shown)


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["langchain", "llamaindex"]
