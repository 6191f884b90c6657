"""Likelihoods: the log-probability that a model gives to an existing answer, in nats.

`likelihoods` and `greedy` take token ids and any `Model`; `Scorer` takes texts and conversations and a loaded
checkpoint."""

from decoders.likelihood.estimate import DRAWS, Likelihood, check_pair, greedy, likelihoods
from decoders.likelihood.text import Scorer, windows

__all__ = ["DRAWS", "Likelihood", "Scorer", "check_pair", "greedy", "likelihoods", "windows"]
