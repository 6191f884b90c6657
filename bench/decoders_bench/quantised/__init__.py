"""Weights in fewer bits: sizes, errors and answers."""
