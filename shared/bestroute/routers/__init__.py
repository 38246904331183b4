"""Routers: text in, match probabilities out."""

from bestroute.routers.base import Prediction, Router, SavableRouter
from bestroute.routers.encoder import Encoder, load_encoder
from bestroute.routers.heads import Heads
from bestroute.routers.multihead import MultiHeadRouter
from bestroute.routers.registry import load_router
from bestroute.routers.static import StaticEncoder
from bestroute.routers.transformer import TransformerEncoder

__all__ = [
    "Encoder",
    "Heads",
    "MultiHeadRouter",
    "Prediction",
    "Router",
    "SavableRouter",
    "StaticEncoder",
    "TransformerEncoder",
    "load_encoder",
    "load_router",
]
