"""Calibration: thresholds, as a point estimate and with a promise."""
