"""What strategies sample, held against a joint distribution that is known exactly."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from decoders import Blocks, UsageError, decode, get
from decoders.core import Forward, SessionSpec
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


SHOWN = torch.tensor([[0, 3, 1, 3], [3, 3, 3, 3]])


def asked(tokens, **fields):
    """A forward of an oracle's canvas that wants every position."""
    (B, L), columns = tokens.shape, tokens.shape[1] + 1
    none = torch.zeros(B, columns, dtype=torch.long)
    plain = {
        "tokens": torch.nn.functional.pad(tokens, (0, 1)), "until": none + L, "compute": none == 0,
        "outdated": none > 0, "given": none > 0, "at": torch.arange(L).expand(B, -1),
        "want": torch.ones(B, L, dtype=torch.bool), "causal": none[:, 0] > 0, "entered": none[:, 0] > 0,
        "phase": none[:, 0], "unseen": torch.zeros(B, columns, 2, dtype=torch.long), "left_out": tokens < 0,
        "candidate_tokens": torch.zeros(B, 0, L, dtype=torch.long),
        "candidate_want": torch.zeros(B, 0, L, dtype=torch.bool),
    }
    return Forward(**{**plain, **fields})


def given(seen):
    """(length, vocab) log conditionals where position i sees the partial text `seen[i]`."""
    return torch.stack([ORACLE.table[ORACLE.code(torch.tensor(row), ORACLE.vocab), i] for i, row in enumerate(seen)])


def session(**needs):
    return ORACLE.session(SessionSpec(2, 5, 4, **needs))


def test_a_position_is_predicted_from_what_it_sees():
    until, unseen = torch.full((2, 5), 4), torch.zeros(2, 5, 2, dtype=torch.long)
    until[0, 1] = 2  # the second position sees the first two columns
    unseen[0, 3] = torch.tensor([0, 2])  # and the last one not these
    p = session(sight=True)(asked(SHOWN, until=until, unseen=unseen))
    assert torch.equal(p.logits[0], given([[0, 3, 1, 3], [0, 3, 3, 3], [0, 3, 1, 3], [3, 3, 1, 3]]))
    left_out = torch.tensor([[True, False, True, False], [False] * 4])
    p = session(leave_one_out=True)(asked(SHOWN, left_out=left_out))
    assert torch.equal(p.logits[0], given([[3, 3, 1, 3], [0, 3, 1, 3], [0, 3, 3, 3], [0, 3, 1, 3]]))
    p = session(causal=True)(asked(SHOWN, causal=torch.tensor([True, False])))
    assert torch.equal(p.logits[0], given([[3, 3, 3, 3], [0, 3, 3, 3], [0, 3, 3, 3], [0, 3, 1, 3]]))
    assert torch.equal(p.logits[1], given([[3, 3, 3, 3]] * 4))


def test_candidates_are_predicted_as_what_they_show():
    other = torch.tensor([[[0, 2, 1, 3]], [[3, 3, 3, 1]]])
    f = asked(SHOWN, candidate_tokens=other, candidate_want=other == 3)
    p = session(candidates=1)(f)
    assert torch.equal(p.logits[0], given([[0, 3, 1, 3]] * 4))
    assert torch.equal(p.beside[0].logits[0, 3], given([[0, 2, 1, 3]] * 4)[3])
    assert torch.equal(p.beside[0].logits[1, :3], given([[3, 3, 3, 1]] * 4)[:3])


def test_the_attention_of_an_oracle_is_how_much_positions_have_to_do_with_each_other():
    """Against sums over texts written out, and in a distribution whose last letter is that of the first and whose other
    two are fair coins."""
    o = Oracle(letters=2, length=3, seed=5)
    p = o.joint.view(2, 2, 2)
    pair, first, second = p.sum(2), p.sum((1, 2)), p.sum((0, 2))
    mutual = float((pair * (pair / (first[:, None] * second[None])).log()).sum())
    open_ = o.code(torch.tensor([2, 2, 2]), 3)
    assert float(o.bonds[open_, 0, 1]) == pytest.approx(mutual, abs=1e-12)
    assert float(o.bonds[open_, 1, 0]) == pytest.approx(mutual, abs=1e-12)
    known = o.code(torch.tensor([1, 2, 2]), 3)
    after = pair[1] / pair[1].sum()
    assert float(o.bonds[known, 1, 0]) == pytest.approx(float((after * (after / second).log()).sum()), abs=1e-12)
    assert (o.bonds.diagonal(dim1=1, dim2=2) == 0).all()

    coins = Oracle(letters=2, length=4)
    coins.__dict__["joint"] = ((coins.texts[:, 0] == coins.texts[:, 3]).double() / 8)
    f = asked(torch.full((1, 4), 2))
    maps = coins.session(SessionSpec(1, 5, 4, attention=True))(f).attention
    assert maps is not None
    weights = maps.rows(torch.arange(4)[None])[0, :, :4]
    torch.testing.assert_close(weights, torch.eye(4)[[3, 1, 2, 0]], atol=1e-6, rtol=0)


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
