"""`decoders bench`: the commands that measure. Each is in the `cli.py` of its package."""

from __future__ import annotations

import click

from decoders.cli.lazy import Lazy

PLACES = {
    "areas": ("areas.cli:areas", "Compare one decoder's area under the accuracy curve with all others'."),
    "cache-time": ("caches.cli:cache_time", "Measure the time that caches save on a model of LLaDA's shape."),
    "caches": ("caches.cli:caches", "Measure what caches save on nano, and how many answers change."),
    "calibrate-entropycache": ("caches.cli:calibrate_entropycache", "Choose the default of EntropyCache's tau."),
    "calibration": ("calibration.cli:calibration", "Measure how well the probabilities of decisions are calibrated."),
    "constraints": ("constraints.cli:constraints", "Check texts under random JSON schemas, and time a constraint."),
    "demo": ("demo.cli:demo", "Decode one test prompt of each task with several decoders."),
    "duel": ("duel.cli:duel", "Is one decoder better than another at equal cost?"),
    "exactness": ("exactness.cli:exactness", "Compare the samples of decoders with a known distribution."),
    "golden": ("golden.cli:golden", "Replay recorded runs of official implementations."),
    "latency": ("latency.cli:latency", "Measure the time of a step and of its parts."),
    "latents": ("latents.cli:latents", "Compare samplers of latents and ways to round with nano."),
    "modes": ("modes.cli:modes", "Compare autoregression, thresholds, self-speculation and hybrids."),
    "peers": ("peers.cli:peers", "Compare other libraries with this one."),
    "quality": ("quality.cli:quality", "Measure accuracy against forwards for a grid of decoders, caches and tasks."),
    "quantised": ("quantised.cli:quantised", "Measure what int8 and int4 weights save, and their errors."),
    "report": ("report.cli:report", "Make one page of runs of quality and duel."),
    "row-time": ("step_time.rows_cli:row_time", "Measure the time of each statistic of logits on a CPU."),
    "step-time": ("step_time.cli:step_time", "Measure the time of a step without the model's forward."),
    "tasks": ("accuracy.cli:tasks", "Measure the accuracy of decoders on the generated tasks."),
    "throughput": ("throughput.cli:throughput", "Compare the throughput of the engine with fixed batches."),
    "train-nano": ("nano.cli:train_nano", "Train the embedded model."),
    "train-roles": ("nano.cli:train_roles", "Train the role head of role_order."),
    "versus": ("versus.cli:versus", "Compare autoregression with masked diffusion on twins trained alike."),
    "vllm": ("vllm.cli:vllm", "Compare the throughput of the library's loop and of vLLM."),
}


@click.group(cls=Lazy, places={name: (f"decoders_bench.{place}", about) for name, (place, about) in PLACES.items()})
def bench() -> None:
    """Measure decoders: golden replay, accuracy on tasks, step time; and train the embedded model."""
