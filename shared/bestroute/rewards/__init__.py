"""Reward models: a query and its responses in, scores out."""
