"""The model card of a saved router: Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def model_card(
    models: Sequence[Mapping[str, Any]], policy: Mapping[str, Any], body: str | None = None
) -> str:
    """Markdown with the front matter that the hub reads.

    Args:
        models: The pool's models, as the artifact describes them.
        policy: The policy's kind and plain arguments.
        body: What follows, such as an evaluation table.
    """
    lines = ["---", "library_name: bestroute", "tags: [llm-routing, best-of-n]", "---", ""]
    lines += ["# BEST-Route router", ""]
    lines += ["| model | id | max n | $ per 1M in / out | reference |", "|---|---|---|---|---|"]
    for model in models:
        price = model.get("price") or {}
        mark = "yes" if model.get("reference") else ""
        lines.append(
            f"| {model['name']} | `{model['model']}` | {model.get('max_samples', 1)} "
            f"| {price.get('input', '-')} / {price.get('output', '-')} | {mark} |"
        )
    told = ", ".join(f"{k} {v}" for k, v in policy.items() if v not in (None, {}))
    lines += ["", f"Policy: {told}.", ""]
    lines += ["```python", "from bestroute import BestRoute", ""]
    lines += ['engine = BestRoute.from_pretrained("this directory or hub id", pool=my_pool)', "```"]
    return "\n".join([*lines, "", body or "", ""]).rstrip() + "\n"
