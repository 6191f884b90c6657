"""`decoders bench`: the commands that measure. Each is in the `cli.py` of its room."""

from __future__ import annotations

import click

from decoders_bench.accuracy.cli import tasks
from decoders_bench.areas.cli import areas
from decoders_bench.caches.cli import cache_time, caches, calibrate_entropycache
from decoders_bench.calibration.cli import calibration
from decoders_bench.constraints.cli import constraints
from decoders_bench.demo.cli import demo
from decoders_bench.duel.cli import duel
from decoders_bench.exactness.cli import exactness
from decoders_bench.golden.cli import golden
from decoders_bench.latency.cli import latency
from decoders_bench.latents.cli import latents
from decoders_bench.modes.cli import modes
from decoders_bench.nano.cli import train_nano, train_roles
from decoders_bench.peers.cli import peers
from decoders_bench.quality.cli import quality
from decoders_bench.quantised.cli import quantised
from decoders_bench.report.cli import report
from decoders_bench.step_time.cli import step_time
from decoders_bench.throughput.cli import throughput
from decoders_bench.versus.cli import versus
from decoders_bench.vllm.cli import vllm


@click.group()
def bench() -> None:
    """Measure decoders: golden replay, accuracy on tasks, step time; and train the embedded model."""


for command in (
    areas, cache_time, caches, calibrate_entropycache, calibration, constraints, demo, duel, exactness, golden, latency,
    latents, modes, peers, quality, quantised, report, step_time, tasks, throughput, train_nano, train_roles, versus,
    vllm,
):  # fmt: skip
    bench.add_command(command)
