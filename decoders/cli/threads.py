"""The number of threads of commands that decode on a CPU with a small network: one, unless the user chose a number.

The layers of a small network are too short to be shared out: nano takes as long with one thread as with two, and half
the processor time; where other processes run, threads that wait for each other make it slower.
"""

from __future__ import annotations

import os

import torch
from torch import nn

from decoders.core import Model

SMALL = 5_000_000
"""Networks with fewer parameters are small; nano and nano-latent have 1 to 2 million."""
CHOSEN = "OMP_NUM_THREADS", "MKL_NUM_THREADS"
"""Variables of the environment by which users choose the number."""


def one_thread_if_small(model: Model) -> None:
    """Let torch use one thread in this process, if the model is on a CPU and its network is small. Nothing is changed
    if the environment gives a number, or the network is unknown."""
    if model.device.type == "cpu" and 0 < parameters(model) < SMALL and not any(x in os.environ for x in CHOSEN):
        torch.set_num_threads(1)


def parameters(model: Model) -> int:
    """The number of parameters of the networks that a model has as attributes; 0 if it has none."""
    networks = (x for x in getattr(model, "__dict__", {}).values() if isinstance(x, nn.Module))
    return sum(p.numel() for p in {id(p): p for net in networks for p in net.parameters()}.values())
