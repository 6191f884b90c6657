"""Helpers for reading the files of a checkpoint: JSON, errors in one line, and silencing transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decoders.errors import UsageError
from decoders.files import BOM, parsed, read_text

POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `UsageError` if it is missing, damaged or something else."""
    if not path.exists():
        raise UsageError(f"{path.parent} is no checkpoint: it has no {path.name}")
    refuse_pointer(path)
    try:
        found = parsed(read_text(path))
    except UsageError:
        raise
    except ValueError as e:
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    if not isinstance(found, dict):
        raise UsageError(f"{path} cannot be read: it holds no JSON object")
    return found


def refuse_pointer(path: Path) -> None:
    """Raises `UsageError` for a pointer file of git-lfs."""
    try:
        with path.open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}") from e
    if pointer:
        raise UsageError(f"{path} is a pointer of git-lfs and not the file itself; run git lfs pull in its directory")


def refuse_mark(path: Path) -> None:
    """Raises `UsageError` for a file with a byte order mark, which transformers cannot read."""
    if path.is_file() and path.read_bytes()[: len(BOM)] == BOM:
        raise UsageError(f"{path} begins with a byte order mark, which transformers does not read; save it without")


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Reports any error meanwhile as an error of that file, in one line, for values of an unexpected kind."""
    try:
        yield
    except UsageError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as e:
        raise UsageError(f"{path} cannot be used: {type(e).__name__}: {line(e)}") from e


@contextmanager
def quiet() -> Iterator[None]:
    """Silences progress bars and advice of transformers; its settings are restored afterwards."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def line(e: BaseException) -> str:
    """The first line of the message of an exception."""
    return next(iter(str(e).splitlines()), "") or type(e).__name__
