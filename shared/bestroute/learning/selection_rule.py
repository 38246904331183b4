"""How best-of-n selects when outcomes are summed: as the router's reward model will."""

from __future__ import annotations

from typing import Any

from bestroute.errors import ConfigError
from bestroute.rewards.answers import extract_answer
from bestroute.rewards.base import RewardModel
from bestroute.rewards.consistency import SelfConsistency


def selection_of(reward: RewardModel) -> dict[str, Any]:
    """The arguments of `Outcomes.from_samples` that select as this reward model does.

    Self-consistency compares the recorded answers; any other reward model's scores are those
    of the `proxy_score` column.

    Raises:
        ConfigError: The reward model compares answers in a way that the table does not hold.
    """
    if not isinstance(reward, SelfConsistency):
        return {}
    config = reward.config()
    if config is None or config["encoder"] is not None:
        raise ConfigError(
            "self-consistency with an encoder or an extractor of one's own cannot be summed "
            "over recorded samples; use the plain one, or a reward model that scores each "
            "response on its own"
        )
    return {"agreement": extract_answer}
