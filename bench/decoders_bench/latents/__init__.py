"""What samplers of latents reach on a model of latents, in how many forwards, and beside a masked model."""
