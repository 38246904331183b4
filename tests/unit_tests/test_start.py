"""What a saved router imports: nothing heavy, until it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.small_router import routed

HEAVY = {
    *("litellm", "torch", "transformers", "onnxruntime", "sklearn", "scipy", "pyarrow"),
    *("matplotlib", "huggingface_hub", "langchain_core", "llama_index", "typer", "rich"),
}
POOL = {
    "models": [
        {"model": "openai/a", "name": "a", "price": {"input": 1, "output": 1}, "max_samples": 2},
        {"model": "openai/b", "name": "b", "price": {"input": 9, "output": 9}, "reference": True},
    ]
}


def test_loading_a_router_and_predicting_imports_nothing_heavy(tmp_path: Path) -> None:
    routed(POOL).save_pretrained(tmp_path)
    code = (
        "import sys; from bestroute import BestRoute; "
        f"engine = BestRoute.from_pretrained({str(tmp_path)!r}); "
        "print(engine.router.predict(['hi']).match.shape, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "bestroute.routers.static" in loaded
    assert not loaded & HEAVY
