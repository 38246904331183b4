"""A reward model's folder: JSON says what lies in it; a checkpoint of `transformers` has none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bestroute.errors import ArtifactError
from bestroute.rewards.base import RewardModel, load_reward

CONFIG_FILE = "reward.json"


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write `reward.json`: at least the `kind`."""
    text = json.dumps(description, indent=2) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Read `reward.json`.

    Raises:
        ArtifactError: It is absent or damaged.
    """
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is absent or damaged: {error}") from error
    if not isinstance(data, dict):
        raise ArtifactError(f"{path} is damaged: it describes nothing")
    return data


def load_folder(folder: str | Path) -> RewardModel:
    """Build the reward model that lies in a folder, of whatever kind.

    Raises:
        ArtifactError: What lies there is damaged.
        ConfigError: Nothing there can be loaded.
        MissingExtraError: The packages of its kind are not installed.
    """
    described = (Path(folder) / CONFIG_FILE).is_file()
    kind = read_description(Path(folder)).get("kind") if described else "classifier"
    return load_reward({"kind": kind, "name_or_path": str(folder)})
