"""Readable errors: rows of tokens under one another, and the place in an author's code."""

from __future__ import annotations

import inspect
import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from decoders.core import Row

HERE = Path(__file__).parents[1]
"""This package."""
OURS = tuple(Path(s.origin).parent for s in map(find_spec, ("decoders", "decoders_bench")) if s and s.origin)
"""The two that this distribution installs."""
BASES = (HERE / "core", *(path / "tasks" / "base.py" for path in OURS))
"""The base classes of authors."""
LIBRARIES = tuple(Path(sysconfig.get_path(x)) for x in ("stdlib", "platstdlib"))
THEIRS = {
    "torch", "transformers", "safetensors", "tokenizers", "click", "_pytest", "pytest", "pluggy", "hypothesis", "numpy",
    "sympy",
}
"""Packages that are not an author's own, wherever they are installed."""

LISTED = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
"""How compilers list the code that they could not compile."""


@dataclass(frozen=True)
class Place:
    """A line of an author's code."""

    file: str
    line: int
    function: str

    @property
    def code(self) -> str:
        """The code in this line."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        file, here = Path(self.file), Path.cwd()
        shown = file.relative_to(here) if file.is_relative_to(here) else file
        where = f"{shown}:{self.line}, in {self.function}"
        return where if self.code.startswith(("def ", "class ", "@")) else f"{where}: {self.code}"


def place_of(error: BaseException, plug: Any) -> Place | None:
    """The deepest line of the author's own code in an error's traceback; None if there is none. The files that define
    `plug` are always its author's."""
    own = plug.own() if hasattr(plug, "own") else files_of(type(plug))
    found = [x for x in came_through(error) if x.file in own or not is_library(x.file)]
    return found[-1] if found else None


def files_of(cls: type) -> set[str]:
    """The files of a class and of the classes that it inherits from, except for `BASES`."""
    files = {file for c in cls.__mro__ if (file := file_of(c))}
    return {file for file in files if not any(Path(file).is_relative_to(base) for base in BASES)}


def file_of(cls: type) -> str | None:
    """The file of a class; None for a built-in class, or one of an interactive session."""
    try:
        return inspect.getfile(cls)
    except (TypeError, OSError):
        return None


def came_through(error: BaseException) -> Iterator[Place]:
    """The lines of an error's traceback, outermost first, and those that its message lists."""
    origin = error.__cause__ or error
    for frame in traceback.extract_tb(origin.__traceback__):
        yield Place(frame.filename, frame.lineno or 0, frame.name)
    for file, line, function in LISTED.findall(str(origin)):
        yield Place(file, int(line), function)


def is_library(file: str) -> bool:
    """Whether a file belongs to this distribution, to Python, or to one of the packages in `THEIRS`."""
    path = Path(file)
    packages = {path.parts[i + 1] for i, part in enumerate(path.parts[:-1]) if part == "site-packages"}
    if packages:
        return bool(packages & THEIRS) or ours(path)
    return ours(path) or any(path.is_relative_to(x) for x in LIBRARIES) or not path.is_absolute()


def ours(path: Path) -> bool:
    return any(path.is_relative_to(package) for package in OURS)


def definition(plug: Any, method: str) -> Place | None:
    """The place of a method of a plug, or of the class itself if it inherits the method from this package; None if the
    source cannot be read."""
    if hasattr(plug, "located"):
        found: Place | None = plug.located(method)
        return found
    cls = type(plug)
    owner = next((c for c in cls.__mro__ if method in vars(c)), cls)
    try:
        written = vars(owner)[method] if method in vars(owner) and owner.__module__ == cls.__module__ else cls
        file, (_, line) = inspect.getfile(written), inspect.getsourcelines(written)
    except (OSError, TypeError):
        return None
    return Place(file, line, f"{cls.__name__}.{method}" if written is not cls else cls.__name__)


def apart(where: str, prompts: Sequence[Sequence[int]], runs: dict[str, Sequence[Row]]) -> str:
    """The first row that differs between two runs, as each has it, under one another."""
    (first, a), (second, b) = runs.items()
    i, one, other = next((i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
    width = max(len(str(t)) for t in (*one.canvas, *other.canvas))
    label = max(map(len, runs))
    given = len(prompts[i])

    def line(name: str, row: Row) -> str:
        cells = [f"{t:>{width}}" for t in row.canvas]
        cells.insert(given, "|")
        return f"    {name:<{label}}  {' '.join(cells)}  ({row.nfe} forwards, {row.finish_reason})"

    lines = [f"{where}: row {i + 1} of {len(prompts)} (its prompt stands before the bar) is not the same {first} and "
             f"{second}", line(first, one), line(second, other)]
    changed = [k for k, (x, y) in enumerate(zip(one.canvas, other.canvas, strict=False)) if x != y]
    if changed:
        before = changed[0] * (width + 1) + (2 if changed[0] >= given else 0) + width - 1
        lines.append(f"    {'':<{label}}  {' ' * before}^")
    return "\n".join(lines)


def tokens(row: Sequence[int]) -> str:
    """Token ids with a blank between."""
    return " ".join(map(str, row)) or "nothing"
