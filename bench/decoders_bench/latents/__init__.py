"""Samplers of latents: their accuracy and forward passes, compared with a masked model."""
