"""Reading YAML so that an error can name its file, line and field."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bestroute.errors import ConfigError

Location = tuple[str | int, ...]


def read_yaml(source: str | Path) -> tuple[str, Any, dict[Location, int]]:
    """Parse a YAML file, or YAML text that holds a line break.

    Returns:
        Where it came from, the data, and the line (from 1) of every field.

    Raises:
        ConfigError: The file is absent or is not YAML.
    """
    is_text = isinstance(source, str) and "\n" in source
    where = "<text>" if is_text else str(source)
    try:
        text = str(source) if is_text else Path(source).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping with a `models:` list at the top")
    lines: dict[Location, int] = {}
    _collect_lines(node, (), lines)
    return where, data, lines


def _collect_lines(node: yaml.Node | None, path: Location, lines: dict[Location, int]) -> None:
    if node is None:
        return
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*path, index), lines)


def explain(
    error: ValidationError,
    model: type[BaseModel],
    *,
    where: str = "",
    lines: dict[Location, int] | None = None,
) -> str:
    """One line a mistake: where it is, what was found, what to write instead.

    Values are left out: a key may stand in the wrong field.
    """
    return "\n".join(_explain_one(item, model, where, lines or {}) for item in error.errors())


def _explain_one(item: Any, model: type[BaseModel], where: str, lines: dict[Location, int]) -> str:
    location: Location = tuple(item["loc"])
    known = next((lines[p] for p in _prefixes(location) if p in lines), None)
    place = ":".join(str(part) for part in (where, known) if part)
    field = ".".join(str(part) for part in location) or "pool"
    text = f"{field}: {item['msg'].removeprefix('Value error, ')}"
    if item["type"] == "extra_forbidden":
        text = f"{field}: unknown field{_suggest(str(location[-1]), model)}"
    return f"{place}: {text}" if place else text


def _prefixes(location: Location) -> list[Location]:
    return [location[:end] for end in range(len(location), -1, -1)]


def _suggest(name: str, model: type[BaseModel]) -> str:
    fields = list(model.model_fields)
    close = difflib.get_close_matches(name, fields, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known fields: {', '.join(fields)} (other LiteLLM parameters belong under params)"
