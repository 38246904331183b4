"""A saved router: safetensors for numbers, JSON for the rest, a model card for people."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bestroute._extras import require
from bestroute._files import packed, read_tensors, write
from bestroute.bundle import BUNDLED, bundle, fingerprint, unbundle
from bestroute.calibration import CalibrationTable
from bestroute.card import model_card
from bestroute.cost import CostModel
from bestroute.errors import (
    ArtifactError,
    BestRouteError,
    PoolMismatchError,
    RouterNotTrained,
)
from bestroute.manifest import (
    CONFIG_FILE,
    POOL_FIELDS,
    VERSION,
    Manifest,
    check_providers,
    hub_models,
    read_manifest,
    saved_pool,
)
from bestroute.policy import Adaptive, Policy
from bestroute.policy.registry import load_policy, policy_state
from bestroute.policy.saved_belief import repriced
from bestroute.pool import ModelPool, PooledModel
from bestroute.rewards import RewardModel, load_reward
from bestroute.routers.base import Router, SavableRouter
from bestroute.routers.registry import load_router

WEIGHTS_FILE = "router.safetensors"
POLICY_FILE = "policy.safetensors"
CARD_FILE = "README.md"

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # the hub's names without an owner are its own
_log = logging.getLogger(__name__)

_BELIEF = "belief"
"""What a policy with tensors of its own has in `bestroute.json`."""

_PROMISED = ("max_drop", "confidence", "target_cost")

_DAMAGE = (
    *(ArithmeticError, AttributeError, LookupError, OSError),
    *(RecursionError, TypeError, ValueError),
)
"""What a description that does not fit may raise deep within, or a file that it leads to."""


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
    config = Manifest(
        version=VERSION,
        models=[member.model_dump(include=set(POOL_FIELDS)) for member in pool.models],
        router=bundle(description, folder),
        policy=decides,
        calibration=calibration,
        token_stats=cost_model.stats,
        reward=bundle(reward.config(), folder, key="reward"),
        label_sampling={name: dict(params) for name, params in label_sampling.items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / WEIGHTS_FILE, packed(tensors))
    _write_beliefs(folder, decides, beliefs)
    write(folder / CONFIG_FILE, _json(config))
    write(folder / CARD_FILE, _card(config, card).encode())
    return folder


def update(directory: str | Path, *, calibration: CalibrationTable, policy: Policy) -> None:
    """Write what a new calibration found into a saved router; all else stays as it is.

    Raises:
        ArtifactError: The directory holds no sound router, or the policy cannot be saved.
    """
    folder = Path(directory)
    old = read_manifest(folder)
    decides, beliefs = policy_state(policy)
    new = old.model_copy(update={"version": VERSION, "calibration": calibration, "policy": decides})
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    head = _card(old).rstrip()
    if text.startswith(head):  # else it is someone's own card
        write(card, _card(new, text[len(head) :].strip()).encode())
    _write_beliefs(folder, decides, beliefs)
    write(folder / CONFIG_FILE, _json(new))


def _write_beliefs(folder: Path, decides: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """The policy's tensors; a policy without takes away what another one left."""
    if _BELIEF in decides:
        write(folder / POLICY_FILE, packed(tensors))
    else:
        (folder / POLICY_FILE).unlink(missing_ok=True)


def _beliefs(folder: Path, decides: Mapping[str, Any]) -> dict[str, Any]:
    return read_tensors(folder / POLICY_FILE) if _BELIEF in decides else {}


def load(
    name_or_path: str | Path, *, pool: ModelPool | None = None, revision: str | None = None
) -> dict[str, Any]:
    """Read an artifact into the arguments of `BestRoute`.

    Raises:
        ArtifactError: It is absent, incomplete, damaged, or of an unknown version.
        PoolMismatchError: It was made for another pool.
    """
    folder, from_hub = _folder(name_or_path, revision)
    config = read_manifest(folder)
    saved = saved_pool(folder, config.models)
    if pool is not None:
        _check_pool(pool, saved)
    elif from_hub:
        check_providers(saved)
        _tell_where_calls_go(name_or_path, saved)
    if from_hub and (models := hub_models(config)):
        _log.warning("%s loads further models from the hub: %s", name_or_path, ", ".join(models))
    with _sound(folder):
        return _parts(folder, config, saved, used=pool or saved)


def _parts(folder: Path, config: Manifest, saved: ModelPool, *, used: ModelPool) -> dict[str, Any]:
    router = load_router(unbundle(config.router, folder), read_tensors(folder / WEIGHTS_FILE))
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


@contextmanager
def _sound(folder: Path) -> Iterator[None]:
    """Whatever a description brings about that does not fit is damage, not a fault of ours."""
    try:
        yield
    except BestRouteError:
        raise
    except _DAMAGE as error:
        why = f"{type(error).__name__}: {error}"
        raise ArtifactError(f"{folder / CONFIG_FILE} does not fit together: {why:.300}") from error


def _tell_where_calls_go(name: str | Path, pool: ModelPool) -> None:
    models = ", ".join(member.model for member in pool.models)
    _log.warning(
        "%s is used without a pool of yours: prompts go to %s, with the keys of your environment; "
        "give pool= to say yourself who is asked",
        name,
        models,
    )


def _json(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def _card(manifest: Manifest, body: str | None = None) -> str:
    policy = {name: value for name, value in manifest.policy.items() if name != _BELIEF}
    return model_card(manifest.models, policy, body)


def _folder(name_or_path: str | Path, revision: str | None) -> tuple[Path, bool]:
    """Where it lies, and whether it came from the hub."""
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder, False
    if not _HUB_ID.fullmatch(str(name_or_path)):
        raise ArtifactError(
            f"{name_or_path!s} is neither a directory nor a hub id (owner/name); "
            "`bestroute fit pool.yaml prompts.jsonl -o router/` makes a directory"
        )
    hub = require("huggingface_hub", feature="Loading from the hub", extra="all")
    try:
        files = [CONFIG_FILE, WEIGHTS_FILE, POLICY_FILE, *(f"*/{pattern}" for pattern in BUNDLED)]
        found = hub.snapshot_download(str(name_or_path), revision=revision, allow_patterns=files)
        return Path(found), True
    except (OSError, ValueError) as error:  # all of the hub's own are one of these
        raise ArtifactError(
            f"{name_or_path!s} is neither a directory nor a hub id that can be had: {error}"
        ) from error


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
