"""Options that several commands share, and what they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_LOADING = (
    click.option(
        "-m",
        "--model",
        default="nano",
        show_default=True,
        metavar="SPEC",
        help="A model, the directory of a checkpoint, or ORG/NAME[@REVISION] on the hub.",
    ),
    click.option("--device", metavar="DEVICE", help="Where the model runs: cpu, cuda, cuda:1.  [default: the model's]"),
    click.option(
        "--dtype", metavar="TYPE", help="What it computes in: float32, bfloat16, float16, auto.  [default: the model's]"
    ),
    click.option(
        "--device-map",
        metavar="MAP",
        help="Spread it over several devices: auto, balanced, sequential (needs accelerate).",
    ),
    click.option(
        "--trust-remote-code", is_flag=True, default=None, help="Run the code that a checkpoint brings along."
    ),
    click.option(
        "--quantize", type=click.Choice(["int8", "int4"]), help="Its linear layers in 8 or 4 bits, once they are read."
    ),
)

_SHARED = (
    *_LOADING,
    click.option(
        "--chat/--raw",
        default=None,
        help="Put a prompt into the model's chat template, or do not.  [default: if it has one]",
    ),
    click.option(
        "-c", "--cache", metavar="SPEC", help="Which keys and values are reused.  [default: exact, or the preset's]"
    ),
    click.option(
        "-n",
        "--length",
        type=int,
        metavar="N",
        help="Positions after the prompt.  [default: the model's; with --infill 0]",
    ),
    click.option(
        "--block", type=int, metavar="N", help="Decode in blocks of this many positions.  [default: the model's]"
    ),
    click.option("--guidance", type=float, default=0.0, metavar="SCALE", help="Classifier-free guidance; 0 is none."),
    click.option(
        "--constraint",
        metavar="KIND:TEXT",
        help="What the text has to be: json:SCHEMA.json, regex:PATTERN, template:FILE.",
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="End a text before this; may be repeated."),
    click.option("--infill", is_flag=True, help="Mask tokens written in a prompt are holes to fill (nano: <|mask|>)."),
    click.option(
        "--ignore-eos",
        is_flag=True,
        help="Decode all positions even after a stop token; the text still ends before it.",
    ),
    click.option("--max-steps", type=int, metavar="N", help="End a text after this many forwards."),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="S",
        help="The seed of every prompt, wherever it stands.",
    ),
)


def shared(command: F) -> F:
    """The options that say which model, and how to decode."""
    return with_all(_SHARED, command)


def model_options(command: F) -> F:
    """The options that say which model, and how to load it."""
    return with_all(_LOADING, command)


def with_all(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def loading(how: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that say how to load a model, taken out of `how`; only what was given."""
    taken = {name: how.pop(name) for name in ("device", "dtype", "device_map", "trust_remote_code", "quantize")}
    return {name: value for name, value in taken.items() if value is not None}
