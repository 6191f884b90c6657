"""Every registered cache policy against every law of such, and the control set against its laws."""

from __future__ import annotations

import pytest

from decoders import Cache, get_cache
from decoders.registry import entries
from decoders.testing import CACHE_LAWS, check_cache
from decoders.testing.bad_caches import CACHE_CONTROLS, FairCache
from decoders.testing.cache_laws import CACHE_FAST
from decoders.testing.measured import measured

CACHES = [e.name for e in entries("caches")]
OTHER_OPTIONS = ["entropycache:tau=1.0,k=2", "dkv:refresh=3", "interval:prompt=4,response=3", "drift:gamma=0.5"]
by_name = {law.__name__: law for law in CACHE_LAWS}


def test_all_nine_are_held_to_the_laws() -> None:
    assert len(CACHES) >= 9


@pytest.mark.parametrize("law", CACHE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("spec", [*CACHES, *(pytest.param(spec, marks=pytest.mark.slow) for spec in OTHER_OPTIONS)])
def test_law(spec: str, law) -> None:
    law(get_cache(spec))


@pytest.mark.parametrize("bad", CACHE_CONTROLS, ids=lambda bad: bad.__name__)
def test_the_law_that_is_meant_for_it_catches_a_bad_policy(bad: type[Cache]) -> None:
    with pytest.raises(AssertionError):
        by_name[CACHE_CONTROLS[bad]](bad())


def test_the_control_of_the_controls_keeps_all() -> None:
    check_cache(FairCache())
    assert set(CACHE_FAST) < set(CACHE_LAWS)


@pytest.mark.parametrize("law", sorted(set(by_name) - {"exact_is_exact"}))
def test_a_law_has_a_control(law: str) -> None:
    """The other one is of the library's making: a policy that declares itself exact is not asked."""
    assert law in CACHE_CONTROLS.values()


def test_check_cache_takes_a_spec_and_tells_what_broke() -> None:
    match = r"breaks 1 of 11 laws\n\nsettles: one canvas: column \d+ of row \d became \d+ .* what was computed of 10"
    with pytest.raises(AssertionError, match=match):
        check_cache("decoders.testing.bad_caches:TrustsEverything")


def test_what_is_measured_tells_approximations_from_none() -> None:
    none, dual, block = (measured(get_cache(name)) for name in ("none", "dual", "block"))
    assert (none.computed, none.outdated, none.agreeing) == (1.0, 0.0, none.tokens)
    assert (block.outdated, block.agreeing) == (0.0, block.tokens)
    assert dual.computed < 1
    assert dual.outdated > 0
    assert 0 < block.computed < 1
    assert 0 < dual.agreeing <= dual.tokens
