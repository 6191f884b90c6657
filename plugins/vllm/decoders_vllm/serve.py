"""`decoders serve`: vLLM's OpenAI server with this plugin on."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from decoders.core import UsageError

MIDDLEWARE = "decoders_vllm.openai.Translated"
DRAIN = 30
"""Seconds that open requests have to finish once the server is told to end; vLLM's own default leaves their clients
waiting."""
VOCAB = 1 << 16
"""The assumed vocabulary size of a model when a decoder is only checked against the abilities of the engine."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "-m", "--model", required=True, metavar="PATH", help="The directory of a checkpoint, its name on the hub, or nano."
)
@click.option(
    "-d", "--decoder", default="threshold", show_default=True, metavar="SPEC", help="For requests that name none."
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[VLLM OPTIONS]...")
def serve(model: str, decoder: str, options: tuple[str, ...]) -> None:
    """Serve a model over HTTP, as OpenAI does, with vLLM; its options follow: --port, --tensor-parallel-size and all
    others.

    A request chooses its decoder by itself: {"vllm_xargs": {"decoder": "sdar:tau=0.8"}}. What OpenAI's clients send
    (temperature, top_p, seed, n, response_format) goes to the decoder. On SIGTERM requests that are open are finished
    first. See docs/vllm.md.
    """
    args = arguments(model, decoder, options)
    if importlib.util.find_spec("vllm") is None:
        raise UsageError("vLLM is not installed here: pip install 'dllm-decoders-vllm[vllm]'")
    os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *args])


def said(option: str, options: Sequence[str]) -> bool:
    """Whether `option` is among vLLM's options."""
    return any(o.partition("=")[0] == option for o in options)


def arguments(model: str, decoder: str, options: Sequence[str]) -> list[str]:
    """The arguments of vLLM's server. Raises `UsageError` for a model or a decoder that cannot be served, before an
    engine starts."""
    from decoders import registry, specs
    from decoders_vllm.plugin import overrides
    from decoders_vllm.requests import plan_of
    from decoders_vllm.served import Served

    registry.get(decoder)
    name, given = specs.split("models", model)
    if name == "nano":
        if set(given) - {"attention"} or given.get("attention", "block") != "block":
            raise UsageError(
                f"{model!r} cannot be served: the engine runs nano with attention=block and takes no other of its "
                "options"
            )
        import decoders.models.nano as embedded

        directory = str(Path(embedded.__file__).parent)
    else:
        directory = model
    more: dict[str, Any] = {}
    if Path(directory).is_dir():
        more = overrides(directory)
        plan_of(Served.of(Path(directory).resolve(), VOCAB), decoder, True, False)
    elif directory.startswith((".", "~", "/")):
        raise UsageError(f"there is no checkpoint directory {directory!r}")
    args = ["--model", directory, "--additional-config", json.dumps({"decoder": decoder}), "--middleware", MIDDLEWARE]
    if not said("--shutdown-timeout", options):
        args += ["--shutdown-timeout", str(DRAIN)]
    if name == "nano":
        args += ["--served-model-name", "nano"]
    if more:
        args += ["--hf-overrides", json.dumps(more)]
    for option in ("--additional-config", "--hf-overrides"):
        if option in args and said(option, options):
            raise UsageError(f"{option} is set by this command; leave it out")
    return [*args, *options]
