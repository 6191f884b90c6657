"""What several bench commands share on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

F = TypeVar("F", bound=Callable[..., Any])

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="the last line of stdout is one JSON document: the rows, and the hardware that they ran on"
)
"""Gives a command the argument `as_json`; what it measured then goes to `emit`, after everything else that it prints."""


def emit(document: Mapping[str, Any]) -> None:
    """The line that `--json` promises: strict JSON, so numbers that are none have to be null. `decoders_bench.common.results.document`
    makes one of rows."""
    click.echo(json.dumps(document, allow_nan=False))


def progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def on_device(context: click.Context, option: click.Parameter, device: str) -> str:
    """The callback of `--device`. Raises `UsageError` for one that is not there."""
    import torch

    from decoders import UsageError

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"there is no device {device!r} here: {str(e).splitlines()[0]}") from None
    return device
