"""Pages whose tables are made by commands: each between marks of its own."""

from __future__ import annotations

import re
from pathlib import Path


def write(name: str, text: str, path: Path) -> None:
    """Put a section into a page, between its marks; SystemExit where the page has none."""
    page = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in page:
        raise SystemExit(f"{path} has no place for {name}: {start} {end}")
    body = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    page = body.sub(lambda _: f"{start}\n{text}\n{end}", page)
    path.write_text(page, encoding="utf-8")
