"""Engines run the loop. `Engine`: rows that join and leave, decoded together; `Graph`: the step captured once and
replayed, for GPUs."""

from decoders.engine.backends import Backend, CannotCapture, CudaGraphs, Recorded
from decoders.engine.engine import Engine
from decoders.engine.graph import Graph, Report
from decoders.engine.request import CancelledError, DeadlineError, Draft, Request, Result
from decoders.engine.service import Service

__all__ = [
    "Backend",
    "CancelledError",
    "CannotCapture",
    "CudaGraphs",
    "DeadlineError",
    "Draft",
    "Engine",
    "Graph",
    "Recorded",
    "Report",
    "Request",
    "Result",
    "Service",
]
