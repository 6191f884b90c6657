"""Conformance: the laws that a strategy has to keep, for authors of strategies.

    from decoders.testing import check
    check("my_package.mine:Mine:tau=0.5")

runs every law and needs no test framework. With pytest, `@pytest.mark.parametrize("law", LAWS, ids=lambda law:
law.__name__)` and `law(decoder)` make each a test of its own.
"""

from __future__ import annotations

from decoders.core import Decoder
from decoders.registry import get
from decoders.testing.laws import LAWS, Law

__all__ = ["LAWS", "Law", "check"]


def check(decoder: Decoder | str) -> None:
    """Hold a strategy, or the one that a spec string makes, against every law.

    Raises `AssertionError` with one paragraph for each law that is broken, and `UsageError` for a spec that makes no
    strategy."""
    d = get(decoder) if isinstance(decoder, str) else decoder
    broken = []
    for law in LAWS:
        try:
            law(d)
        except (
            Exception
        ) as e:  # a broken strategy may raise anything anywhere, and the other laws are still worth hearing
            what = str(e) if isinstance(e, AssertionError) else f"{type(e).__name__}: {e}"
            broken.append(f"{law.__name__}: {what}")
    if broken:
        raise AssertionError(f"{d!r} breaks {len(broken)} of {len(LAWS)} laws\n\n" + "\n\n".join(broken))
