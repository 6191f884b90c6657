"""Options that several commands share, and the objects that are made from them."""

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
        "--dtype", metavar="TYPE", help="Precision: float32, bfloat16, float16, auto.  [default: the model's]"
    ),
    click.option(
        "--device-map",
        metavar="MAP",
        help="Spread the model over several devices: auto, balanced, sequential (needs accelerate).",
    ),
    click.option(
        "--trust-remote-code", is_flag=True, default=None, help="Allow code from the checkpoint to run."
    ),
    click.option(
        "--quantize", type=click.Choice(["int8", "int4"]), help="Convert linear layers to 8 or 4 bits after loading."
    ),
)

_SHARED = (
    *_LOADING,
    click.option(
        "--chat/--raw",
        default=None,
        help="Apply the model's chat template to prompts, or do not.  [default: apply it if there is one]",
    ),
    click.option(
        "-c", "--cache", metavar="SPEC", help="Cache policy; see `decoders list`.  [default: exact, or the preset's]"
    ),
    click.option(
        "-n",
        "--length",
        type=int,
        metavar="N",
        help="Positions to decode after the prompt.  [default: the model's; with --infill 0]",
    ),
    click.option(
        "--block", type=int, metavar="N", help="Decode in blocks of this many positions.  [default: the model's]"
    ),
    click.option(
        "--guidance",
        type=float,
        default=0.0,
        metavar="SCALE",
        help="Scale of classifier-free guidance; 0 turns it off.",
    ),
    click.option(
        "--constraint",
        metavar="KIND:TEXT",
        help="Constrain the text: json:SCHEMA.json, regex:PATTERN, template:FILE.",
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="End a text before this string; may be repeated."),
    click.option("--infill", is_flag=True, help="Fill the mask tokens that a prompt contains (nano: <|mask|>)."),
    click.option(
        "--ignore-eos",
        is_flag=True,
        help="Decode all positions even after a stop token; the printed text still ends before it.",
    ),
    click.option("--max-steps", type=int, metavar="N", help="End a text after this many forwards."),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="S",
        help="Random seed, the same for every prompt.",
    ),
)


def shared(command: F) -> F:
    """The options for the model and for decoding."""
    return with_all(_SHARED, command)


def model_options(command: F) -> F:
    """The options for the model and for loading it."""
    return with_all(_LOADING, command)


def with_all(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def loading(how: dict[str, Any]) -> dict[str, Any]:
    """The options of loading a model that were given, removed from `how`."""
    taken = {name: how.pop(name) for name in ("device", "dtype", "device_map", "trust_remote_code", "quantize")}
    return {name: value for name, value in taken.items() if value is not None}
