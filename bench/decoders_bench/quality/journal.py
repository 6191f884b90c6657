"""The files of a run, written so that the process can be killed at any moment and the run continued: every outcome is
recorded once and completely, or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from decoders import UsageError
from decoders_bench.quality.rows import FORMAT, lines, load_info, packed

Key = tuple[str, int]


class Journal:
    """The files of a run, open for writing by this process alone. `rows` and `traces` are the keys (cell, item) of the
    recorded rows and traces.

    run.json is written first, and completely. A line counts once its end is on disk; an incomplete line that a killed
    process left is cut off. The trace of an item is written before its row, so every row on disk has its trace.
    """

    def __init__(self, path: Path, info: Mapping[str, Any]) -> None:
        """Raises `UsageError` if the directory belongs to another grid, contains something else, or belongs to a
        process that is still writing."""
        self.path = path
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; -o names a directory")
        path.mkdir(parents=True, exist_ok=True)
        strangers = [x.name for x in path.iterdir() if x.name not in ("lock", "run.json.new")]
        if strangers and not (path / "run.json").exists():
            raise UsageError(f"{path} holds {min(strangers)} and no run; take another directory")
        self.lock = (path / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise UsageError(f"another process is writing to {path}") from None
        try:
            for name in ("rows", "traces"):
                if (there := packed(path / f"{name}.jsonl")).exists():
                    raise UsageError(f"{path} holds a run that was packed; to go on with it: gunzip {there}")
            self.begin(info)
            self.files = {name: whole(path / f"{name}.jsonl") for name in ("rows", "traces")}
            self.rows, self.traces = (
                {(x["cell"], x["item"]) for x in lines(path / f"{name}.jsonl")} for name in self.files
            )
        except BaseException:
            self.lock.close()
            raise

    def begin(self, info: Mapping[str, Any]) -> None:
        place = self.path / "run.json"
        if place.exists():
            there, here = load_info(self.path)["grid"], json.loads(json.dumps(info["grid"]))
            if differing := [k for k in here.keys() | there.keys() if here.get(k) != there.get(k)]:
                k = min(differing)
                raise UsageError(
                    f"{self.path} holds a run of another grid ({k}: {there.get(k)} there, {here.get(k)} here); take "
                    "another directory"
                )
            return
        new = self.path / "run.json.new"
        with new.open("w") as f:
            json.dump({"format": FORMAT, **info}, f, indent=1)
            f.write("\n")
            settle(f)
        new.replace(place)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def add(self, rows: Iterable[Mapping[str, Any]], traces: Iterable[Mapping[str, Any]]) -> int:
        """Write the rows and traces that are not recorded yet, and return the number of these rows."""
        before = len(self.rows)
        self.append("traces", self.traces, traces)
        self.append("rows", self.rows, rows)
        return len(self.rows) - before

    def append(self, name: str, there: set[Key], new: Iterable[Mapping[str, Any]]) -> None:
        fresh = {(x["cell"], x["item"]): x for x in new if (x["cell"], x["item"]) not in there}
        if fresh:
            self.files[name].write(
                "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in fresh.values()).encode(errors="surrogatepass")
            )
            settle(self.files[name])
            there.update(fresh)

    def close(self) -> None:
        for file in self.files.values():
            file.close()
        self.lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def settle(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def whole(path: Path) -> IO[bytes]:
    """The file, open at the end of its last complete line; an incomplete line after it is cut off."""
    file = path.open("a+b")
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
    return file
