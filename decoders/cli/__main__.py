"""`python -m decoders.cli`."""

from __future__ import annotations

from decoders.cli.run import run

run()
