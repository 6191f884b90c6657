"""Reading a quality run from disk.

A run is a directory: `run.json` says what was asked and where it ran, `rows.jsonl` has a line for every item, and
`traces.jsonl` records how the first items of every cell were decoded. Both `.jsonl` files may be compressed with gzip
once the run has ended.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from decoders import UsageError
from decoders.files import parsed, read_text
from decoders_bench.common.fitting import fitted

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
FORMAT = 1


@dataclass(frozen=True)
class Setting:
    """A decoder with its cache, blocks and model."""

    model: str
    decoder: str
    curve: str
    """The spec of the decoder without its swept option."""
    swept: str | None
    value: float | int | str | None
    cache: str
    block: int | None


@dataclass(frozen=True)
class Cell(Setting):
    """One decoder with one cache on one rung of a task, in one wording, with one seed."""

    task: str
    rung: str
    template: int
    seed: int

    @property
    def id(self) -> str:
        """An identifier that depends on the cell alone, so it is the same in every run."""
        own = {f.name: getattr(self, f.name) for f in fields(Cell)}
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Row(Cell):
    """The outcome of one item: a line of rows.jsonl."""

    cell: str
    """The `id` of the cell."""
    item: int
    right: bool
    answer: str | None
    output: str
    prompt: str
    expected: str
    nfe: int
    tokens: int
    """The number of generated tokens, without the prompt, the padding, and the stop token and what follows it."""
    positions: int
    seconds: float
    """The item's share of the wall time of its batch."""
    flops: float | None = None
    """Floating-point operations of its forward passes; None in runs that did not record them."""

    @property
    def key(self) -> tuple[str, int]:
        return self.cell, self.item

    @property
    def setting(self) -> Setting:
        return Setting(**{f.name: getattr(self, f.name) for f in fields(Setting)})

    @property
    def problem(self) -> tuple[str, str, int, int]:
        """Identifies the problem, independent of its wording."""
        return self.task, self.rung, self.seed, self.item

    @property
    def question(self) -> tuple[str, str, int, int, int]:
        """Identifies the problem and its wording."""
        return *self.problem, self.template


NAMES = tuple(dict.fromkeys(("cell", "item", *(f.name for f in fields(Row)))))  # the identity of the item comes first
MEASURED = ("seconds", "flops")
"""The fields in which two outcomes of an item may differ: times, and fields that older runs did not record."""
INFO = {
    "command": str, "environment": {str: str | int | float | None},
    "grid": {"decoders": [str], "caches": [str], "tasks": [str], "items": int},
}
TRACE = {
    "cell": str, "item": int, "start": int, "mask": int | None, "vocab": {str: str}, "initial": [int],
    "frames": [{"step": int, "changes": [(int, int, str, float | None)]}],
}
FRAME = {"phase": str | None, "details": list}
DETAIL = {"way": str | None, "entropy": float, "rank": int, "asked": int, "likeliest": [(int, float)]}


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path
    info: dict[str, Any]
    """run.json: `format`, `command`, `environment`, `grid`."""
    rows: list[Row]
    traces: list[dict[str, Any]]
    """`{"cell", "item", "start", "mask", "vocab": {id: text}, "initial": [ids], "frames": [{"step", "phase", "changes":
    [[position, id, kind, confidence]], "details"}]}`. A position counts from the start of the row, prompt included, so
    it shows `initial[position - start]`. The id of a reopened position is its new content (the mask token, if there is
    one). `details` has an entry for every change, `{"way", "entropy", "rank", "asked", "likeliest": [[id,
    probability]]}`, or null if the model was not asked: how the decoder came to commit the token, if it reports that;
    the entropy of the prediction in nats; the rank of its highest probability among all positions that were asked
    about; and the most likely tokens. Older runs have neither the details nor the phase."""


def lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file, or of its gzip-compressed form; an incomplete last line, left by a killed run, is
    omitted. Raises `UsageError` if another line is damaged."""
    out = []
    text = content(path)
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            found = parsed(line.decode("utf-8", "surrogatepass"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UsageError(f"{path}, line {number}, is damaged: it is no JSON object")
        out.append(found)
    return out


def content(path: Path) -> bytes:
    """The content of a file or, if it is missing, of `packed(path)`; empty if both are missing. Raises `UsageError` for
    a file that cannot be read."""
    if path.exists() or not packed(path).exists():
        return path.read_bytes() if path.exists() else b""
    try:
        return gzip.decompress(packed(path).read_bytes())
    except (OSError, EOFError, zlib.error) as e:
        raise UsageError(f"{packed(path)} cannot be read: {e}") from None


def packed(path: Path) -> Path:
    """The path of the gzip-compressed form of a file."""
    return path.with_name(path.name + ".gz")


def load(path: str | Path) -> Run:
    """A run, finished or not. Raises `UsageError` if the directory contains none, if a line is damaged, or if an item
    has two outcomes that differ in more than measured times."""
    path = Path(path)
    info = load_info(path)
    rows: dict[tuple[str, int], Row] = {}
    hints = get_type_hints(Row)
    shape = {name: hints[name] for name in NAMES}
    for number, line in enumerate(lines(path / "rows.jsonl"), 1):
        line = {"flops": None} | line
        fitted(line, shape, f"{path / 'rows.jsonl'}, line {number},")
        row = Row(**{name: line[name] for name in NAMES})
        first = rows.setdefault(row.key, row)
        if any(getattr(first, name) != getattr(row, name) for name in NAMES if name not in MEASURED):
            raise UsageError(
                f"{path / 'rows.jsonl'}, line {number}: item {row.item} of cell {row.cell} has two outcomes that differ"
            )
    traces: dict[tuple[str, int], dict[str, Any]] = {}
    for number, line in enumerate(lines(path / "traces.jsonl"), 1):
        line = traced(line, f"{path / 'traces.jsonl'}, line {number},")
        traces.setdefault((line["cell"], line["item"]), line)
    return Run(path, info, ordered(rows.values(), info["grid"]), list(traces.values()))


def traced(line: dict[str, Any], what: str) -> dict[str, Any]:
    """A line of traces.jsonl; what older runs did not record is null. Raises `UsageError` if the line is not a
    trace."""
    fitted(line, TRACE, what)
    for frame in line["frames"]:
        frame |= {"phase": None, "details": [None] * len(frame["changes"])} | frame
        fitted(frame, FRAME, what)
        for detail in frame["details"]:
            if detail is not None:
                fitted(detail, DETAIL, what)
        if len(frame["details"]) != len(frame["changes"]):
            raise UsageError(f"{what} has {len(frame['details'])} details of {len(frame['changes'])} changes")
    return line


def ordered(rows: Iterable[Row], grid: dict[str, Any]) -> list[Row]:
    """The rows in the order of the grid, independent of the order in which they were finished."""
    places = {name: {x: i for i, x in enumerate(grid[name])} for name in ("decoders", "caches", "tasks")}
    values = {option: {x: i for i, x in enumerate(given)} for option, given in grid.get("sweeps", {}).items()}

    def place(r: Row) -> tuple[int | str, ...]:
        value = values.get(r.swept or "", {}).get(r.decoder.rpartition("=")[2], 0)
        asked = (("decoders", r.curve), ("caches", r.cache), ("tasks", f"{r.task}/{r.rung}"))
        decoder, cache, task = (places[name].get(x, len(places[name])) for name, x in asked)
        return decoder, value, cache, r.block or 0, task, r.template, r.seed, r.item

    return sorted(rows, key=place)


def load_info(path: Path) -> dict[str, Any]:
    """The content of run.json. Raises `UsageError` if it is missing or cannot be read."""
    place = path / "run.json"
    if not place.is_file():
        raise UsageError(f"{path} holds no quality run: there is no run.json")
    try:
        info = parsed(read_text(place))
    except UsageError:
        raise
    except ValueError as e:
        raise UsageError(f"{place} cannot be read: {e}") from None
    if isinstance(info, dict) and info.get("format") != FORMAT:
        raise UsageError(f"{path} is a run of format {str(info.get('format'))[:50]!r}, and this version reads {FORMAT}")
    return dict(fitted(info, INFO, str(place)))


def grouped(rows: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group rows, or anything else, by a key; keys and rows are in the order of their first appearance."""
    out: dict[K, list[T]] = {}
    for row in rows:
        out.setdefault(key(row), []).append(row)
    return out
