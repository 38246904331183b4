"""Routers: text in, match probabilities out."""
