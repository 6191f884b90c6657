"""`python -m decoders.cli`."""

from __future__ import annotations

from decoders.__main__ import run

run()
