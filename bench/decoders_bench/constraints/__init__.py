"""Constraints with random JSON schemas: the validity of the texts, and the additional time."""
