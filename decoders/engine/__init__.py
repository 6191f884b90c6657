"""Other ways to run the loop. `Graph`: the step captured once and replayed, for GPUs."""

from decoders.engine.backends import Backend, CannotCapture, CudaGraphs, Recorded
from decoders.engine.graph import Graph, Report

__all__ = ["Backend", "CannotCapture", "CudaGraphs", "Graph", "Recorded", "Report"]
