"""Beliefs: what the samples of a model say of its chance to match the reference."""
