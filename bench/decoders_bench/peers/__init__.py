"""Comparison of other decoders with this library: same machine, same model, same prompts, alternating runs."""
