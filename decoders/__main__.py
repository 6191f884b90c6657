"""`python -m decoders`."""

from __future__ import annotations

from decoders.cli.run import run

if __name__ == "__main__":
    run()
