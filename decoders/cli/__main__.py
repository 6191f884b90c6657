"""`python -m decoders.cli`."""

from __future__ import annotations

from decoders.cli import main

main()
