"""Trees of tensors: dataclasses, tuples and dictionaries in one another, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from decoders.core import choose, mapped


@dataclass(frozen=True)
class Leaf:
    x: Tensor
    name: str = "leaf"


class Pair(NamedTuple):
    one: Any
    other: Any


def tree(a: int) -> Pair:
    x = torch.tensor([a, a + 1])
    return Pair((Leaf(x), {"deep": Leaf(x + 10)}), Leaf(Pair(x + 20, None)))  # type: ignore[arg-type]


def test_dataclasses_inside_of_tuples_are_chosen_row_by_row_too() -> None:
    """As the memo of a decoder is, whose memo is a dataclass, inside that of another."""
    made = choose(torch.tensor([True, False]), tree(1), tree(5))
    (leaf, deep), last = made
    assert isinstance(made, Pair)
    assert leaf.x.tolist() == [1, 6]
    assert leaf.name == "leaf"
    assert deep["deep"].x.tolist() == [11, 16]
    assert last.x.one.tolist() == [21, 26]
    assert last.x.other is None


def test_what_is_no_tensor_is_that_of_the_first() -> None:
    one, other = Leaf(torch.tensor([1]), "one"), Leaf(torch.tensor([2]), "other")
    made = mapped(torch.add, (one, "a", ()), (other, "b", ()))
    assert (made[0].x.tolist(), made[0].name, made[1:]) == ([3], "one", ("a", ()))
