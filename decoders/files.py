"""Text files of users, in UTF-8 with or without a byte order mark, and strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from decoders.errors import UsageError

BOM = b"\xef\xbb\xbf"


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark, its lines ended by line feeds. Raises `UsageError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} cannot be read: {why(e)}") from e


def why(e: OSError | ValueError) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(e, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return (e.strerror if isinstance(e, OSError) else None) or str(e)


def expanded(path: str | Path) -> Path:
    """The path with `~` replaced by the home directory that it names, or unchanged if there is no such directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_directory(path: Path) -> bool:
    """Whether the directory exists; False for a text that cannot be a path."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, each with its number, counted from 1. Only a line feed ends a line,
    because JSON may contain the other characters that end lines in Unicode. Raises `UsageError`."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} cannot be read: {why(e)}") from e
    return ((number, line) for number, line in enumerate(content.removeprefix(BOM).split(b"\n"), 1) if line.strip())


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text. Raises `ValueError` with one line if it is not JSON. Numbers that are not finite are
    refused too: only Python reads and writes them."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as e:
        raise ValueError(why(e)) from None
    try:
        return json.loads(text, parse_constant=refused, parse_float=finite)
    except json.JSONDecodeError as e:
        raise ValueError(
            f"not JSON: {e.msg} at column {e.colno}" + (f" of line {e.lineno}" if e.lineno > 1 else "")
        ) from None
    except RecursionError:
        raise ValueError("not JSON that can be read: it is nested too deeply") from None


def refused(word: str) -> NoReturn:
    raise ValueError(f"not JSON: {word} is no number there")


def finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"not JSON that can be read: the number {number} is too large")
    return value


def readable(size: float) -> str:
    """A number of bytes with a unit."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.3g} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
