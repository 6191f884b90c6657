"""Conformance: the laws that strategies, cache policies and families of checkpoints have to keep, for their authors.
Those of tasks are in `decoders_bench.tasks.laws`.

    from decoders.testing import check, check_cache, check_family
    check("my_package.mine:Mine:tau=0.5")
    check_cache("my_package.mine:MyCache")
    check_family("my_package.mine:MY_FAMILY")

runs every law and needs no test framework; `decoders check` does it from a command line. With pytest,
`@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)` and `law(decoder)` make each a test of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from decoders.core import Cache, Decoder
from decoders.registry import get, get_cache
from decoders.testing.cache_laws import CACHE_LAWS, CacheLaw
from decoders.testing.laws import LAWS, Law
from decoders.testing.trial import insist

if TYPE_CHECKING:
    from decoders.models.families import Family
    from decoders.testing.family_laws import FAMILY_LAWS, FamilyLaw
    from decoders.testing.tiny import Tiny

__all__ = [
    "CACHE_LAWS", "FAMILY_LAWS", "LAWS", "CacheLaw", "FamilyLaw", "Law", "Tiny", "check", "check_cache", "check_family",
]

PLACES = {
    "FAMILY_LAWS": "decoders.testing.family_laws", "FamilyLaw": "decoders.testing.family_laws",
    "Tiny": "decoders.testing.tiny",
}
"""The modules of names that are imported at their first use, because they need what only checkpoints need."""


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def check(decoder: Decoder | str) -> None:
    """Test a strategy, or the one that a spec string makes, against every law.

    Raises `AssertionError` with one paragraph for each breach that does not follow from another, and `UsageError` for a
    spec that makes no strategy."""
    insist(LAWS, get(decoder) if isinstance(decoder, str) else decoder)


def check_cache(cache: Cache | str) -> None:
    """Test a cache policy, or the one that a spec string makes, against every law of caches. Raises as `check` does."""
    insist(CACHE_LAWS, get_cache(cache) if isinstance(cache, str) else cache, "stale")


def check_family(family: Family | str) -> None:
    """Test a family of checkpoints, or the one of a name or of `module:NAME`, against every law of families. Raises as
    `check` does, and `UsageError` for a family without a sample."""
    from decoders.models.recognition import get_family
    from decoders.testing.family_laws import FAMILY_LAWS
    from decoders.testing.tiny import Tiny

    insist(FAMILY_LAWS, Tiny(get_family(family) if isinstance(family, str) else family), "")
