"""`decoders generate --input --output`: many prompts from a file, appended to another as they finish, and resumable.
When all have ended they are put into the order of the input.

A result has the index of its input line, a hash of that line's request and a hash of the settings, so that a later run
knows which lines are finished and whether it is the same work. A line that was being written when a run was killed has
no newline; it is dropped and decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decoders.cli.memory import keep_freed
from decoders.cli.progress import Progress
from decoders.errors import UsageError, several
from decoders.files import json_lines, parsed, why

if TYPE_CHECKING:
    from decoders.generator import Generator
    from decoders.text.encoding import Prompt
    from decoders.text.records import Generation


@dataclass(frozen=True)
class Item:
    """One line of the input."""

    index: int
    prompt: Prompt
    seed: int
    extra: dict[str, Any] = field(default_factory=dict)
    """The `id`, if it has one."""

    @property
    def digest(self) -> str:
        return digest([self.prompt, self.seed])


def digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def run(
    source: Path, target: Path, make: Callable[[], Generator], settings: dict[str, Any], how: dict[str, Any], size: int
) -> int:
    """Decode the lines that are missing in `target`; returns the number of lines of `source` that could not be decoded,
    each of which is reported.

    Raises `UsageError` for files that cannot be used, and leaves with 130 on Ctrl-C."""
    keep_freed()
    try:
        items, malformed = read(source, how["seed"])
        generator = make()
        with locked(target, source) as file:
            decoder = generator.decoder
            if generator.reasoner:  # without options such as timeouts, which may differ in a later run
                decoder = replace(decoder, **{"reasoner": generator.reasoner.name})
            from decoders.registry import spec_of

            plugs = {"decoder": spec_of(decoder), "cache": spec_of(generator.cache)}
            asked = digest({**settings, "model": generator.loaded.name, **plugs})
            done = finished(file, target, items, asked)
            failed = sum(report(source, *problem) for problem in malformed)
            todo = [x for x in items.values() if x.index not in done]
            left = len(todo)
            for item, made in decoded(generator, todo, how, size, len(items)):
                left -= 1
                if isinstance(made, UsageError):
                    failed += report(source, item.index, str(made))
                else:
                    row = {"index": item.index, **item.extra, **made.record(), "settings": asked, "input": item.digest}
                    append(file, target, row)
            ordered(file, target)
            if left:
                click.echo(
                    f"Error: {left} more lines were not tried; fix the cause and run the command again to continue",
                    err=True,
                )
                failed += left
    except KeyboardInterrupt:
        click.echo(f"Interrupted; finished rows are in {target}: run the same command again to continue", err=True)
        raise click.exceptions.Exit(130) from None
    left_out = f"; {several(failed, 'line')} could not be decoded" if failed else ""
    rows = len(items) + len(malformed) - failed
    click.echo(f"{several(rows, 'row')} {'is' if rows == 1 else 'are'} in {target}{left_out}", err=True)
    return failed


def report(source: Path, index: int, problem: str) -> int:
    """One more line that could not be decoded."""
    click.echo(f"Error: {source} line {index + 1}: {problem}", err=True)
    return 1


def read(source: Path, seed: int) -> tuple[dict[int, Item], list[tuple[int, str]]]:
    """The items by index, and the malformed lines, each with its error. Blank lines are skipped."""
    items: dict[int, Item] = {}
    malformed = []
    for number, line in json_lines(source):
        try:
            items[number - 1] = item_of(number - 1, line, seed)
        except ValueError as e:
            malformed.append((number - 1, str(e)))
    return items, malformed


def item_of(index: int, line: bytes, seed: int) -> Item:
    """Raises `ValueError` with the error."""
    row = parsed(line)
    if not isinstance(row, dict) or ("messages" in row) == ("prompt" in row):
        raise ValueError('not an object with either a "prompt" or "messages"')
    prompt = row.get("prompt", row.get("messages"))
    if not isinstance(prompt, list if "messages" in row else str):
        raise ValueError('"messages" must be a list' if "messages" in row else '"prompt" must be a text')
    own = row.get("seed", seed)
    if not isinstance(own, int) or isinstance(own, bool) or not -(2**63) <= own < 2**63:
        raise ValueError(f'"seed" must be a whole number of 64 bits, not {str(own)[:50]}')
    return Item(index, prompt, own, {"id": row["id"]} if "id" in row else {})


@contextmanager
def locked(target: Path, source: Path) -> Iterator[RawIOBase]:
    """The output, open for reading and appending, and locked against other runs."""
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is not a regular file, so results cannot be appended to it")
    try:
        file = target.open("a+b", buffering=0)
    except OSError as e:
        raise UsageError(f"{target} cannot be written: {e.strerror or e}") from e
    with file:
        if os.path.samefile(source, target):
            raise UsageError("--input and --output are the same file")
        try:
            import fcntl
        except ImportError:  # not a POSIX system: there is no lock
            pass
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"another run is writing to {target}") from None
        yield file


def finished(file: RawIOBase, target: Path, items: dict[int, Item], asked: str) -> set[int]:
    """The indices that the output already contains; an incomplete last line is removed. Raises `UsageError` if it has
    other settings or another input."""
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    done: set[int] = set()
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            row = parsed(line)
            index, settings, source = row["index"], row["settings"], row["input"]
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f"{target} line {number} is no result of `decoders generate`; choose another --output"
            ) from None
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


def decoded(
    generator: Generator, todo: list[Item], how: dict[str, Any], size: int, total: int
) -> Iterator[tuple[Item, Generation | UsageError]]:
    """Each item with its result, as soon as it is finished."""
    with Progress(total, total - len(todo)) as progress:
        for i, made in generator.run([x.prompt for x in todo], **how, seeds=[x.seed for x in todo], batch=size):
            yield todo[i], made
            progress.advance(None if isinstance(made, UsageError) else made)


def ordered(file: RawIOBase, target: Path) -> None:
    """Sort the results by index, because they were appended as they finished. The file is replaced at once, so readers
    see the old or the new one."""
    file.seek(0)
    lines = file.read().splitlines(keepends=True)
    place = [json.loads(line)["index"] for line in lines]
    if place == sorted(place):
        return
    path = target.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(b"".join(line for _, line in sorted(zip(place, lines, strict=True))))
        shutil.copymode(path, beside)
        os.replace(beside, path)
    except OSError as e:
        beside.unlink(missing_ok=True)
        click.echo(f"Warning: {target} stays in the order in which its rows ended: {why(e)}", err=True)


def append(file: RawIOBase, target: Path, row: dict[str, Any]) -> None:
    """Append one whole line; it is written when this returns, because the file has no buffer."""
    line = json.dumps(row).encode() + b"\n"
    try:
        while line:
            line = line[file.write(line) :]
    except OSError as e:
        raise UsageError(
            f"{target} cannot be written: {e.strerror}; its content is kept; run the same command again to continue"
        ) from e
