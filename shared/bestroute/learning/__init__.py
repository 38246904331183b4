"""What is done offline: samples table, labels, training, calibration, evaluation."""
