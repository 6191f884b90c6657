"""Small tensors that are made once."""

from __future__ import annotations

import pytest
import torch

from decoders.stats.constants import but, constant, counting, everywhere, made_once, number

CPU = torch.device("cpu")


def test_numbers_and_ranges_are_made_once():
    like = torch.zeros(2, 3, dtype=torch.double)
    assert number(0.5, like).data_ptr() == constant((0.5,), CPU, torch.double).data_ptr()
    assert number(0.5, like).dtype == torch.double
    assert number(0.5, like).shape == ()
    assert counting(3, CPU).tolist() == [0, 1, 2]
    assert counting(0, CPU).tolist() == []
    assert counting(3, CPU).data_ptr() == counting(7, CPU).data_ptr()


@pytest.mark.parametrize("n", [1, 1024, 1025, 5000])
def test_ranges_grow_and_older_ones_stay_as_they_are(n):
    before = counting(5, CPU)
    assert torch.equal(counting(n, CPU), torch.arange(n))
    assert before.tolist() == [0, 1, 2, 3, 4]


def test_the_same_number_everywhere_takes_no_memory():
    like = torch.zeros(4, 5)
    x = everywhere(7, like)
    assert torch.equal(x, torch.full_like(like, 7))
    assert everywhere(False, like, torch.bool).dtype == torch.bool
    assert x.untyped_storage().nbytes() == 4
    assert made_once(x)
    assert not made_once(x.clone())


def test_but_is_and_not():
    a, b = torch.tensor([[True], [False]]), torch.tensor([True, False])
    assert torch.equal(but(a, b), a & ~b)
