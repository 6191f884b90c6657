"""Persistent drafts: which of them stand, what they save, and what they leave to Fréchet's bound. The laws are in
test_laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decoders import Pred, State, decode, get
from decoders.testing.toy import ToyModel
from decoders_bench.golden.steps import state

ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
TOY = ToyModel(seed=3, stop_ids=(9,))
MASK, VOCAB = 5, 6


def window(n: int, **more: object) -> State:
    return replace(state(torch.full((1, n), MASK), MASK, VOCAB), **more)


def pred(s: State, *canvases: list[tuple[int, float]]) -> Pred:
    """A prediction on several canvases: of each, the likeliest token and its probability at every position."""

    def one(canvas: list[tuple[int, float]]) -> Pred:
        rows = [[c if v == token else (1 - c) / (VOCAB - 1) for v in range(VOCAB)] for token, c in canvas]
        return Pred(torch.tensor(rows, dtype=torch.double).log()[None], torch.arange(len(canvas))[None], len(canvas))

    own, *others = map(one, canvases)
    return replace(own, beside=tuple(others))


def stepped(spec: str, s: State, *canvases: list[tuple[int, float]]) -> State:
    d = get(spec)
    s = s if s.memo is not None else d.begin(d.init(s))
    return d.step(s, pred(s, *canvases, *[[(0, 0.0)] * s.tokens.shape[1]] * (1 + d.ahead - len(canvases))))


def decided(s: State) -> dict[int, int]:
    return {i: int(s.tokens[0, i]) for i in range(s.tokens.shape[1]) if not s.open[0, i]}


ANY = (0, 0.0)
"""What is not asked there."""
FIRST = [(0, 0.99), (1, 0.6), (2, 0.5), (3, 0.4)]
"""One sure token, and three drafts; with `keep=0` they stand while they stay the likeliest."""


def test_the_next_forward_shows_the_drafts_beside_the_canvas_one_more_each_time():
    s = stepped("persistent_drafts:ahead=2,keep=0", window(4), FIRST)
    assert decided(s) == {0: 0}
    q = get("persistent_drafts:ahead=2,keep=0").query(s)
    assert q.tokens[0].tolist() == [0, MASK, MASK, MASK]
    assert q.beside.tokens[0].tolist() == [[0, 1, MASK, MASK], [0, 1, 2, MASK]]
    assert q.beside.want[0].tolist() == [[False, False, True, True], [False, False, False, True]]


@pytest.mark.parametrize(
    ("own", "one", "two", "expected"),
    [
        (
            [ANY, (1, 0.5), (2, 0.4), (3, 0.3)], [ANY, ANY, (2, 0.4), (3, 0.3)], [ANY, ANY, ANY, (3, 0.5)],
            {0: 0, 1: 1, 2: 2, 3: 3},
        ),
        # the first no longer stands: the best one is taken from the canvas without it, whatever the others say
        ([ANY, (4, 0.5), (2, 0.4), (3, 0.3)], [ANY, ANY, (2, 0.9), (3, 0.9)], [ANY, ANY, ANY, (3, 0.9)], {0: 0, 1: 4}),
        # the first stands, the second does not once the first is there
        (
            [ANY, (1, 0.5), (2, 0.4), (3, 0.3)], [ANY, ANY, (4, 0.4), (3, 0.6)], [ANY, ANY, ANY, (4, 0.9)],
            {0: 0, 1: 1, 3: 3},
        ),
    ],
)  # fmt: skip
def test_a_draft_stands_while_it_stays_the_likeliest_beside_those_before_it(own, one, two, expected):
    s = stepped("persistent_drafts:ahead=2,keep=0", window(4), FIRST)
    assert decided(stepped("persistent_drafts:ahead=2,keep=0", s, own, one, two)) == expected


def test_a_draft_must_keep_the_probability_asked_for():
    """Draft 1 stands with 0.5 while another prediction, 3, is surer."""
    own, one = [(0, 0), (1, 0.5), (2, 0.4), (3, 0.6)], [(0, 0), (0, 0), (2, 0.4), (3, 0.7)]
    found = {}
    for keep in (0.0, 0.45, 0.55):
        spec = f"persistent_drafts:ahead=1,keep={keep}"
        found[keep] = decided(stepped(spec, stepped(spec, window(4), FIRST), own, one))
    assert found == {0.0: {0: 0, 1: 1, 3: 3}, 0.45: {0: 0, 1: 1, 3: 3}, 0.55: {0: 0, 3: 3}}


def test_a_draft_that_the_rule_decides_anyway_stands_with_any_probability():
    own, one = [(0, 0), (1, 0.5), (2, 0.4), (3, 0.3)], [(0, 0), (0, 0), (2, 0.4), (3, 0.6)]
    spec = "persistent_drafts:ahead=1,keep=1.0"
    assert decided(stepped(spec, stepped(spec, window(4), FIRST), own, one)) == {0: 0, 1: 1, 3: 3}


def test_right_of_a_stop_token_nothing_is_drafted_and_what_is_unsure_waits():
    spec, rest = "persistent_drafts:ahead=1,keep=0", (3, 0.6)
    s = stepped(spec, window(4, stop_ids=(2,)), [(1, 0.5), (1, 0.4), (2, 0.99), rest])
    assert decided(s) == {2: 2}
    assert s.memo.rank[0].tolist() == [0, 1, 1, 1]  # `rest` is surer, and no draft
    s = stepped(spec, s, [(1, 0.5), (1, 0.4), ANY, rest], [ANY, (1, 0.4), ANY, rest])
    assert decided(s) == {0: 1, 1: 1, 2: 2}  # nor is it the one that is decided at least
    assert decided(stepped(spec, s, [ANY, ANY, ANY, rest])) == {0: 1, 1: 1, 2: 2, 3: 3}  # unless it is all there is


@pytest.mark.parametrize("delta", [0.1, 0.75])
def test_without_drafts_it_is_frechet(delta):
    free = ToyModel(seed=3)  # with no stop token
    assert decode(free, get(f"persistent_drafts:delta={delta},ahead=0"), ROWS, length=9) == decode(
        free, get(f"frechet:delta={delta}"), ROWS, length=9
    )


def test_drafts_save_forwards_and_each_may_cost_a_canvas():
    plain, drafted = (decode(TOY, get(f"persistent_drafts:ahead={a}"), ROWS, length=12, stop=False) for a in (0, 3))
    assert sum(r.nfe for r in drafted) < sum(r.nfe for r in plain)
    assert all(r.nfe <= 12 and r.finish_reason == "length" for r in drafted)
