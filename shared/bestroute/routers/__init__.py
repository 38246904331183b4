"""Routers: text in, match probabilities out."""

from bestroute.routers.base import Prediction, Router, SavableRouter
from bestroute.routers.clusters import ClusterRouter
from bestroute.routers.encoder import Encoder, load_encoder
from bestroute.routers.heads import Heads
from bestroute.routers.knn import KNNRouter
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.registry import load_router
from bestroute.routers.static import StaticEncoder
from bestroute.routers.subset import SubsetRouter
from bestroute.routers.transformer import TransformerEncoder

__all__ = [
    "ClusterRouter",
    "Encoder",
    "Heads",
    "KNNRouter",
    "MultiHeadRouter",
    "Prediction",
    "Router",
    "SavableRouter",
    "StaticEncoder",
    "SubsetRouter",
    "TransformerEncoder",
    "load_encoder",
    "load_router",
]
