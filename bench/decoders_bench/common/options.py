"""What the bench commands share on the command line: options, a progress bar, and how a command ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]

json_option: Option[Any] = click.option(
    "--json", "as_json", is_flag=True,
    help="the last line of stdout is one JSON document with the rows and the hardware"
)
"""Gives a command the argument `as_json`; what it measured then goes to `finish` or to `emit`, after everything else
that it prints."""
output_option: Option[Any] = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON"
)
workers_option: Option[Any] = click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1), help="processes of one thread"
)
clock_option: Option[Any] = click.option(
    "--clock", default="wall", show_default=True, type=click.Choice(("wall", "cpu")),
    help="cpu: processor time of one thread, for a machine with other load",
)
threads_option: Option[Any] = click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1), help="threads of torch"
)
seed_option: Option[Any] = click.option("--seed", default=0, show_default=True, help="another seed draws others")
split_option: Option[Any] = click.option(
    "--split", default="test", show_default=True, type=click.Choice(["train", "validation", "test"]),
    help="the items' part of the data; nano has seen those of train",
)


def decoders_option(default: Sequence[str] | None = None, told: str = "") -> Option[Any]:
    """`-d`, which may be repeated, as the argument `decoders`; `told`: what is taken where nothing is given, if that is
    no list."""
    text = "decoder spec; repeat for more" + (f"  [default: {told}]" if told else "")
    return click.option(
        "-d", "--decoder", "decoders", multiple=True, default=default, show_default=default is not None, help=text
    )


def tasks_option(default: Sequence[str] | None = None, told: str = "") -> Option[Any]:
    """`-t`, which may be repeated, as the argument `tasks`."""
    text = "task or task/rung; repeat for more" + (f"  [default: {told}]" if told else "")
    return click.option(
        "-t", "--task", "tasks", multiple=True, default=default, show_default=default is not None, help=text
    )


def on_device(context: click.Context, option: click.Parameter, device: str) -> str:
    """The callback of `--device`. Raises `UsageError` for one that is not there."""
    import torch

    from decoders import UsageError

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"there is no device {device!r} here: {str(e).splitlines()[0]}") from None
    return device


device_option: Option[Any] = click.option(
    "--device", default="cpu", show_default=True, callback=on_device, help="where the model runs"
)


def repeats_option(default: int, told: str = "timed rounds; the median counts") -> Option[Any]:
    """`--repeats`; `told`: of what."""
    return click.option("--repeats", default=default, show_default=True, type=click.IntRange(1), help=told)


def length_option(default: int) -> Option[Any]:
    return click.option(
        "--length", default=default, show_default=True, type=click.IntRange(1), help="positions of the canvas"
    )


def progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


@contextmanager
def tracked(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar over `total` of something. What is given moves it on by one, whatever it is called with."""
    with progress() as bar:
        line = bar.add_task(what, total=total)
        yield lambda *_: bar.advance(line)


def finish(
    command: str, rows: Sequence[DataclassInstance], text: str, output: Path | None, as_json: bool, device: str = "cpu",
    **more: Any
) -> None:
    """How a command ends: the rows go to the file that was asked for, the text to stdout, and behind it the document of
    `--json`, in which `more` stands beside the rows."""
    from decoders_bench.common.results import document, save

    if output:
        save(output, rows, device)
    click.echo(text)
    if as_json:
        emit(document(command, rows, device, **more))


def emit(document: Mapping[str, Any]) -> None:
    """The line that `--json` promises: strict JSON, so numbers that are none have to be null.
    `decoders_bench.common.results.document` makes one of rows."""
    click.echo(json.dumps(document, allow_nan=False))
