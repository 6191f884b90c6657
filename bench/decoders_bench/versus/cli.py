"""`decoders bench versus`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import device_option, emit, json_option, progress, workers_option

QUICK: dict[str, Any] = {"seeds": 1, "regimes": ("fresh",), "kinds": ("ar", "mdm"), "steps": 1500}


@click.command("versus")
@click.option(
    "-o", "--out", required=True, metavar="RUN", type=click.Path(path_type=Path), help="directory of the run"
)
@click.option("--quick", is_flag=True, help="one seed, two twins, 1500 steps, half the items: in five to ten minutes")
@click.option("--seeds", type=click.IntRange(1), help="seeds of weights and of examples  [default: 3]")
@click.option(
    "--regime", "regimes", multiple=True, metavar="fresh|repeat:N",
    help="every example new, or N of them again and again; repeat for more  [default: fresh, repeat:500]",
)
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(("ar", "mdm", "block", "again", "latent")),
    help="twins to train, or to add to a run that is trained; again: autoregression from other initial weights; "
    "latent: diffusion of latents; repeat for more  [default: all]",
)
@click.option("--steps", type=click.IntRange(1), help="optimiser steps  [default: 2500]")
@device_option
@workers_option
@json_option
def versus(
    out: Path, quick: bool, seeds: int | None, regimes: tuple[str, ...], kinds: tuple[str, ...], steps: int | None,
    device: str, workers: int, as_json: bool,
) -> None:
    """Autoregression against masked diffusion: twins that differ in what a position sees and in what they are asked to
    predict, and in nothing else; and what differs between them then, with intervals over seeds.

    Trains the twins, measures them, and writes RUN/report.html and RUN/results.json. The twins are checkpoints: -m
    RUN/ar, -m RUN/mdm, -m RUN/block, -m RUN/latent, of the first seed. A run that was cut off goes on with the same
    command; so does one whose weights were trained elsewhere (bench/gpu.sh versus). With a further --kind, a run that
    is trained gains that twin, and the others stay as they are."""
    from dataclasses import replace

    from decoders_bench.versus.claims import claims, same
    from decoders_bench.versus.page import page
    from decoders_bench.versus.plan import Plan
    from decoders_bench.versus.stages import begin, run
    from decoders_bench.versus.tables import claim_table, same_line, sentence

    given: dict[str, Any] = {
        "seeds": seeds, "regimes": regimes or None, "kinds": tuple(dict.fromkeys(kinds)) or None, "steps": steps
    }  # fmt: skip
    asked = (QUICK if quick else {}) | {name: x for name, x in given.items() if x is not None}
    plan, share = begin(out, replace(Plan(), **asked), 0.5 if quick else 1.0, set(asked))
    with progress() as bar:
        lines: dict[str, Any] = {}
        told = [0.0]

        def notify(stage: str, done: int, total: int) -> None:
            if stage not in lines:
                lines[stage] = bar.add_task(stage, total=total)
            bar.update(lines[stage], completed=done)
            if bar.disable and (time.monotonic() - told[0] > 30 or done == total):
                told[0] = time.monotonic()
                click.echo(f"{stage}: {done} of {total}", err=True)

        found = run(plan, share, out, device, workers, notify)
    (out / "report.html").write_text(page(found, plan), encoding="utf-8")
    own, check = claims(found, plan), same(found, plan)
    for c in own:
        click.echo(sentence(c))
    if check:
        click.echo(f"\n{claim_table(check)}\n\n{same_line(check)}")
    click.echo(f"wrote {out / 'report.html'}")
    if as_json:
        emit({
            "command": "versus", "run": str(out), "claims": [vars(c) | {"verdict": c.word} for c in own],
            "same": [vars(c) | {"verdict": c.word} for c in check]
        })
