"""Build the wheel, install it in clean environments with each extra alone, and use what it brings.

`python shared/scripts/check_wheel.py [EXTRA ...]`: `none` is the core; by default all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A pool whose models are objects: no network, no keys.
_POOL = """
import litellm
class Client:
    async def acompletion(self, *, messages, stream=False, **params):
        return litellm.ModelResponse(choices=[{"message": {"content": "It is 42."}}])
POOL = {"models": [
    {"name": "small", "model": "openai/gpt-4o-mini", "max_samples": 3, "client": Client()},
    {"name": "big", "model": "openai/gpt-4o", "reference": True, "client": Client()},
]}
"""

CHECKS = {
    "none": _POOL
    + """
import importlib.util
from bestroute import BestRoute
assert not any(map(importlib.util.find_spec, ("torch", "pyarrow", "sklearn", "typer_cli")))
response = BestRoute(POOL).complete("6 * 7?")
assert (response.text, response.model) == ("It is 42.", "small"), response
try:
    from langchain_bestroute import ChatBestRoute
except ImportError as error:
    assert "bestroute[langchain]" in str(error), error
else:
    raise SystemExit("langchain is not an extra")
""",
    "static": """
from bestroute.routers import StaticEncoder
assert StaticEncoder().encode(["hello"]).shape[0] == 1
""",
    "langchain": _POOL
    + """
from langchain_bestroute import ChatBestRoute
assert ChatBestRoute(pool=POOL).invoke("6 * 7?").content == "It is 42."
""",
    "agents": _POOL
    + """
from langchain.agents import create_agent
from langchain_bestroute import BestRouteMiddleware, ChatBestRoute
llm = ChatBestRoute(pool=POOL)
assert create_agent(llm).invoke({"messages": "6 * 7?"})["messages"][-1].content == "It is 42."
""",
    "llamaindex": _POOL
    + """
from llamaindex_bestroute import BestRouteLLM
assert BestRouteLLM(pool=POOL).complete("6 * 7?").text == "It is 42."
""",
    "torch": """
from transformers import BertConfig, BertModel, BertTokenizerFast
from pathlib import Path
Path("vocab.txt").write_text("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello"]))
tokenizer = BertTokenizerFast(vocab_file="vocab.txt")
tokenizer.save_pretrained("tiny")
BertModel(BertConfig(vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                     intermediate_size=8)).save_pretrained("tiny")
from bestroute.routers import TransformerEncoder
assert TransformerEncoder("tiny").encode(["hello"]).shape == (1, 8)
""",
    "train": """
from importlib.resources import files
from bestroute import ModelPool
from bestroute.learning.fit import fit
from bestroute.learning.samples import read_samples
data = files("bestroute") / "data"
table = read_samples(data / "demo_samples.parquet", scored=True)
fitted = fit(table, ModelPool.from_yaml(data / "demo_pool.yaml"))
fitted.engine.save_pretrained("router")
from bestroute import BestRoute
assert BestRoute.from_pretrained("router").route("What is 6 * 7?").match_probability is not None
""",
    "datasets": """
import datasets
rows = [{"id": str(i), "query": f"q {i}"} for i in range(9)]
datasets.Dataset.from_list(rows).to_parquet("p.parquet")
from bestroute.learning.collecting.prompts import read_prompts
assert len(read_prompts("p.parquet")) == 9
""",
    "cli": """
import subprocess
assert subprocess.run(["bestroute", "init"], check=True, capture_output=True).returncode == 0
out = subprocess.run(["bestroute", "route", "6 * 7?", "--pool", "pool.yaml"], check=True,
                     capture_output=True, text=True).stdout
assert "small" in out, out
""",
    "demo": """
import subprocess
out = subprocess.run(["bestroute", "demo"], check=True, capture_output=True, text=True).stdout
assert "router" in out and "oracle" in out, out
""",
    "onnx": """
import onnxruntime
from bestroute.routers import onnx
""",
    "export": """
from bestroute.learning import export
""",
    "ray": """
from importlib.resources import files
from bestroute.learning.engines import RayEngine
from bestroute.learning.samples import read_samples
from bestroute.learning.scoring.score import score
table = read_samples(files("bestroute") / "data" / "demo_samples.parquet").slice(0, 20)
done = score(table, "scored.parquet", oracle="check", engine=RayEngine(workers=1))
assert done.missing["oracle_score"] == 0, done
""",
    "serve": """
import bestroute.serving.handlers, subprocess
subprocess.run(["bestroute", "serve", "--help"], check=True, capture_output=True)
""",
}


def main() -> None:
    """Check the extras that are named, or all."""
    wanted = sys.argv[1:] or list(CHECKS)
    if unknown := set(wanted) - CHECKS.keys():
        raise SystemExit(f"no extra {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    with tempfile.TemporaryDirectory() as folder:
        wheel = _built(Path(folder))
        failed = [extra for extra in wanted if not _works(extra, wheel, Path(folder) / extra)]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _built(folder: Path) -> Path:
    builder = _environment(folder / "builder")
    _run(builder, "-m", "pip", "install", "--quiet", "build")
    _run(builder, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _works(extra: str, wheel: Path, folder: Path) -> bool:
    began = time.monotonic()
    python = _environment(folder / "venv")
    what = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    _run(python, "-m", "pip", "install", "--quiet", *constraints, what)
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    env["PATH"] = f"{python.parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run([python, "-c", CHECKS[extra]], cwd=folder, env=env, check=False)
    works = done.returncode == 0
    verdict = "works" if works else "FAILED"
    sys.stdout.write(f"{extra}: {verdict} ({time.monotonic() - began:.0f} s)\n")
    sys.stdout.flush()
    return works


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def _run(python: Path, *arguments: str) -> None:
    subprocess.run([python, *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
