"""Reading YAML so that an error can name its file, line and field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from bestroute._plain import DEEPEST
from bestroute.errors import ConfigError

if TYPE_CHECKING:
    import yaml

Location = tuple[str | int, ...]

_MOST_NODES = 20_000
"""Anchors followed: a short file may stand for a very long one."""
_ODD_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML raises on a month 13, or a `!!bool` that is none."""


def read_yaml(source: str | Path) -> tuple[str, Any, dict[Location, int]]:
    """Parse a YAML file, or YAML text that holds a line break.

    Returns:
        Where it came from, the data, and the line (from 1) of every field.

    Raises:
        ConfigError: The file is absent or is not YAML.
    """
    import yaml  # late: many a pool is plain data

    if not isinstance(source, str | Path):
        raise ConfigError(f"expected the path of a YAML file, not {type(source).__name__}")
    is_text = isinstance(source, str) and "\n" in source
    where = "<text>" if is_text else f"{source!s:.200}"
    text = str(source) if is_text else _read(Path(source), where)
    lines: dict[Location, int] = {}
    try:
        _collect_lines(yaml.compose(text, Loader=yaml.SafeLoader), (), lines)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Not its own words: they quote the line, which may hold a key.
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise ConfigError(f"{place}: is not valid YAML: {problem or 'unreadable'}") from None
    except _ODD_VALUES:
        raise ConfigError(f"{where}: is not valid YAML: a value that its tag cannot have") from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested too deep") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping with a `models:` list at the top")
    return where, data, lines


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise ConfigError(
            f"{where}: is a directory, not a YAML file; from_pretrained loads a saved router"
        ) from error
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: is not UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{where!r} is not the path of a file: {error}") from error


def _collect_lines(node: yaml.Node | None, path: Location, lines: dict[Location, int]) -> None:
    import yaml

    if node is None:
        return
    if len(lines) > _MOST_NODES or len(path) > DEEPEST:
        raise yaml.MarkedYAMLError(
            problem="more fields or levels than any pool has", problem_mark=node.start_mark
        )
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _check_key(key, path, lines)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _collect_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*path, index), lines)


def _check_key(key: yaml.Node, path: Location, lines: Mapping[Location, int]) -> None:
    import yaml

    if not isinstance(key, yaml.ScalarNode):
        problem = "a name is a list or a mapping"
    elif (*path, key.value) in lines:  # YAML itself would let the last one win
        problem = f"{key.value!r} stands here twice"
    else:
        return
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)


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
        text = f"{field}: unknown field{_suggest(location, model)}"
    return f"{place}: {text}" if place else text


def _prefixes(location: Location) -> list[Location]:
    return [location[:end] for end in range(len(location), -1, -1)]


def _suggest(location: Location, model: type[BaseModel]) -> str:
    fields = list(_owner(location, model).model_fields)
    close = difflib.get_close_matches(str(location[-1]), fields, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    elsewhere = " (other LiteLLM parameters belong under params)" if "params" in fields else ""
    return f"; known fields: {', '.join(fields)}{elsewhere}"


def _owner(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    """The model whose field a location names."""
    for part in location[:-1]:
        if part in model.model_fields:
            model = _nested(model.model_fields[str(part)].annotation) or model
    return model


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _nested(arg))), None)
