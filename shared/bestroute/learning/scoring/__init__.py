"""Scoring: samples -> oracle and proxy scores."""
