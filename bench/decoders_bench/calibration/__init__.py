"""Calibration: whether the probabilities of labels at holes are shares of being right."""
