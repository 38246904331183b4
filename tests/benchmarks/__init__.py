"""Benchmarks: what the figures of README and docs come from, one suite a module."""
