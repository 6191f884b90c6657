"""A part of a window: what a decoder sees that works in it, and what becomes of its work."""

from __future__ import annotations

from dataclasses import replace

import torch

from decoders_bench.golden.steps import state

MASK = 9


def test_a_part_of_a_window_has_its_own_count_of_steps_and_nothing_to_do_outside() -> None:
    s = replace(state(torch.tensor([[1, MASK, MASK, MASK]]), MASK, 10), editable=torch.ones(1, 4, dtype=torch.bool))
    s = replace(s, step=torch.tensor([5]))
    where = torch.tensor([[True, True, True, False]])
    part = s.within(where, torch.tensor([2]), "memo", since=torch.tensor([3]))
    assert part.open.tolist() == [[False, True, True, False]]
    assert part.editable.tolist() == where.tolist()
    assert (part.step.tolist(), part.opened.tolist(), part.memo) == ([2], [2], "memo")
    sevens, ones = torch.full_like(s.tokens, 7), torch.ones_like(s.confidence)
    assert part.edit(torch.ones_like(where), sevens, ones).commit(
        torch.ones_like(where), sevens, ones
    ).tokens.tolist() == [[7, 7, 7, MASK]]


def test_what_a_part_has_made_of_its_positions_is_taken_and_nothing_else() -> None:
    s = state(torch.tensor([[1, MASK, MASK, MASK]]), MASK, 10)
    where = torch.tensor([[False, True, True, False]])
    part = replace(s.within(where, torch.tensor([2]), (), since=0), clock=torch.tensor([4]))
    everywhere = torch.ones_like(where)
    done = replace(part, open=everywhere).commit(
        everywhere, torch.full_like(s.tokens, 7), torch.full_like(s.confidence, 0.5)
    )
    t = s.taking(where, done, "mine")
    assert t.tokens.tolist() == [[1, 7, 7, MASK]]
    assert t.open.tolist() == [[False, False, False, True]]
    assert t.confidence.tolist() == [[0, 0.5, 0.5, 0]]
    assert t.committed_at.tolist() == [[-1, 4, 4, -1]]
    assert (t.opened.tolist(), t.editable.tolist(), t.memo) == (s.opened.tolist(), s.editable.tolist(), "mine")
