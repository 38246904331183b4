"""BEST-Route: pay for the big model only when a query needs it (arXiv 2506.22716).

For each query a router picks a model and a number of samples n; a reward model picks the best
of n; the response carries the decision and the cost of everything.
"""

from typing import TYPE_CHECKING

from bestroute._lazy import names_of

if TYPE_CHECKING:
    from bestroute.engine import BestRoute
    from bestroute.policy import Cascade, Decision, OneShot
    from bestroute.pool import Arm, ModelPool, PooledModel, Price
    from bestroute.response import RoutedResponse
    from bestroute.rewards import RewardModel
    from bestroute.routers import Prediction, Router
    from bestroute.samples import Sample, Usage

__version__ = "0.1.0"

__all__ = [
    "Arm",
    "BestRoute",
    "Cascade",
    "Decision",
    "ModelPool",
    "OneShot",
    "PooledModel",
    "Prediction",
    "Price",
    "RewardModel",
    "RoutedResponse",
    "Router",
    "Sample",
    "Usage",
]

__getattr__ = names_of(
    __name__,
    {
        "Arm": "pool",
        "BestRoute": "engine",
        "Cascade": "policy",
        "Decision": "policy",
        "ModelPool": "pool",
        "OneShot": "policy",
        "PooledModel": "pool",
        "Prediction": "routers",
        "Price": "pool",
        "RewardModel": "rewards",
        "RoutedResponse": "response",
        "Router": "routers",
        "Sample": "samples",
        "Usage": "samples",
    },
)
