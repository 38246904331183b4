"""What `bestroute.json` holds, and what it may not hold: an artifact may come from anyone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bestroute._files import read_json
from bestroute.bundle import HERE
from bestroute.calibration import CalibrationTable
from bestroute.cost import TokenStats
from bestroute.errors import ArtifactError, ConfigError
from bestroute.pool import ModelPool

VERSION = 3
CONFIG_FILE = "bestroute.json"

_READABLE = (2, VERSION)
"""What 3 added: a policy's tensors, and which policy a calibration table is for."""

POOL_FIELDS = ("name", "model", "price", "max_samples", "reference", "native_n", "max_native_n")
"""What an artifact may say of a model: never where a key goes, never a parameter of the call."""

OWN_KEY = frozenset(
    {
        *("anthropic", "azure", "cohere", "cohere_chat", "deepseek", "fireworks_ai", "gemini"),
        *("groq", "mistral", "ollama", "ollama_chat", "openai", "openrouter", "recorded"),
        *("together_ai", "xai"),
    }
)
"""Providers that LiteLLM sends nothing but their own key, to an address of its own or the user's.

Many others are sent OPENAI_API_KEY where their own is not set.
"""

_MODEL_ID = re.compile(r"(?!os\.environ)\w[\w.:@+-]*(/[\w.:@+-]+)*", re.ASCII)
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_REVISION = re.compile(r"\w[\w./-]*", re.ASCII)
_MOST_MODELS = 256
_MOST_PARTS = 64


class Manifest(BaseModel):
    """What `bestroute.json` holds.

    Attributes:
        version: Version of this format.
        models: The pool's models: names, ids, prices, sample limits, the reference.
        router: The router's own description.
        policy: The policy's kind and arguments.
        calibration: Thresholds by promised drop and by cost, where they were looked for.
        token_stats: Token statistics per model.
        reward: Description of the reward model; `None` if the user brings it.
        label_sampling: Sampling parameters that the labels were made with, by model.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    version: int
    models: list[dict[str, Any]] = Field(max_length=_MOST_MODELS)
    router: dict[str, Any]
    policy: dict[str, Any]
    calibration: CalibrationTable | None = None
    token_stats: dict[str, TokenStats] = {}
    reward: dict[str, Any] | None = None
    label_sampling: dict[str, dict[str, Any]] = {}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a saved router.

    Raises:
        ArtifactError: It is absent, damaged, of an unknown version, or names what it may not.
    """
    path = folder / CONFIG_FILE
    data = read_json(path)
    version = data.get("version") if isinstance(data, dict) else None
    if version not in _READABLE:
        raise ArtifactError(
            f"{path} is of version {version!r:.40}, this library reads "
            f"{' and '.join(map(str, _READABLE))}; "
            "train again, or install the bestroute that wrote it"
        )
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path} is damaged: {field:.200}: {first['msg']}") from error
    for part in (manifest.router, manifest.reward):
        _check_parts(part, path)
    return manifest


def saved_pool(folder: Path, models: list[dict[str, Any]]) -> ModelPool:
    """The pool that an artifact describes; keys must not follow it.

    Raises:
        ArtifactError: It says more of a model than an artifact may, or makes no pool.
    """
    path = folder / CONFIG_FILE
    for model in models:
        extra = sorted(set(model) - set(POOL_FIELDS))
        if extra:
            raise ArtifactError(f"{path} holds the field {extra[0]!r:.40}, which {_MAY_NOT}")
        if not _MODEL_ID.fullmatch(str(model.get("model"))) or ".." in str(model.get("model")):
            raise ArtifactError(
                f"{path} holds an address or oddity as a model's id, which {_MAY_NOT}"
            )
        if not str(model.get("name", "")).isprintable():
            raise ArtifactError(f"{path} holds control characters in a name, which {_MAY_NOT}")
    try:
        return ModelPool.from_dict({"models": models})
    except ConfigError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def check_providers(pool: ModelPool) -> None:
    """Whether calls by a stranger's model ids can send a key to none but its own provider.

    Raises:
        ArtifactError: An id is of another provider; the user's own pool is needed.
    """
    for member in pool.models:
        provider, slash, _ = member.model.partition("/")
        if not slash or provider not in OWN_KEY:
            raise ArtifactError(
                f"the saved router from the hub names {member.model!r}: which key that would be "
                "sent, and where, is not the router's to say; give your own pool as pool="
            )


_MAY_NOT = "no artifact may hold"


def hub_models(manifest: Manifest) -> list[str]:
    """The models of the hub that router and reward model are built from."""
    parts = [part for each in (manifest.router, manifest.reward) for part in _parts(each)]
    names = [name for part in parts for name in _names(part) if not name.startswith(HERE)]
    return sorted(set(names))


def _check_parts(part: Any, path: Path) -> None:
    """Whether all models named are of the hub, or beside the manifest, and they are few."""
    found = list(_parts(part))
    if len(found) > _MOST_PARTS:
        raise ArtifactError(f"{path} is damaged: a router of {len(found)} parts")
    for each in found:
        for name in _names(each):
            if not name.startswith(HERE) and (not _HUB_ID.fullmatch(name) or ".." in name):
                raise ArtifactError(
                    f"{path} names the model {name!r:.80}: neither of the hub, nor beside it"
                )
        revision = each.get("revision")
        if revision is None:
            continue
        if not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision:
            raise ArtifactError(f"{path} is damaged: the revision {revision!r:.80}")


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    """The descriptions in a description: routers in routers, their encoders."""
    stack = [config]
    while stack:
        each = stack.pop()
        if isinstance(each, Mapping):
            if "kind" in each:
                yield each
            stack += each.values()
        elif isinstance(each, list):
            stack += each


def _names(part: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(part[key]) for key in ("name", "name_or_path") if key in part)
