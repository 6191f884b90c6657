"""The tensor functions and the trees of labels, against plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import UsageError
from decoders.decide.labels import tree
from decoders.decide.reading import at_columns, log_probabilities, over_labels, over_lists


def test_logits_are_found_by_their_columns_and_what_is_not_predicted_is_no_number():
    logits = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.bfloat16)
    found = at_columns(logits, torch.tensor([7, -1, 5]), torch.tensor([5, 6, 7]))
    assert found.dtype == torch.float32
    assert found[0].tolist() == [5, 6]
    assert found[2].tolist() == [1, 2]
    assert found[1].isnan().all()


def test_probabilities_are_among_what_may_be_generated():
    logits = torch.tensor([[0.0, 1.0, 2.0, 30.0]])
    found = log_probabilities(logits, torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([3]))
    total = 1 + math.e + math.e**2
    assert found.exp().tolist() == pytest.approx([math.e / total, math.e**2 / total])
    assert found.dtype == torch.double


labels_of_ids = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), min_size=2, max_size=12, unique=True
)


@settings(deadline=None, derandomize=True)
@given(labels_of_ids, st.integers(0, 99))
def test_a_label_is_as_probable_as_all_of_its_tokens(spelled, seed):
    """Against a naive twin: a table of the next token behind each beginning."""
    found = tree([str(x) for x in spelled], spelled, end=0)
    generator = torch.Generator().manual_seed(seed)
    table = {n.prefix: torch.rand(4, generator=generator, dtype=torch.double).log_softmax(-1) for n in found.nodes}
    log_p = torch.cat([table[n.prefix][list(n.tokens)] for n in found.nodes])
    deep = max(map(len, found.paths))
    path = torch.tensor([[*p, *[len(log_p)] * (deep - len(p))] for p in found.paths])
    naive = []
    for ids in spelled:
        longer = any(x[: len(ids)] == ids and x != ids for x in spelled)
        whole = (*ids, 0) if longer else ids
        naive.append(sum(float(table[whole[:i]][t]) for i, t in enumerate(whole)))
    assert over_labels(log_p, path).tolist() == pytest.approx(naive)
    assert found.size == max(len(p) for p in found.paths)


def test_labels_of_one_token_take_one_look():
    found = tree(["a", "b"], [(5,), (6,)], None)
    assert [(n.prefix, n.tokens) for n in found.nodes] == [((), (5, 6))]


def test_labels_that_begin_alike_take_a_look_at_each_beginning():
    found = tree(["ab", "ac", "d"], [(1, 2), (1, 3), (4,)], None)
    assert {n.prefix: n.tokens for n in found.nodes} == {(): (1, 4), (1,): (2, 3)}


def test_labels_that_cannot_be_told_apart():
    with pytest.raises(UsageError, match="'a' and 'b' are the same tokens"):
        tree(["a", "b"], [(1,), (1,)], 0)
    with pytest.raises(UsageError, match="'10' begins with the label '1', and this model has no end token"):
        tree(["1", "10"], [(1,), (1, 2)], None)


def test_lists_are_joined_by_the_odds_against_none_of_them():
    """What was one list, cut in two with Luce's axiom kept, is that list again."""
    weights = torch.tensor([4.0, 1.0, 3.0, 2.0], dtype=torch.double)
    none = 5.0
    first, second = (torch.cat([w, torch.tensor([none])]) for w in weights.split(2))
    lists = [(x / x.sum()).log() for x in (first.double(), second.double())]
    joined = over_lists(torch.cat([x[:-1] for x in lists]), torch.cat([x[-1:].expand(2) for x in lists]))
    assert joined.tolist() == pytest.approx((weights / weights.sum()).tolist())
    alone = over_lists(weights.log(), torch.zeros(4))
    assert alone.tolist() == pytest.approx((weights / weights.sum()).tolist())
