"""`decoders new`: a small distribution to begin with."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

import click

from decoders.catalogue import written_down
from decoders.errors import UsageError
from decoders.files import why
from decoders.specs import names

TEMPLATES = Path(__file__).parents[1] / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class Sort:
    """A kind of plug for which a distribution is written."""

    group: str
    summary: str
    flag: str
    """The option before its name in a command."""
    example: str
    """A command that uses one."""


SORTS = {
    "strategy": Sort(
        "strategies", "A decoding strategy for decoders", "", 'decoders generate -d {name}:tau=0.8 "Sort: d b a c"'
    ),
    "cache": Sort(
        "caches", "A cache policy for decoders", "--cache ", 'decoders generate --cache {name}:every=2 "Sort: d b a c"'
    ),
    "task": Sort(
        "tasks", "A task for decoders", "--task ", "decoders bench quality -t {name} -d threshold -n 10 -o run"
    ),
    "family": Sort("families", "A family of checkpoints for decoders", "--family ", "decoders models"),
}


@click.command()
@click.argument("kind", type=click.Choice(list(SORTS)))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write a new strategy, cache policy, task or family to start from.

    ./NAME becomes a whole distribution: the code, its entry point, tests of every law, and a README. It passes
    `decoders check` as it is; then replace the code by your own.
    """
    sort = SORTS[kind]
    check_name(sort, kind, name)
    words = words_of(sort, kind, name)
    files = {
        "pyproject.toml": "plugin/pyproject.toml.in", "README.md": "plugin/README.md.in",
        f"{words['module']}.py": f"{kind}/module.py.in", f"test_{name}.py": f"{kind}/test_module.py.in",
    }
    sources = {file: (TEMPLATES / source).read_text("utf-8") for file, source in files.items()}
    written = {file: Template(text).substitute(words) for file, text in sources.items()}
    directory = Path(name)
    try:
        directory.mkdir()
    except FileExistsError:
        raise UsageError(f"{name} exists already; choose another name, or work in another directory") from None
    except OSError as e:
        raise UsageError(f"{name} cannot be made: {why(e)}") from e
    for file, text in written.items():
        (directory / file).write_text(text, encoding="utf-8")
    click.echo("\n".join(f"{name}/{file}" for file in written))
    click.echo(f"\ncd {name}\ndecoders check {words['module']}:{words['cls']}\npytest")


def check_name(sort: Sort, kind: str, name: str) -> None:
    """Raises `UsageError` for a name that is not allowed for a plug or a module, or is taken."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        allowed = "lower-case letters, digits and single _ between them, from a letter on"
        raise UsageError(f"a name is {allowed}, not {name!r}")
    built_in = {f["family"] for f in written_down()["families"]} if kind == "family" else set()
    if name in names(sort.group) | built_in:
        raise UsageError(f"there is a {kind} {name!r} already; choose another name")


def words_of(sort: Sort, kind: str, name: str) -> dict[str, str]:
    """The values for the templates. A family is a value, so its name is written like a constant."""
    title = "".join(part.capitalize() for part in name.split("_"))
    return {
        "name": name, "kind": kind, "group": sort.group, "summary": sort.summary, "flag": sort.flag,
        "distribution": f"decoders-{name.replace('_', '-')}", "module": f"decoders_{name}",
        "cls": name.upper() if kind == "family" else title, "title": title, "example": sort.example.format(name=name),
    }
