"""The installed command, and `python -m decoders`: interrupts are handled from here on, before anything large is
imported."""

from __future__ import annotations

from decoders.cli.interrupts import Interrupts


def run() -> None:
    interrupts = Interrupts()
    from decoders.cli.app import main

    interrupts.working = True
    try:
        main()
    finally:
        interrupts.working = False
