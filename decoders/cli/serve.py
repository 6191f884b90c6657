"""`decoders serve`: a model behind OpenAI's HTTP interface."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decoders import specs
from decoders.cli.options import loading, model_options
from decoders.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from decoders.serve.setup import Setup

NEEDS = "starlette", "uvicorn", "prometheus_client"
NEEDS_RAY = "ray", "grpc", "fastapi"
"""The packages that `decoders serve --ray` needs; ray.serve imports them."""
LOOPBACK = "127.0.0.1", "::1", "localhost"
BACKENDS = "engine", "vllm"
UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def size(ctx: click.Context, param: click.Parameter, said: str | None) -> int | None:
    """Bytes, perhaps with a unit: 4GiB, 500MB."""
    if said is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmg]i?b)?", said.strip(), re.IGNORECASE)
    bytes_ = int(float(found[1]) * UNITS[(found[2] or "").upper()]) if found else 0
    if bytes_ < 1:
        raise click.BadParameter(f"{said!r} is not a size; write a number of bytes, 500MB or 4GiB", ctx, param)
    return bytes_


class Backed(click.Command):
    """With `--backend vllm` all other arguments are those of the plugin's command of the same name."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        rest, backend = without_backend(args)
        if backend == "vllm":
            return vllm().make_context(info_name, rest, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def without_backend(args: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without `--backend`, and its value."""
    rest, backend, left = list[str](), None, iter(args)
    for word in left:
        if word == "--backend":
            backend = next(left, None)
        elif word.startswith("--backend="):
            backend = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, backend


def vllm() -> click.Command:
    """The plugin's command. Raises `UsageError` if it is not installed."""
    if "serve" not in specs.table("commands"):
        raise UsageError(
            "--backend vllm needs the plugin: pip install 'dllm-decoders-vllm[vllm]'; or leave it out: decoders serve "
            "-m MODEL runs any model on the engine that comes with this package"
        )
    found: click.Command = specs.load("commands", "serve")
    return found


@click.command(cls=Backed)
@model_options
@click.option(
    "-d", "--decoder", "spec", default="threshold", show_default=True, metavar="SPEC",
    help="The decoder of requests that name none.",
)
@click.option("-c", "--cache", metavar="SPEC", help="Their cache policy.  [default: exact, or the preset's]")
@click.option(
    "--guidance", type=float, default=0.0, metavar="SCALE", help="Scale of classifier-free guidance; 0 turns it off."
)
@click.option("--name", metavar="NAME", help="The model's name for clients.  [default: its own name]")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, metavar="N",
    help="Port to listen on; 0 takes any free one.",
)
@click.option(
    "--api-key", metavar="KEY", envvar="DECODERS_API_KEY", help="Key that clients must send.  [env: DECODERS_API_KEY]"
)
@click.option(
    "--slots", type=click.IntRange(min=1), default=32, show_default=True, metavar="N",
    help="Number of texts that are decoded at a time.",
)
@click.option(
    "--queue", type=click.IntRange(min=0), default=256, show_default=True, metavar="N",
    help="Number of texts that may wait; further ones are refused with 429.",
)
@click.option(
    "--memory", callback=size, metavar="SIZE",
    help="Memory for canvases, keys and values, and logits: bytes, or 500MB, 4GiB.  [default: half of what is free]",
)
@click.option(
    "--deadline", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Time limit of an answer; a request may ask for less (timeout).  [default: none]",
)
@click.option(
    "--max-body", type=click.IntRange(min=1), default=4 << 20, show_default=True, metavar="BYTES",
    help="Size limit of a request's body.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="Level of the log on stderr, which has one JSON object a line.",
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), default="engine", show_default=True,
    help="With vllm, the plugin's server runs instead, with its own options.",
)
@click.option(
    "--ray", is_flag=False, flag_value="local", metavar="[ADDRESS]",
    help="Run several replicas on the Ray cluster at this address, or on a cluster started here.",
)
@click.option(
    "--replicas", type=click.IntRange(min=1), metavar="N",
    help="With --ray: the number of replicas.  [default: one per GPU; without GPUs one per machine]",
)
def serve(
    spec: str, model: str, cache: str | None, guidance: float, name: str | None, host: str, port: int,
    api_key: str | None, slots: int, queue: int, memory: int | None, deadline: float | None, max_body: int,
    log_level: str, backend: str, ray: str | None, replicas: int | None, **how: Any,
) -> None:
    """Serve a model over HTTP with OpenAI's interface and any decoder per request; the page at / shows two decoders
    side by side.

    A request chooses its decoder by {"decoder": "threshold:tau=0.9", "cache": "dual"}, or by the name of the model:
    nano@threshold:tau=0.9. It cannot name a class by its module, or a file. On SIGTERM or Ctrl-C the server finishes
    the requests that have begun; a second signal ends it at once. See docs/serve.md.
    """
    check(NEEDS, "decoders serve", "serve")
    if ray is None and replicas is not None:
        raise UsageError("--replicas is for --ray")
    if ray is not None:
        check(NEEDS_RAY, "decoders serve --ray", "serve-ray")
    from decoders.serve.run import listening, serve
    from decoders.serve.setup import Setup

    setup = Setup(
        model, spec, cache, guidance, slots, name or model_name(model, ""), queue, max_body, loading(how), memory,
        deadline,
    )
    local = host in LOOPBACK and not api_key
    with listening(host, port) as listener, served(setup, api_key, local, ray, replicas) as (asgi, called):
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"{called} on http://{shown}:{listener.getsockname()[1]} (OpenAI: /v1, page: /)", err=True)
        serve(asgi, listener, log_level)


@contextmanager
def served(
    setup: Setup, key: str | None, local: bool, ray: str | None, replicas: int | None
) -> Iterator[tuple[ASGIApp, str]]:
    """The application in this process, or several replicas of it; and the name of the model. Raises `UsageError`."""
    if ray is None:
        from decoders.cli.threads import one_thread_if_small

        app = setup.app(key, local)
        one_thread_if_small(app.generator.loaded.model)
        yield app.asgi, app.name
        app.generator.service.close()
        return
    from decoders.serve.replicas.cluster import deployed
    from decoders.serve.replicas.ingress import Ingress

    with deployed(setup, replicas, ray) as (handle, about, count):
        yield Ingress(handle, about, count, setup, key, local).asgi, about.name


def check(modules: Sequence[str], what: str, extra: str) -> None:
    """Raises `UsageError` if modules of an extra are missing."""
    if missing := [x for x in modules if importlib.util.find_spec(x) is None]:
        raise UsageError(f"{what} needs {' and '.join(missing)}: pip install 'dllm-decoders[{extra}]'")


def model_name(spec: str, own: str) -> str:
    """The name of a model for clients; for a checkpoint, the name of its directory."""
    return Path(os.path.abspath(spec)).name if os.path.isdir(spec) else own
