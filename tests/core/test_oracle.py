"""What strategies sample, held against a joint distribution that is known exactly."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from decoders import Blocks, UsageError, decode, get
from decoders.testing.oracle import Oracle, distance, floor, sampled

ROWS = 1500
ORACLE = Oracle()


@pytest.fixture(scope="module")
def noise():
    return floor(ORACLE, ROWS)


def test_the_tables_are_conditionals_of_the_joint():
    """Against a direct sum over texts, for every partial text of a small oracle."""
    o = Oracle(letters=2, length=3, seed=5)
    assert float(o.joint.sum()) == pytest.approx(1, abs=1e-12)
    for row, shown in enumerate(torch.cartesian_prod(*[torch.arange(3)] * 3).tolist()):
        fits = [all(s in (2, t) for s, t in zip(shown, text, strict=True)) for text in o.texts.tolist()]
        total = sum(p for p, ok in zip(o.joint.tolist(), fits, strict=True) if ok)
        for i in range(3):
            for letter in range(2):
                some = sum(
                    p
                    for p, ok, text in zip(o.joint.tolist(), fits, o.texts.tolist(), strict=True)
                    if ok and text[i] == letter
                )
                assert float(o.table[row, i, letter].exp()) == pytest.approx(some / total, abs=1e-12)
            assert o.table[row, i, 2] == -torch.inf


EXACT = [
    "left_to_right:temperature=1.0",
    "first_hitting",
    "ancestral:steps=4096",
    "llada:temperature=1.0,remasking=random",
]
INEXACT = [
    "llada:temperature=1.0",
    "threshold:temperature=1.0,tau=1.0",
    "left_to_right",
    "left_to_right:temperature=0.5",
]


@pytest.mark.parametrize("spec", EXACT)
def test_one_token_a_forward_in_an_order_that_ignores_the_tokens_is_exact(spec, noise):
    mean, deviation = noise
    tv, nfe = distance(get(spec), ORACLE, ROWS)
    assert tv < mean + 4 * deviation
    assert ORACLE.length - 0.01 < nfe <= ORACLE.length


@pytest.mark.parametrize("spec", INEXACT)
def test_choosing_by_confidence_or_sharpening_is_not_exact(spec, noise):
    mean, deviation = noise
    tv, _ = distance(get(spec), ORACLE, ROWS)
    assert tv > mean + 10 * deviation


def test_ancestral_sampling_comes_nearer_with_more_steps(noise):
    found = [distance(get("ancestral", steps=steps), ORACLE, ROWS) for steps in (1, 2, 4, 16)]
    tv, nfe = zip(*found, strict=True)
    assert all(a > b + 5 * noise[1] for a, b in pairwise(tv))
    assert all(a < b for a, b in pairwise(nfe))
    assert nfe[0] == 1


def test_forwards_of_ancestral_sampling_are_the_steps_that_change_something():
    """N positions fall into T steps independently: T (1 - (1 - 1/T)^N) steps hold one or more of them."""
    for steps in (2, 4, 16):
        expected = steps * (1 - (1 - 1 / steps) ** ORACLE.length)
        forwards = sampled(get("ancestral", steps=steps), ORACLE, ROWS)[1].double()
        assert abs(float(forwards.mean()) - expected) < 4 * float(forwards.std()) / ROWS**0.5


def test_a_sample_belongs_to_its_seed():
    decoder = get("first_hitting")
    some, more = sampled(decoder, ORACLE, 50)[0], sampled(decoder, ORACLE, 25, seed=1)[0]
    assert torch.equal(some[25:], more)
    assert len(some.unique()) > 10
    row = decode(ORACLE, decoder, [[]], length=ORACLE.length, windows=Blocks(ORACLE.length), seed=30)[0]
    assert int(ORACLE.code(torch.tensor(row.tokens), ORACLE.letters)) == int(some[30])


def test_an_oracle_says_what_it_cannot_decode():
    with pytest.raises(UsageError, match="rows of 4 positions without a prompt"):
        decode(ORACLE, get("llada"), [[1]], length=4)
