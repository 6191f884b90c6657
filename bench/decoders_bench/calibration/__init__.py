"""Calibration: whether labels with a given probability at holes are right that often."""
