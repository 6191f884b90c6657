"""`decoders bench`: the commands that measure. Each is in the `cli.py` of its room."""

from __future__ import annotations

import click

from decoders.cli.lazy import Lazy

PLACES = {
    "areas": ("areas.cli:areas", "One decoder's area under the accuracy curve against all others'."),
    "cache-time": ("caches.cli:cache_time", "What caches save on a model of LLaDA's shape."),
    "caches": ("caches.cli:caches", "What caches save on nano, and what they cost in answers."),
    "calibrate-entropycache": ("caches.cli:calibrate_entropycache", "The default of EntropyCache's tau."),
    "calibration": ("calibration.cli:calibration", "Whether what decisions call probable is right as often."),
    "constraints": ("constraints.cli:constraints", "Texts under random JSON schemas, and what a constraint costs."),
    "demo": ("demo.cli:demo", "One test prompt of each task under several decoders."),
    "duel": ("duel.cli:duel", "Is one decoder better than another at equal cost?"),
    "exactness": ("exactness.cli:exactness", "What decoders sample, against a distribution that is known."),
    "golden": ("golden.cli:golden", "Replay recorded runs of official implementations."),
    "latency": ("latency.cli:latency", "Milliseconds a step, and where they go."),
    "latents": ("latents.cli:latents", "Samplers of latents against forwards, and ways to round, beside nano."),
    "modes": ("modes.cli:modes", "Autoregression, thresholds, self-speculation and hybrids side by side."),
    "peers": ("peers.cli:peers", "Other libraries beside this one, in turns."),
    "quality": ("quality.cli:quality", "Accuracy against forwards, for a grid of decoders, caches and tasks."),
    "quantised": ("quantised.cli:quantised", "What int8 and int4 weights save, and what they cost."),
    "report": ("report.cli:report", "What runs of quality and duel show, as one page."),
    "row-time": ("step_time.rows_cli:row_time", "The time of each statistic of logits on a CPU."),
    "step-time": ("step_time.cli:step_time", "The time of a step without the model's forward."),
    "tasks": ("accuracy.cli:tasks", "Accuracy of decoders on the generated tasks."),
    "throughput": ("throughput.cli:throughput", "Tokens a second of many prompts: the engine beside fixed batches."),
    "train-nano": ("nano.cli:train_nano", "Train the embedded model."),
    "train-roles": ("nano.cli:train_roles", "Train the role head of role_order."),
    "versus": ("versus.cli:versus", "Autoregression against masked diffusion: twins trained alike."),
    "vllm": ("vllm.cli:vllm", "Tokens a second of the library's loop and of vLLM."),
}


@click.group(cls=Lazy, places={name: (f"decoders_bench.{place}", about) for name, (place, about) in PLACES.items()})
def bench() -> None:
    """Measure decoders: golden replay, accuracy on tasks, step time; and train the embedded model."""
