"""The JSON schema of a pool file: what editors complete and check."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel

from bestroute.pool import ModelPool, PooledModel, Price

_FIELD = re.compile(r"^    ([\w, ]+): (.*)$")


def pool_schema() -> dict[str, Any]:
    """The schema, every field described as in the class's documentation."""
    schema = ModelPool.model_json_schema()
    for kind in (PooledModel, Price):
        part = schema["$defs"][kind.__name__]
        part["description"], fields = _described(kind)
        for name, field in part["properties"].items():
            field["description"] = fields.get(name, "")
    schema["description"], _ = _described(ModelPool)
    return schema


def _described(kind: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the text of every attribute."""
    first, _, rest = inspect.getdoc(kind).partition("\n\n")  # type: ignore[union-attr]
    told: dict[str, str] = {}
    names: list[str] = []
    for line in rest.partition("Attributes:\n")[2].splitlines():
        if found := _FIELD.match(line):
            names = found[1].split(", ")
            told |= dict.fromkeys(names, found[2])
        elif line.strip():
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return first, told
