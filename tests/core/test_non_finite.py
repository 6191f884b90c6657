"""A model whose logits are not finite: the row ends with that reason, and the others do not notice."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import pytest
import torch

from decoders import Blocks, Pred, UsageError, decode, get
from decoders.core import Forward, NonFiniteError, Session, SessionSpec, StalledError
from decoders.testing.toy import ToyModel
from support.marks import thirds, turns
from support.strategies import EACH

DAMAGED = 8
"""The token of the prompt from which the row's predictions break."""
PROMPTS = [[1, 2, 3], [4, DAMAGED, 5], [6]]


@dataclass(frozen=True)
class Damaged(ToyModel):
    """Logits are `value` in one entry, in rows whose prompt holds `DAMAGED`, from forward `since` on (counted from
    0)."""

    value: float = torch.nan
    since: int = 0

    def session(self, spec: SessionSpec) -> Session:
        inner, forwards = super().session(spec), 0

        def forward(f: Forward) -> Pred:
            nonlocal forwards
            p = inner(f)
            hit = ((f.tokens == DAMAGED) & f.given).any(-1) & (forwards >= self.since)
            forwards += 1
            logits = p.logits.clone()
            logits[..., -1] = torch.where(hit[:, None], self.value, logits[..., -1])
            if self.value == -torch.inf:
                logits = logits.masked_fill(hit[:, None, None], -torch.inf)
            return replace(p, logits=logits)

        return forward


def rows(model, spec, prompts=PROMPTS, **how):
    decoder = get(spec)
    return decode(model, decoder, prompts, **{"length": 12, "windows": Blocks(4 if model.block_causal else 12), **how})


@pytest.mark.parametrize(("spec", "blocks"), thirds(turns(EACH, [False, True]), 1))
def test_every_strategy_ends_the_row_and_no_other(spec, blocks):
    damaged = Damaged(block_causal=blocks)
    try:
        made = rows(damaged, spec)
    except UsageError as e:
        pytest.skip(f"not for this model: {e}")
    whole = rows(ToyModel(block_causal=blocks), spec)
    assert [r.finish_reason for r in made] == ["length", "non_finite", "length"]
    assert (made[0], made[2]) == (whole[0], whole[2])
    assert (made[1].tokens, made[1].nfe) == ((), 1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("how", [{}, {"stop": False}, {"max_steps": 5}, {"poll": 3}])
def test_whatever_it_is_and_whenever_it_comes_the_row_stands_as_it_stood(value, how):
    model = Damaged(value=value, since=4)
    made, before = rows(model, "llada", **how)[1], rows(ToyModel(), "llada", max_steps=4)[1]
    assert (made.finish_reason, made.nfe) == ("non_finite", 5)
    assert (made.tokens, made.canvas) == (before.tokens, before.canvas)


def test_one_entry_of_minus_infinity_is_a_token_that_cannot_be_and_no_fault():
    @dataclass(frozen=True)
    class Without(ToyModel):
        def session(self, spec):
            inner = super().session(spec)
            return lambda f: (
                (p := inner(f)) and replace(p, logits=p.logits.index_fill(-1, torch.tensor([3]), -torch.inf))
            )

    assert [r.finish_reason for r in rows(Without(), "llada")] == ["length"] * 3


def test_what_is_wanted_of_nobody_may_be_anything():
    """Padding beside what is wanted, and rows that have ended, are not looked at."""
    logits = torch.zeros(2, 3, 5)
    logits[0, 2] = torch.nan
    assert Pred(logits, torch.tensor([[0, 1, 2], [0, 1, 2]]), 3).undefined().tolist() == [True, False]
    assert Pred(logits, torch.tensor([[0, 1, 3], [0, 1, 2]]), 3).undefined().tolist() == [False, False]


@pytest.mark.parametrize("error", [NonFiniteError(3, "row 1: "), StalledError(700)])
def test_the_error_of_a_row_is_the_same_in_another_process(error):
    made = pickle.loads(pickle.dumps(error))
    assert (type(made), str(made), made.forward) == (type(error), str(error), error.forward)
