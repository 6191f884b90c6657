"""Tables and lines for a terminal, and for pipes and files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click


def is_terminal() -> bool:
    return sys.stdout.isatty()


def one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; plain aligned columns, one line a row, if that is not a terminal."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(*headers)
        for row in rows:
            drawn.add_row(*map(Text, row))
        Console().print(drawn)
        return
    for line in aligned([headers, *([one_line(c) for c in row] for row in rows)]):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of equal columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
