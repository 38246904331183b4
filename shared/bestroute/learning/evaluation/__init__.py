"""Evaluation: every method at equal realised cost, and what it looks like."""
