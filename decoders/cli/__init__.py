"""The command line: `decoders`."""

from __future__ import annotations

from decoders.cli.app import main

__all__ = ["main"]
