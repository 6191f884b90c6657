"""The command line: `decoders`."""

from __future__ import annotations

TYPE_CHECKING = False  # see `decoders`
if TYPE_CHECKING:
    from typing import Any

    from decoders.cli.app import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """`main` is imported when it is first used, after interrupts are handled."""
    if name == "main":
        from decoders.cli.app import main

        return main
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
