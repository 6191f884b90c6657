"""Options that several commands share, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from decoders import registry
from decoders.core.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_SHARED = (
    click.option("-m", "--model", default="nano", show_default=True, metavar="SPEC", help="A model, or the directory of a checkpoint."),
    click.option("-c", "--cache", default="exact", show_default=True, metavar="SPEC", help="Which keys and values are reused."),
    click.option("-n", "--length", type=int, metavar="N", help="Positions after the prompt.  [default: the model's; with --infill 0]"),
    click.option("--block", type=int, metavar="N", help="Decode in blocks of this many positions.  [default: the model's]"),
    click.option("--guidance", type=float, default=0.0, metavar="SCALE", help="Classifier-free guidance; 0 is none."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End a text before this; may be repeated."),
    click.option("--infill", is_flag=True, help="Mask tokens written in a prompt are holes to fill (nano: <|mask|>)."),
    click.option("--ignore-eos", is_flag=True, help="Decode all positions even after a stop token; the text still ends before it."),
    click.option("--max-steps", type=int, metavar="N", help="End a text after this many forwards."),
    click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="The seed of every prompt, wherever it stands."),
)


def shared(command: F) -> F:
    """The options that say how to decode."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def with_options(spec: str, **given: Any) -> str:
    """A decoder's spec with options of the command line written into it. Raises `UsageError` if one stands in both."""
    name, written = registry.split("strategies", spec)
    for key, value in given.items():
        if value is None:
            continue
        if key in written:
            raise UsageError(f"{key} stands in {spec!r} and as --{key.replace('_', '-')}; leave one out")
        written[key] = str(value)
    return f"{name}:{','.join(f'{k}={v}' for k, v in written.items())}" if written else name
