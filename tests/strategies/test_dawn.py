"""`dawn`: the independent set, what depends on what, and who has no attention maps."""

from __future__ import annotations

import pytest
import torch

from decoders import Pred, UsageError, decode, get
from decoders.core import Attention, Blocks, Shape, layout, view
from decoders.models.adapter import TransformersModel, eager
from decoders.models.guidance import Guided
from decoders.strategies.dawn import DAWN, independent
from decoders.testing.toy import ToyModel
from support.networks import network

ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1], [11, 12, 13, 14]]


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


def step(decoder, confidence, edges, decided=(), given=0):
    """Which of five positions a step commits, for what is predicted at each, pairs (i, j) where i attends to j, and
    what was decided before; `given` tokens stand left of the window, and are columns -1, -2 and so on."""
    toy = ToyModel()
    c = layout(Shape.of(toy), decoder, [[1] * given], length=5, keys=[0], windows=Blocks(5))
    s = view(c)
    s = s.commit(torch.tensor([[i in decided for i in range(5)]]), torch.zeros_like(s.tokens), torch.zeros(1, 5))
    logits = torch.zeros(1, 5, 11)
    logits[0, :, 1] = (torch.tensor(confidence) * 10 / (1 - torch.tensor(confidence))).log()
    weights = torch.zeros(1, 5, given + 6)
    for i, j in edges:
        weights[0, i, given + j] = 0.5
    index = given + torch.arange(5)[None]
    p = Pred(logits, torch.arange(5)[None], 5, attention=Attention(weights, index))
    return (s.open & ~decoder.step(s, p).open)[0].nonzero().flatten().tolist()


OPEN = DAWN(tau_sink=0.9)


def test_what_is_sure_is_committed_whatever_it_depends_on():
    assert step(OPEN, [0.95, 0.2, 0.93, 0.1, 0.1], [(0, 2), (2, 0)]) == [0, 2]


def test_what_depends_on_an_anchor_needs_less():
    """An anchor is decided, and something is predicted there with 0.9 now."""
    assert step(OPEN, [0.95, 0.75, 0.3, 0.2, 0.95], [(1, 0), (1, 4)], decided=[0]) == [1, 4]
    assert step(OPEN, [0.6, 0.75, 0.3, 0.2, 0.95], [(1, 0), (1, 4)], decided=[0]) == [4]  # it depends on 4


def test_what_stands_left_of_the_window_is_an_anchor():
    edges = [(1, -2), (1, 4)]
    assert step(OPEN, [0.5, 0.75, 0.3, 0.2, 0.95], edges, given=3) == [1, 4]
    assert step(OPEN, [0.5, 0.75, 0.3, 0.2, 0.95], edges[1:], given=3) == [4]


def test_what_is_committed_anyway_leaves_out_what_depends_on_it_and_not_the_other_way_round():
    assert step(OPEN, [0.95, 0.75, 0.1, 0.1, 0.1], [(1, 0)]) == [0]
    assert step(OPEN, [0.95, 0.75, 0.1, 0.1, 0.1], [(0, 1)]) == [0, 1]
    # 1 is induced, and 2 depends on it
    assert step(OPEN, [0.95, 0.8, 0.85, 0.1, 0.1], [(1, 0), (2, 1)], decided=[0]) == [1]


def test_of_positions_one_of_which_depends_on_the_other_the_best_is_taken():
    assert step(OPEN, [0.75, 0.85, 0.8, 0.1, 0.1], [(0, 1), (1, 2)]) == [1]
    assert step(OPEN, [0.75, 0.8, 0.1, 0.85, 0.1], [(0, 1)]) == [1, 3]


def test_the_best_is_taken_if_nothing_else_is():
    assert step(OPEN, [0.2, 0.4, 0.3, 0.1, 0.1], []) == [1]


def test_sinks_couple_nothing():
    edges = [(i, 2) for i in range(5)]
    assert step(DAWN(tau_sink=0.4, sink_times=0.0), [0.75, 0.8, 0.85, 0.1, 0.1], edges) == [0, 1, 2]
    assert step(OPEN, [0.75, 0.8, 0.85, 0.1, 0.1], edges) == [2]


@pytest.mark.parametrize(
    ("columns", "share", "code", "ours"),
    [(38, 0.026, True, False), (38, 0.2, True, True), (400, 0.0101, True, True), (400, 0.0099, False, False)],
)
def test_a_sink_draws_more_than_its_share_on_a_short_canvas_too(columns, share, code, ours):
    """Column 0 draws `share` of the attention and the others the rest evenly; the code's rule is an absolute 0.01."""
    weights = torch.full((1, columns, columns + 1), (1 - share) / (columns - 1))
    weights[..., 0], weights[..., -1] = share, 0.0
    at = torch.arange(columns)[None]
    for d, sink in ((DAWN(tau_edge=0.0, sink_times=0.0), code), (DAWN(tau_edge=0.0), ours)):
        assert bool(d.edges(Attention(weights, at), at)[0, 5, 0]) == (not sink)


def test_on_a_short_canvas_it_is_no_threshold_in_disguise():
    """There the code's rule takes every column for a sink, and is a threshold of 0.7."""
    net = network()
    net.lm_head.weight.data *= 3
    model = TransformersModel(net, mask_id=23)
    code, ours, plain = (
        [(row.canvas, row.nfe) for row in decode(model, get(spec), ROWS, length=24)]
        for spec in ("dawn:sink_times=0", "dawn", "threshold:tau=0.7")
    )
    assert code == plain != ours


def test_the_maps_of_a_transformer_reach_it(net):
    model = TransformersModel(net, mask_id=23)
    options = {"tau": 0.99, "tau_low": 0.0, "tau_induce": 0.99, "tau_sink": 1.0}
    loose, tight = (decode(model, get("dawn", tau_edge=e, **options), [[1, 2, 3]], length=12)[0] for e in (1.0, 0.0))
    assert loose.nfe == 1  # nothing is coupled
    assert tight.nfe == 12  # everything is
    assert len(loose.tokens) == len(tight.tokens) == 12


def test_a_model_without_maps_is_refused():
    with pytest.raises(UsageError, match="DAWN reads attention maps, and this model gives none"):
        decode(Guided(ToyModel(), 1.0), get("dawn"), [[1]], length=4)


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.875, 1), (0.999, 1)])
def test_maps_are_those_of_the_layers_that_were_asked_for(net, share, first):
    """The network has two layers."""
    model = TransformersModel(net, mask_id=23)
    tokens, column = torch.tensor([[1, 2, 3, 23, 23]]), torch.arange(5)[None]
    with torch.inference_mode(), eager(net, True):
        _, maps = model.states(tokens, column, torch.ones(1, 5, 5).bool(), maps=share)
        layers = net.base_model(
            input_ids=tokens, output_attentions=True, attention_mask=torch.zeros(1, 1, 5, 5)
        ).attentions
    assert len(layers) == 2
    assert torch.allclose(maps, torch.stack([x.mean(1) for x in layers[first:]]).mean(0), atol=1e-6)


def test_a_session_gives_the_maps_that_the_decoder_asks_for(net):
    model, shares = TransformersModel(net, mask_id=23), []
    plain = model.states

    def states(tokens, position, sees, cache=None, maps=None):
        shares.append(maps)
        return plain(tokens, position, sees, cache, maps)

    model.states = states
    for spec in ("dawn:depth=0.5", "prophet:base=(dawn:depth=0.5)", "dawn", "threshold"):
        decode(model, get(spec), [[1, 2, 3]], length=4)
        assert set(shares) == {{"dawn": 0.875, "threshold": None}.get(spec, 0.5)}
        shares.clear()


@pytest.mark.parametrize("seed", range(5))
def test_what_columns_attend_to_is_looked_up_and_nothing_where_they_were_not_computed(seed):
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, 6, 11, generator=g)
    index = torch.stack([torch.randperm(10, generator=g)[:6] for _ in range(2)])
    index[1, 4:] = 10  # padding
    columns = torch.stack([torch.arange(10), torch.randperm(10, generator=g)])
    found = Attention(weights, index).rows(columns)
    assert torch.equal(found, (columns[..., None] == index[:, None]).float() @ weights)
    assert not Attention(weights, index).rows(torch.full((2, 1), 10)).any(), "the bin is no column of a row"
