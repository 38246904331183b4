"""Weights beside a saved router: local models move with it, hub ids stay names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bestroute.errors import ArtifactError

_NAMES = ("name", "name_or_path")
_HERE = "./"
BUNDLED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
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
    if isinstance(config, list):
        return [bundle(each, folder, key=f"{key}-{i}") for i, each in enumerate(config)]
    if not isinstance(config, Mapping):
        return config
    packed = {name: bundle(each, folder, key=str(name)) for name, each in config.items()}
    for name in _NAMES:
        source = packed.get(name)
        if isinstance(source, str) and key and Path(source).is_dir():
            _copy(Path(source), folder / key)
            packed[name] = f"{_HERE}{key}"
    return packed


def unbundle(config: Any, folder: Path) -> Any:
    """The config with the names of bundled models made paths again.

    Raises:
        ArtifactError: A name leads out of the artifact.
    """
    if isinstance(config, list):
        return [unbundle(each, folder) for each in config]
    if not isinstance(config, Mapping):
        return config
    opened = {name: unbundle(each, folder) for name, each in config.items()}
    for name in _NAMES:
        inside = opened.get(name)
        if isinstance(inside, str) and inside.startswith(_HERE):
            path = (folder / inside).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise ArtifactError(f"{name}: {inside!r} leads out of the artifact")
            opened[name] = str(path)
    return opened


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    for pattern in BUNDLED:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
