"""Samplers of continuous diffusion: strategies for models that denoise latents in place of tokens (`Model.space`)."""
