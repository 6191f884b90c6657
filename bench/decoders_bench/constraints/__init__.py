"""Constraints under random JSON schemas: whether every text is valid, and what that costs."""
