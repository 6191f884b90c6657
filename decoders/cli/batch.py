"""`decoders generate --input --output`: many prompts from a file, appended to another as they finish, and resumable.

A result carries the index of its input line, a hash of what was asked there and a hash of the settings, so that a later run knows
what is done and whether it is the same work. A line that was being written when a run was killed has no newline; it is dropped
and done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from decoders.core.errors import UsageError
from decoders.registry import spec_of

if TYPE_CHECKING:
    from decoders.generator import Generation, Generator


@dataclass(frozen=True)
class Item:
    """One line of the input."""

    index: int
    prompt: str
    seed: int
    extra: dict[str, Any] = field(default_factory=dict)
    """The `id`, if it has one."""

    @property
    def digest(self) -> str:
        return digest([self.prompt, self.seed])


def digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def run(source: Path, target: Path, make: Callable[[], Generator], settings: dict[str, Any], how: dict[str, Any], size: int) -> int:
    """Decode what is missing in `target`; returns how many lines of `source` could not be decoded, each of which is reported.

    Raises `UsageError` for files that cannot be used, and leaves with 130 on Ctrl-C."""
    try:
        items, failed = read(source, how["seed"])
        malformed = len(failed)
        with locked(target, source) as file:
            generator = make()
            asked = digest({**settings, "model": generator.loaded.name, "decoder": spec_of(generator.decoder), "cache": spec_of(generator.cache, "caches")})
            done = finished(file, target, items, asked)
            todo = []
            for item in items.values():
                try:
                    generator.encode(item.prompt, how["length"], how["infill"])
                except UsageError as e:
                    failed.append(report(source, item.index, str(e)))
                else:
                    todo += [] if item.index in done else [item]
            failed += work(file, target, generator, todo, how, size, asked, len(done), source)
    except KeyboardInterrupt:
        click.echo(f"Interrupted; what is finished is in {target}: run the same command again to go on", err=True)
        raise click.exceptions.Exit(130) from None
    rows, problem = len(items) + malformed - len(failed), f"; {len(failed)} lines could not be decoded" if failed else ""
    click.echo(f"{rows} rows are in {target}{problem}", err=True)
    return len(failed)


def report(source: Path, index: int, problem: str) -> int:
    click.echo(f"Error: {source} line {index + 1}: {problem}", err=True)
    return index


def read(source: Path, seed: int) -> tuple[dict[int, Item], list[int]]:
    """The items by index, and the indices of malformed lines, which are reported. Blank lines are passed over."""
    try:
        lines = source.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as e:
        raise UsageError(f"{source} cannot be read: {e.strerror}") from e
    items, failed = {}, []
    for index, line in enumerate(lines):
        if line.strip():
            try:
                items[index] = parsed(index, line, seed)
            except (ValueError, RecursionError) as e:
                failed.append(report(source, index, str(e)))
    return items, failed


def parsed(index: int, line: bytes, seed: int) -> Item:
    """Raises `ValueError` with what is wrong."""
    try:
        row = json.loads(line.decode("utf-8"))
    except json.JSONDecodeError as e:
        raise ValueError(f"not JSON: {e.msg} at column {e.colno}") from None
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise ValueError('not an object with a "prompt" that is a text')
    own = row.get("seed", seed)
    if not isinstance(own, int) or isinstance(own, bool) or not -(2**63) <= own < 2**63:
        raise ValueError(f'"seed" must be a whole number of 64 bits, not {own!r}')
    return Item(index, row["prompt"], own, {"id": row["id"]} if "id" in row else {})


@contextmanager
def locked(target: Path, source: Path) -> Iterator[BinaryIO]:
    """The output, open for reading and appending, and no other run's as long as it is open."""
    try:
        file = target.open("a+b")
    except OSError as e:
        raise UsageError(f"{target} cannot be written: {e.strerror}") from e
    with file:
        if os.path.samefile(source, target):
            raise UsageError("--input and --output are the same file")
        try:
            import fcntl
        except ImportError:  # not a POSIX system: nothing keeps two runs apart
            pass
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"another run is writing to {target}") from None
        yield file


def finished(file: BinaryIO, target: Path, items: dict[int, Item], asked: str) -> set[int]:
    """The indices that the output already holds; half a line at its end is cut off. Raises `UsageError` if other work made it."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    done: set[int] = set()
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            index, settings, source = row["index"], row["settings"], row["input"]
        except (ValueError, TypeError, KeyError):
            raise UsageError(f"{target} line {number} is no result of `decoders generate`; choose another --output") from None
        if settings != asked:
            raise UsageError(f"{target} was made with other settings; repeat those, or choose another --output")
        if index not in items or items[index].digest != source or index in done:
            raise UsageError(f"{target} line {number} was made from another input; choose another --output")
        done.add(index)
    if len(whole) < len(content):
        if not whole and not content.startswith(b'{"index"'[: len(content)]):
            raise UsageError(f"{target} is no result of `decoders generate`; choose another --output")
        file.truncate(len(whole))
    return done


def work(
    file: BinaryIO, target: Path, generator: Generator, todo: list[Item], how: dict[str, Any], size: int, asked: str, done: int, source: Path
) -> list[int]:
    """Decode and append; returns the indices that could not be decoded."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    failed: list[int] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("decoding", total=len(todo) + done, completed=done)
        for i in range(0, len(todo), size):
            for item, made in batch(generator, todo[i : i + size], how):
                if isinstance(made, UsageError):
                    failed.append(report(source, item.index, str(made)))
                else:
                    append(file, target, {"index": item.index, **item.extra, **made.record(), "settings": asked, "input": item.digest})
                progress.advance(bar)
    return failed


def append(file: BinaryIO, target: Path, row: dict[str, Any]) -> None:
    """One whole line, on its way to the disk when this returns."""
    try:
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
    except OSError as e:
        raise UsageError(f"{target} cannot be written: {e.strerror}; what is in it stays, run the same command again to go on") from e


def batch(generator: Generator, items: list[Item], how: dict[str, Any]) -> Iterator[tuple[Item, Generation | UsageError]]:
    """Each item with what became of it. If one cannot be decoded the others are decoded by themselves."""
    try:
        made = generator([x.prompt for x in items], **{**how, "seeds": [x.seed for x in items]})
    except UsageError as e:
        if len(items) == 1:
            yield items[0], e
        else:
            for item in items:
                yield from batch(generator, [item], how)
        return
    yield from zip(items, made, strict=True)
