"""A saved router: safetensors for numbers, JSON for the rest, a model card for people."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bestroute._extras import require
from bestroute.bundle import BUNDLED, bundle, fingerprint, unbundle
from bestroute.calibration import CalibrationTable
from bestroute.cost import CostModel, TokenStats
from bestroute.errors import (
    ArtifactError,
    ConfigError,
    PoolMismatchError,
    RouterNotTrained,
)
from bestroute.policy import Adaptive, Policy
from bestroute.policy.registry import load_policy, policy_state
from bestroute.policy.saved_belief import repriced
from bestroute.pool import ModelPool, PooledModel
from bestroute.rewards import RewardModel, load_reward
from bestroute.routers.base import Router, SavableRouter
from bestroute.routers.registry import load_router

VERSION = 3
CONFIG_FILE = "bestroute.json"
WEIGHTS_FILE = "router.safetensors"
POLICY_FILE = "policy.safetensors"
CARD_FILE = "README.md"

_READABLE = (2, VERSION)
"""What 3 added: a policy's tensors, and which policy a calibration table is for."""

_log = logging.getLogger(__name__)

_BELIEF = "belief"
"""What a policy with tensors of its own has in `bestroute.json`."""

_PROMISED = ("max_drop", "confidence", "target_cost")

# What an artifact may say of a model: never where a key goes, never a parameter of the call.
_POOL_FIELDS = ("name", "model", "price", "max_samples", "reference", "native_n", "max_native_n")


class Config(BaseModel):
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
    models: list[dict[str, Any]]
    router: dict[str, Any]
    policy: dict[str, Any]
    calibration: CalibrationTable | None = None
    token_stats: dict[str, TokenStats] = {}
    reward: dict[str, Any] | None = None
    label_sampling: dict[str, dict[str, Any]] = {}


def save(
    directory: str | Path,
    *,
    pool: ModelPool,
    router: Router | None,
    policy: Policy,
    reward: RewardModel,
    cost_model: CostModel,
    label_sampling: Mapping[str, Mapping[str, Any]],
    calibration: CalibrationTable | None = None,
    card: str | None = None,
) -> Path:
    """Write an artifact.

    Raises:
        RouterNotTrained: There is no router.
        ArtifactError: The router or the policy is of a kind that cannot be saved.
    """
    if router is None:
        raise RouterNotTrained("there is no trained router to save")
    if not isinstance(router, SavableRouter):
        raise ArtifactError(f"a router of the kind {type(router).__name__} cannot be saved")
    description, tensors = router.state()
    decides, beliefs = policy_state(policy)
    folder = Path(directory)
    config = Config(
        version=VERSION,
        models=[member.model_dump(include=set(_POOL_FIELDS)) for member in pool.models],
        router=bundle(description, folder),
        policy=decides,
        calibration=calibration,
        token_stats=cost_model.stats,
        reward=bundle(reward.config(), folder, key="reward"),
        label_sampling={name: dict(params) for name, params in label_sampling.items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(_packed(tensors))
    _write_beliefs(folder, decides, beliefs)
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(config, card), encoding="utf-8")
    return folder


def update(directory: str | Path, *, calibration: CalibrationTable, policy: Policy) -> None:
    """Write what a new calibration found into a saved router; all else stays as it is.

    Raises:
        ArtifactError: The directory holds no sound router, or the policy cannot be saved.
    """
    folder = Path(directory)
    old = _config(folder)
    decides, beliefs = policy_state(policy)
    new = old.model_copy(update={"version": VERSION, "calibration": calibration, "policy": decides})
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    head = model_card(old, None).rstrip()
    if text.startswith(head):  # else it is someone's own card
        _replace(card, model_card(new, text[len(head) :].strip()).encode())
    _write_beliefs(folder, decides, beliefs)
    _replace(folder / CONFIG_FILE, (new.model_dump_json(indent=2) + "\n").encode())


def _write_beliefs(folder: Path, decides: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """The policy's tensors; a policy without takes away what another one left."""
    if _BELIEF in decides:
        _replace(folder / POLICY_FILE, _packed(tensors))
    else:
        (folder / POLICY_FILE).unlink(missing_ok=True)


def _beliefs(folder: Path, decides: Mapping[str, Any]) -> dict[str, Any]:
    return _tensors(folder / POLICY_FILE) if _BELIEF in decides else {}


def _packed(tensors: Mapping[str, Any]) -> bytes:
    numpy_file = require("safetensors.numpy", feature="Saving a router", extra="all")
    # safetensors writes an array's memory as it lies, in Fortran's order too
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return bytes(numpy_file.save(whole))


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(content)
    draft.replace(path)


def load(
    name_or_path: str | Path, *, pool: ModelPool | None = None, revision: str | None = None
) -> dict[str, Any]:
    """Read an artifact into the arguments of `BestRoute`.

    Raises:
        ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
        PoolMismatchError: It was made for another pool.
    """
    folder = _folder(name_or_path, revision)
    config = _config(folder)
    router = load_router(unbundle(config.router, folder), _tensors(folder / WEIGHTS_FILE))
    saved = _saved_pool(folder, config.models)
    if pool is not None:
        _check_pool(pool, saved)
    used = pool or saved
    decides, calibration = config.policy, config.calibration
    cost_model, alike = CostModel(used, config.token_stats), _decides_alike(used, saved)
    if calibration is not None and not alike:
        decides = {name: value for name, value in decides.items() if name not in _PROMISED}
        calibration = None
        _log.warning(
            "the pool in use has other arms or prices than the saved router's: what calibration "
            "promised does not hold for it; run `bestroute calibrate` on a router of this pool"
        )
    policy = load_policy(decides, _beliefs(folder, decides))
    if isinstance(policy, Adaptive) and not alike:
        policy.belief = repriced(policy.belief, CostModel(saved, config.token_stats), cost_model)
    parts: dict[str, Any] = {
        "pool": used,
        "router": router,
        "policy": policy,
        "calibration": calibration,
        "cost_model": cost_model,
        "label_sampling": config.label_sampling,
    }
    if config.reward is not None:
        parts["reward"] = load_reward(unbundle(config.reward, folder))
    return parts


def _folder(name_or_path: str | Path, revision: str | None) -> Path:
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    hub = require("huggingface_hub", feature="Loading from the hub", extra="all")
    try:
        files = [CONFIG_FILE, WEIGHTS_FILE, POLICY_FILE, *(f"*/{pattern}" for pattern in BUNDLED)]
        found = hub.snapshot_download(str(name_or_path), revision=revision, allow_patterns=files)
        return Path(found)
    except (OSError, ValueError) as error:  # all of the hub's own are one of these
        raise ArtifactError(
            f"{name_or_path!s} is neither a directory nor a hub id that can be had: {error}"
        ) from error


def _config(folder: Path) -> Config:
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{folder} holds no {CONFIG_FILE}: not a saved router") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error
    version = data.get("version") if isinstance(data, dict) else None
    if version not in _READABLE:
        raise ArtifactError(
            f"{path} is of version {version!r}, this library reads "
            f"{' and '.join(map(str, _READABLE))}; "
            "train again, or install the bestroute that wrote it"
        )
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path} is damaged: {field}: {first['msg']}") from error


def _saved_pool(folder: Path, models: list[dict[str, Any]]) -> ModelPool:
    """The pool that an artifact describes; it may come from anyone, and keys must not follow it."""
    for model in models:
        extra = sorted(set(model) - set(_POOL_FIELDS))
        if extra or "://" in str(model.get("model")):
            what = f"the field {extra[0]!r}" if extra else "an address as a model's id"
            raise ArtifactError(f"{folder / CONFIG_FILE} holds {what}, which no artifact may hold")
    try:
        return ModelPool.from_dict({"models": models})
    except ConfigError as error:
        raise ArtifactError(f"{folder / CONFIG_FILE} is damaged: {error}") from error


def _tensors(path: Path) -> dict[str, Any]:
    library = require("safetensors", feature="Loading a router", extra="all")
    numpy_file = require("safetensors.numpy", feature="Loading a router", extra="all")
    try:
        return dict(numpy_file.load_file(str(path)))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path.parent} holds no {path.name}") from error
    except (library.SafetensorError, ValueError, KeyError, OSError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error


def _check_pool(pool: ModelPool, saved: ModelPool) -> None:
    """The pool in use may only be a part of the saved one, under the same names."""
    if pool.reference.name != saved.reference.name:
        raise PoolMismatchError(
            f"the router was made against the reference {saved.reference.name!r}, "
            f"the pool's is {pool.reference.name!r}"
        )
    missing = [str(arm) for arm in pool.arms if arm not in saved.arms]
    if missing:
        raise PoolMismatchError(
            f"the router has no head for {', '.join(missing)}; "
            f"it was made for {', '.join(map(str, saved.arms))}"
        )
    for member in pool.models:
        _check_same_model(member, saved[member.name])


def _check_same_model(used: PooledModel, saved: PooledModel) -> None:
    # The provider in front may differ (openai/x here, hosted_vllm/x there); the model may not.
    if used.model.rpartition("/")[2] != saved.model.rpartition("/")[2]:
        raise PoolMismatchError(
            f"{used.name!r} is {used.model} in the pool and was {saved.model} in training; "
            "train again, or use the model that it was trained for"
        )


def _decides_alike(used: ModelPool, saved: ModelPool) -> bool:
    """Whether two pools state the same arms and prices."""
    stated = {"name", "price", "max_samples", "native_n", "max_native_n"}
    one, two = ([m.model_dump(include=stated) for m in pool.models] for pool in (used, saved))
    return one == two


def artifact_digest(
    *,
    router: Router | None,
    policy: Policy,
    reward: RewardModel,
    cost_model: CostModel,
    calibration: CalibrationTable | None = None,
) -> str | None:
    """Digest of what a saved router decides by, wherever it lies; `None` if it cannot be saved."""
    if not isinstance(router, SavableRouter):
        return None
    description, tensors = router.state()
    decides: dict[str, Any] = {"kind": policy.name, **vars(policy)}
    if _BELIEF in decides:
        decides, beliefs = policy_state(policy)
        tensors = {**tensors, **{f"{POLICY_FILE}:{name}": each for name, each in beliefs.items()}}
    facts = [
        fingerprint(description),
        decides,
        fingerprint(reward.config()),
        {name: stats.model_dump() for name, stats in cost_model.stats.items()},
        calibration and calibration.model_dump(),
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}:{tensor.dtype}:{tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()[:16]


def model_card(config: Config, body: str | None) -> str:
    """Markdown for people, with the front matter that the hub reads."""
    lines = ["---", "library_name: bestroute", "tags: [llm-routing, best-of-n]", "---", ""]
    lines += ["# BEST-Route router", ""]
    lines += ["| model | id | max n | $ per 1M in / out | reference |", "|---|---|---|---|---|"]
    for model in config.models:
        price = model.get("price") or {}
        mark = "yes" if model.get("reference") else ""
        lines.append(
            f"| {model['name']} | `{model['model']}` | {model.get('max_samples', 1)} "
            f"| {price.get('input', '-')} / {price.get('output', '-')} | {mark} |"
        )
    known = {k: v for k, v in config.policy.items() if v not in (None, {}) and k != _BELIEF}
    policy = ", ".join(f"{name} {value}" for name, value in known.items())
    lines += ["", f"Policy: {policy}.", ""]
    lines += ["```python", "from bestroute import BestRoute", ""]
    lines += ['engine = BestRoute.from_pretrained("this directory or hub id", pool=my_pool)', "```"]
    return "\n".join([*lines, "", body or "", ""]).rstrip() + "\n"
