"""Weights beside a saved router: local models move with it, hub ids stay names."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bestroute.errors import ArtifactError

_NAMES = ("name", "name_or_path")
HERE = "./"
BUNDLED = ("*.safetensors", "*.onnx", "*.json", "*.txt", "*.model", "*.jinja")
"""Files of a model that are copied: no pickles, no code."""


def bundle(config: Any, folder: Path, *, key: str = "") -> Any:
    """Copy each local model that a config names into the artifact.

    Args:
        config: JSON-able; a model's folder stands under `name` or `name_or_path`.
        folder: The artifact's.
        key: Where in the config this is; names the copy.

    Returns:
        The config with names relative to the artifact.
    """

    def pack(name: str, place: str) -> str:
        if not place or not Path(name).is_dir():
            return name
        _copy(Path(name), folder / place)
        return f"{HERE}{place}"

    return _renamed(config, pack, key)


def unbundle(config: Any, folder: Path) -> Any:
    """The config with the names of bundled models made paths again.

    Raises:
        ArtifactError: A name leads out of the artifact.
    """

    def unpack(name: str, place: str) -> str:
        if not name.startswith(HERE):
            return name
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ArtifactError(f"{name!r} leads out of the artifact")
        return str(path)

    return _renamed(config, unpack, "")


def fingerprint(config: Any) -> Any:
    """The config with the SHA-256 of a local model in place of its name, wherever it lies."""

    def digest(name: str, place: str) -> str:
        return _digest(Path(name)) if Path(name).is_dir() else name

    return _renamed(config, digest, "")


def _renamed(config: Any, rename: Callable[[str, str], str], key: str) -> Any:
    """A config whose models are renamed; `rename` is told the name and the keys above it."""
    if isinstance(config, list):
        return [_renamed(each, rename, f"{key}-{i}") for i, each in enumerate(config)]
    if not isinstance(config, Mapping):
        return config
    above = f"{key}-" if key else ""
    changed = {name: _renamed(each, rename, f"{above}{name}") for name, each in config.items()}
    for name in _NAMES:
        if isinstance(changed.get(name), str):
            changed[name] = rename(changed[name], key)
    return changed


def _files(folder: Path) -> list[Path]:
    return sorted(file for pattern in BUNDLED for file in folder.glob(pattern))


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for stale in _files(target):  # of a model saved here before
        stale.unlink()
    for file in _files(source):
        shutil.copyfile(file, target / file.name)
