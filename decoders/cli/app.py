"""The group of commands, the commands of plugins, and the reporting of mistakes."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from decoders import specs
from decoders.cli.interrupts import INTERRUPTED
from decoders.cli.lazy import Lazy
from decoders.errors import OldSpelling, UsageError
from decoders.files import why
from decoders.tree import DISTRIBUTION, version


class Commands(Lazy):
    """Built-in commands and those of the entry points `decoders.commands`, which are imported when they are needed; a
    broken one reports its error when it is called, and the others keep working. Every mistake is one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *specs.table("commands")})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        own = super().get_command(ctx, name)
        if own or name not in specs.table("commands"):
            return own
        try:
            found = specs.load("commands", name)
        except UsageError as e:
            return broken(name, str(e))
        return found if isinstance(found, click.Command) else broken(name, f"command {name!r} is not a click command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help must not import plugins: for their commands it only names the distribution."""
        lines = {name: whose(name) for name in specs.table("commands")}
        lines |= {name: about for name, (_, about) in self.places.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))

    def invoke(self, ctx: click.Context) -> None:
        with older_spellings_in_a_line():
            try:
                super().invoke(ctx)
            except KeyboardInterrupt:
                raise click.Abort from None
            except UsageError as e:
                raise (Mistake if e.exit_code == Mistake.exit_code else click.ClickException)(str(e)) from e

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> NoReturn:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # some schedulers start a process with it closed
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open until we end
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # a terminal that cannot show a character still gets the rest
                stream.reconfigure(errors="backslashreplace")
        try:
            code = self.coded(args, *rest, **more)
        except OSError as e:  # a full disk, or a file that was removed
            code = complain(e)
        sys.exit(flushed(code))

    def coded(self, args: Sequence[str] | None, *rest: Any, **more: Any) -> Any:
        """The exit code of a command, after its mistakes have been reported."""
        try:
            return super().main(args, *rest, **{**more, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as e:
            click.echo(e.format_message())
            return Mistake.exit_code
        except click.ClickException as e:
            click.echo(f"Error: {' '.join(e.format_message().split())}", err=True)
            return Mistake.exit_code if isinstance(e, click.UsageError) else e.exit_code
        except click.Abort:
            click.echo("Interrupted.", err=True)
            return INTERRUPTED


def complain(e: OSError) -> int:
    """Report an error of the operating system, and return its exit code. A closed pipe is not reported."""
    if e.errno == errno.EPIPE:
        return 1
    place = f"{e.filename}: " if e.filename else ""
    with suppress(OSError):  # stderr may be on the full disk
        click.echo(f"Error: {place}{why(e)}", err=True)
    return Mistake.exit_code


def flushed(code: Any) -> Any:
    """The exit code, after stdout is flushed; if that fails it is reported, and Python does not try again."""
    try:
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or complain(e)
    return code


@contextmanager
def older_spellings_in_a_line() -> Iterator[None]:
    """Warnings go to stderr, once, without their place in the code."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, OldSpelling):
                click.echo(f"Warning: {message}", err=True)
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        warnings.simplefilter("once", OldSpelling)
        yield


class Mistake(click.ClickException):
    """A mistake of the user's."""

    exit_code = 2


def whose(name: str) -> str:
    """The line of a command that is an entry point."""
    owners = [specs.owner(e) for e in specs.table("commands")[name]]
    return OURS.get(name, "") if owners == [DISTRIBUTION] else f"From {' and '.join(owners)}."


def broken(name: str, problem: str) -> click.Command:
    """A command that only reports why it does not work."""

    def say() -> NoReturn:
        raise Mistake(problem)

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
    return click.Command(
        name, callback=say, help=f"(cannot be loaded) {problem}", context_settings=settings, add_help_option=False
    )


OWN = {
    "check": ("check:check", "Test a strategy, or a cache policy, against every law that it has to keep."),
    "compare": ("compare:compare", "Decode one prompt with several decoders and compare them."),
    "decide": ("decide:decide", "Answer questions about a text with probabilities."),
    "generate": ("generate:generate", "Decode prompts, from the command line or from a file."),
    "info": ("info:info", "Describe a checkpoint, and say whether it fits on this machine."),
    "list": ("listing:list_", "List strategies, caches, presets, models, families and tasks."),
    "models": ("models:models", "List families of checkpoints: an example, memory, defaults."),
    "new": ("new:new", "Write a new strategy or cache policy to start from."),
    "serve": ("serve:serve", "Serve a model over HTTP with OpenAI's interface and any decoder per request."),
}
OURS = {"bench": "Measure decoders: accuracy, forwards, time; replay recorded runs; train the embedded model."}
"""Lines of commands that are entry points, and come with this package."""


@click.group(
    cls=Commands,
    places={name: (f"decoders.cli.{place}", about) for name, (place, about) in OWN.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=(
        "Exit codes: 0 success; 1 some rows or a check failed; 2 bad usage, with one line on stderr; 130 "
        "interrupted."
    ),
)
@click.version_option(version(), prog_name="decoders")
def main() -> None:
    """Decode with diffusion language models.

    A decoder, a cache or a model is written as a spec: name, or name:key=value,key=value. `decoders list` shows them
    all.
    """
