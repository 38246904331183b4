"""Files of a saved router, which may come from anyone: read within bounds, written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bestroute._extras import require
from bestroute.errors import ArtifactError

_MIB = 2**20
_MOST_JSON = 16 * _MIB
_MOST_HEADER = 4 * _MIB
_MOST_TENSORS = 2048 * _MIB
_DTYPES = ("F32", "F64")


def read_json(path: Path) -> Any:
    """What a JSON file holds: at most 16 MiB, no key twice, no NaN.

    Raises:
        ArtifactError: It is absent, too large, or damaged.
    """
    _check_size(path, _MOST_JSON)
    return _parsed(path.read_bytes(), path)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name: float32 or float64, at most 2 GiB.

    Nothing is allocated before the header has been checked against the file.

    Raises:
        ArtifactError: It is absent, too large, or damaged.
    """
    library = require("safetensors", feature="Loading a router", extra="all")
    numpy_file = require("safetensors.numpy", feature="Loading a router", extra="all")
    size = _check_size(path, _MOST_TENSORS)
    _check_header(path, size)
    try:
        return dict(numpy_file.load_file(str(path)))
    except (library.SafetensorError, ValueError, KeyError, OSError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def packed(tensors: Mapping[str, Any]) -> bytes:
    """Tensors as a safetensors file."""
    numpy_file = require("safetensors.numpy", feature="Saving a router", extra="all")
    # safetensors writes an array's memory as it lies, in Fortran's order too
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return bytes(numpy_file.save(whole))


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a link there is replaced, not followed."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.write_bytes(content)
    draft.replace(path)


def _check_size(path: Path, most: int) -> int:
    """The size of a file in bytes; a pipe or a device is none."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        size = None
    if size is None:
        raise ArtifactError(f"{path.parent} holds no {path.name}: not a whole saved router")
    if size > most:
        raise ArtifactError(f"{path} has {size:,} bytes, more than any saved router's ({most:,})")
    return size


def _check_header(path: Path, size: int) -> None:
    """Whether the header is small, and its tensors are floats that fill the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise ArtifactError(f"{path} is damaged: a header of {length:,} bytes")
        header = _parsed(file.read(length), path)
    tensors = header if isinstance(header, dict) else {"": None}
    filled = sum(_bytes_of(each, path) for name, each in tensors.items() if name != "__metadata__")
    if filled != size - 8 - length:
        raise ArtifactError(f"{path} is damaged: its header tells of {filled:,} bytes of tensors")


def _bytes_of(entry: Any, path: Path) -> int:
    told = entry if isinstance(entry, dict) else {}
    dtype, shape = told.get("dtype"), told.get("shape")
    if dtype not in _DTYPES:
        raise ArtifactError(f"{path} is damaged: a tensor of {dtype!r:.40}, not of float32 or 64")
    if not isinstance(shape, list) or not all(type(each) is int and each >= 0 for each in shape):
        raise ArtifactError(f"{path} is damaged: a tensor of the shape {shape!r:.40}")
    return int(dtype[1:]) // 8 * math.prod(shape)


def _parsed(raw: bytes, path: Path) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
