"""`bench/gpu.sh`. Heavy imports are deferred: another process does the measurements, and it may be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from decoders_bench.gpu.codes import AGAIN, TIME_IS_UP

MARGIN = 4.0
"""Seconds reserved for an orderly end."""


@click.group()
def gpu() -> None:
    """What can be found out on a GPU in a few minutes, on a machine where nothing is installed; see docs/gpu.md."""


@gpu.command()
@click.option(
    "--seconds", default=540.0, show_default=True, type=click.FloatRange(20), help="end by itself within so many"
)
@click.option(
    "--out", required=True, envvar="OUT", type=click.Path(file_okay=False, path_type=Path), help="where results go"
)
@click.option("--again", multiple=True, metavar="PART", help="measure a part anew; repeat for more")
@click.option("--part", "only", multiple=True, metavar="PART", help="nothing but this part; repeat for more")
@click.option("--rehearse", is_flag=True, help="on the CPU, at tiny shapes: shows that everything runs, and no time")
def first(seconds: float, out: Path, again: tuple[str, ...], only: tuple[str, ...], rehearse: bool) -> None:
    """Everything, in the order of its value, each figure written when it is there. Called again, it goes on with what
    is missing."""
    deadline, goes_on = time.monotonic() + seconds - MARGIN, False
    while True:
        code = once(deadline, out, again, only, rehearse, goes_on)
        goes_on = True
        if code == 0 or (code != AGAIN and code > 0) or deadline - time.monotonic() < 20:
            sys.exit(code)


def once(
    deadline: float, out: Path, again: tuple[str, ...], only: tuple[str, ...], rehearse: bool, goes_on: bool
) -> int:
    """Run one measuring process; the result is its exit code, negative if a signal ended it."""
    asked = [sys.executable, "-m", "decoders_bench.gpu", "work", "--deadline", str(deadline), "--out", str(out)]
    asked += [x for flag, names in (("--again", again), ("--part", only)) for name in names for x in (flag, name)]
    asked += [flag for flag, given in (("--rehearse", rehearse), ("--goes-on", goes_on)) if given]
    env = os.environ | {"PYTHONFAULTHANDLER": "1"} | ({"TRITON_INTERPRET": "1"} if rehearse else {})
    process = subprocess.Popen(asked, env=env, start_new_session=True)
    try:
        return process.wait(timeout=deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        click.echo("time is up; what was found until now is written", err=True)
        return TIME_IS_UP
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@gpu.command(hidden=True)
@click.option("--deadline", required=True, type=float)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--again", multiple=True)
@click.option("--part", "only", multiple=True)
@click.option("--rehearse", is_flag=True)
@click.option("--goes-on", is_flag=True)
def work(
    deadline: float, out: Path, again: tuple[str, ...], only: tuple[str, ...], rehearse: bool, goes_on: bool
) -> None:
    """One process of `first`."""
    from decoders import UsageError
    from decoders_bench.gpu.work import work as measure

    try:
        code = measure(out, deadline, rehearse, again, only, goes_on)
    except UsageError as e:
        raise click.UsageError(str(e)) from None
    sys.stdout.flush()
    os._exit(code)  # a driver that hangs during exit costs no time


F = TypeVar("F", bound=Callable[..., None])


def training(folder: str) -> Callable[[F], F]:
    """The options of a training whose state or result is in a folder of OUT."""

    def given(command: F) -> F:
        for add in reversed((
            click.option("--seconds", required=True, type=click.FloatRange(5), help="end by itself within so many"),
            click.option(
                "--out", required=True, envvar="OUT", type=click.Path(file_okay=False, path_type=Path),
                help=f"what comes of it is in its folder {folder}",
            ),
            click.option("--rehearse", is_flag=True, help="on the CPU, a few steps of something smaller"),
        )):  # fmt: skip
            command = add(command)
        return command

    return given


@gpu.command()
@training("nano")
def nano(seconds: float, out: Path, rehearse: bool) -> None:
    """Train the embedded model further, as many steps as the seconds hold. The model is in OUT/nano/model, also where
    steps are left; called again, it goes on."""
    deadline = time.monotonic() + seconds - MARGIN
    from decoders_bench.gpu.nano import train_for
    from decoders_bench.gpu.scale import RESULTS

    sys.exit(0 if train_for(out / "nano", RESULTS / "nano", deadline, rehearse) else TIME_IS_UP)


@gpu.command("nano-latent")
@training("nano-latent")
def nano_latent(seconds: float, out: Path, rehearse: bool) -> None:
    """Train the embedded model of latents and its rounder, as many steps as the seconds hold. The model is in
    OUT/nano-latent/model, also where steps are left; called again, it goes on."""
    deadline = time.monotonic() + seconds - 2 * MARGIN
    from decoders_bench.gpu.latents import train_latents_for

    sys.exit(0 if train_latents_for(out / "nano-latent", deadline, rehearse) else TIME_IS_UP)


@gpu.command()
@training("versus")
@click.option(
    "--state", default=Path(tempfile.gettempdir()) / "decoders-versus", show_default=True,
    type=click.Path(file_okay=False, path_type=Path), help="what another call goes on from",
)
def versus(seconds: float, out: Path, state: Path, rehearse: bool) -> None:
    """Train twins for `bench versus`, six seeds of larger ones, in as many steps as the time holds. Called again, it
    goes on; `decoders bench versus -o OUT/versus` then measures them, anywhere."""
    deadline = time.monotonic() + seconds - MARGIN
    from decoders_bench.gpu.versus import train_for

    sys.exit(0 if train_for(out / "versus", state, deadline, rehearse) else TIME_IS_UP)


@gpu.command()
def record() -> None:
    """Record, here and on the CPU, what nano commits in which forward for everything that `first` replays; only what is
    missing."""
    from decoders_bench.gpu.record import missing

    for number, total, asked in missing():
        click.echo(f"{number} of {total}: {asked}")
