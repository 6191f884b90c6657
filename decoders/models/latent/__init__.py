"""Models of continuous diffusion, which denoise latents in place of tokens (`Model.space`)."""
