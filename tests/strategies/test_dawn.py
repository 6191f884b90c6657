"""`dawn`: the independent set, what depends on what, and who has no attention maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decoders import Pred, UsageError, decode, get
from decoders.core import Attention, Shape, Whole, layout, view
from decoders.models.guidance import Guided
from decoders.strategies.dawn import DAWN, independent
from decoders.testing.toy import ToyModel


def greedy(where, score, coupled):
    """One position after the other, in the order of the score."""
    taken = []
    for i in sorted(range(len(where)), key=lambda i: (-score[i], i)):
        if where[i] and not any(coupled[i][j] for j in taken):
            taken.append(i)
    return [i in taken for i in range(len(where))]


def test_the_independent_set_is_the_greedy_one():
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        score, where = torch.rand(2, 9, generator=g), torch.rand(2, 9, generator=g) < 0.8
        coupled = torch.rand(2, 9, 9, generator=g) < 0.2
        coupled = coupled | coupled.mT
        found = independent(where, torch.where(where, score, -torch.inf), coupled)
        for b in range(2):
            assert found[b].tolist() == greedy(where[b].tolist(), score[b].tolist(), coupled[b].tolist())


def step(decoder, confidence, edges, decided=()):
    """Which of five positions a step commits, for their confidences, pairs (i, j) where i attends to j, and what was decided before
    and how surely."""
    toy = ToyModel()
    c = layout(Shape.of(toy), decoder, [[]], length=5, keys=[0], windows=Whole())
    s = view(c)
    for place, sure in decided:
        s = s.commit(torch.arange(5)[None] == place, torch.zeros_like(s.tokens), torch.full((1, 5), sure))
    logits = torch.zeros(1, 5, 11)
    logits[0, :, 1] = (torch.tensor(confidence) * 10 / (1 - torch.tensor(confidence))).log()
    weights = torch.zeros(1, 5, 6)
    for i, j in edges:
        weights[0, i, j] = 0.5
    p = Pred(logits, torch.arange(5)[None], 5, attention=Attention(weights, torch.arange(5)[None]))
    return (s.open & ~decoder.step(s, p).open)[0].nonzero().flatten().tolist()


OPEN = DAWN(tau_sink=0.9)


def test_what_is_sure_is_committed_whatever_it_is_coupled_to():
    assert step(OPEN, [0.95, 0.2, 0.93, 0.1, 0.1], [(0, 2), (2, 0)]) == [0, 2]


def test_what_attends_to_a_sure_decided_position_needs_less():
    assert step(OPEN, [0.5, 0.75, 0.3, 0.2, 0.95], [(1, 0), (1, 4)], decided=[(0, 0.95)]) == [1, 4]
    assert step(OPEN, [0.5, 0.75, 0.3, 0.2, 0.95], [(1, 0), (1, 4)], decided=[(0, 0.6)]) == [4]  # it is coupled to 4


def test_of_coupled_positions_the_best_is_taken():
    assert step(OPEN, [0.75, 0.85, 0.8, 0.1, 0.1], [(0, 1), (1, 2)]) == [1]
    assert step(OPEN, [0.75, 0.8, 0.1, 0.85, 0.1], [(0, 1)]) == [1, 3]


def test_the_best_is_taken_if_nothing_else_is():
    assert step(OPEN, [0.2, 0.4, 0.3, 0.1, 0.1], []) == [1]


def test_sinks_couple_nothing():
    edges = [(i, 2) for i in range(5)]
    assert step(replace(OPEN, tau_sink=0.4), [0.75, 0.8, 0.85, 0.1, 0.1], edges) == [0, 1, 2]
    assert step(OPEN, [0.75, 0.8, 0.85, 0.1, 0.1], edges) == [2]


def test_the_maps_of_a_transformer_reach_it(net):
    from decoders.models.adapter import TransformersModel

    model = TransformersModel(net, mask_id=23)
    loose, tight = (decode(model, get("dawn", tau=0.99, tau_low=0.0, tau_induce=0.99, tau_edge=e, tau_sink=1.0), [[1, 2, 3]], length=12)[0]
                    for e in (1.0, 0.0))
    assert loose.nfe == 1  # nothing is coupled
    assert tight.nfe == 12  # everything is
    assert len(loose.tokens) == len(tight.tokens) == 12


def test_a_model_without_maps_is_refused():
    with pytest.raises(UsageError, match="DAWN reads attention maps, and this model gives none"):
        decode(Guided(ToyModel(), 1.0), get("dawn"), [[1]], length=4)
