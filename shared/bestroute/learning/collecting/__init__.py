"""Collecting: prompts and a pool -> samples of every model, crash-safe."""
