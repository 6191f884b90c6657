"""Quantised weights: their sizes, errors and answers."""
