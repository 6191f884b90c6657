"""Autoregression against masked diffusion: twins that differ in what a position sees and in what they are asked to
predict, and in nothing else."""
