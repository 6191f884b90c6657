"""Early exit, the end of a text, and its length: `prophet`, `eos_stop`, `length_penalty`, `eos_padding`, `daedal`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch

from decoders import Blocks, Pred, UsageError, decode, get
from decoders.core import ModelDefaults
from decoders.testing.toy import ToyModel
from decoders_bench.golden.steps import state

END, MASK = 9, 10
TOY = ToyModel(stop_ids=(END,))


@dataclass(frozen=True)
class Script(ModelDefaults):
    """Says at place i of the row what stands in `logits` there, `{place: {token: logit}}`, and token 1 with logit 4
    elsewhere. Keeps what it was shown: (L,) tokens and how far the first column sees."""

    logits: dict
    seen: list
    vocab: int = 11
    mask_id: int | None = MASK
    stop_ids: tuple[int, ...] = (END,)
    device = torch.device("cpu")

    def session(self, need):
        def forward(f):
            B, W = f.want.shape
            self.seen.append((f.tokens[0].clone(), int(f.until[0, 0])))
            logits = torch.zeros(B, W, self.vocab)
            logits[..., 1] = 4.0
            for place, row in self.logits.items():
                for token, value in row.items():
                    logits[:, :, token] = torch.where(f.at == place, value, logits[:, :, token])
            return Pred(logits, torch.where(f.want, torch.arange(W), W), W)

        return forward


def script(logits=None, **options):
    return Script(logits or {}, [], **options)


# --- prophet ---------------------------------------------------------------------------------------------------------


def test_prophet_fills_everything_once_the_gap_is_wide_enough_for_the_stage():
    """A gap of 4 everywhere: above the last bar and below the others, so it exits in the last third."""
    spec = get("prophet", base=get("llada", steps=10), early=9.0, mid=4.5, late=3.0)
    row = decode(script(), spec, [[1, 2]], length=10)[0]
    assert row.nfe == 7  # the first step at or beyond 0.67 of ten
    assert decode(script(), replace(spec, early=3.9), [[1, 2]], length=10)[0].nfe == 1
    assert decode(script(), replace(spec, late=4.1), [[1, 2]], length=10)[0].nfe == 10


def test_prophet_looks_at_the_answer_alone():
    unsure = script({5: {2: 3.9}})  # place 5 is generated position 3
    far = get("prophet", base=get("llada", steps=10), answer_start=5, answer_length=2, early=3.0)
    assert decode(unsure, far, [[1, 2]], length=10)[0].nfe == 1
    near = replace(far, answer_start=3, answer_length=1, mid=9.0, late=9.0)
    assert decode(unsure, near, [[1, 2]], length=10)[0].nfe == 10


def test_prophet_without_an_exit_is_its_base_in_blocks():
    plain = decode(TOY, get("llada:steps=4"), [[1, 2], [3]], length=12, windows=Blocks(6))
    spec = "prophet:base=(llada:steps=4),block=6,early=1e9,mid=1e9,late=1e9"
    assert decode(TOY, get(spec), [[1, 2], [3]], length=12, windows=Blocks(6)) == plain


# --- eos_stop, length_penalty, eos_padding
# -----------------------------------------------------------------------------


def test_a_believed_end_ends_everything_behind_it():
    """The end at generated position 3 is the surest; what is left of it takes a forward a token, what is right of it
    none."""
    says = {3 + 2: {END: 9.0}}
    row = decode(script(says), get("eos_stop:base=llada"), [[1, 2]], length=12)[0]
    assert (row.nfe, row.tokens, row.finish_reason) == (4, (1, 1, 1), "stop")
    late = {**says, **{place: {1: 7.0} for place in range(6, 14)}}  # the base would rather write behind the end first
    assert decode(script(late), get("eos_stop:base=llada"), [[1, 2]], length=12)[0].nfe == 4
    assert decode(script(late), get("llada"), [[1, 2]], length=12)[0].nfe == 12
    assert decode(script(late), get("eos_stop:base=llada,trust=1.0"), [[1, 2]], length=12)[0].nfe == 12


def test_what_was_decided_behind_the_end_is_the_end_too():
    """Two positions behind the end are surer than it and decided first; the model is not to see them once the end is
    there."""
    says = {5: {END: 6.0}, 8: {1: 9.0}, 9: {1: 8.0}}
    for trust, behind, nfe in ((0.0, {END}, 6), (1.0, {1}, 12)):
        row = decode(script(says), get("eos_stop:base=llada", trust=trust), [[1, 2]], length=12)[0]
        assert (set(row.canvas[8:10]), row.nfe, row.tokens) == (behind, nfe, (1, 1, 1))


@pytest.mark.parametrize("spec", ["eos_stop:trust=0.9", "length_penalty:weight=3.0", "eos_padding"])
def test_without_an_end_token_they_are_their_base(spec):
    toy = ToyModel()
    assert decode(toy, get(spec), [[1, 2], [3]], length=12) == decode(toy, get("threshold"), [[1, 2], [3]], length=12)


@pytest.mark.parametrize(("weight", "length"), [(0.0, 12), (1.0, 7), (2.0, 5), (-1.0, 12)])
def test_length_costs_as_much_as_it_says(weight, length):
    """The end trails by 4: from generated position 3 on, `weight` nats a position make up for it."""
    row = decode(script(), get(f"length_penalty:start=3,weight={weight},base=left_to_right"), [[1, 2]], length=12)[0]
    # an equal logit is not enough: token 1 is left of the end
    ties_go_left = 1 if weight > 0 and 4 % weight == 0 else 0
    assert len(row.tokens) == min(length + ties_go_left, 12) if weight > 0 else len(row.tokens) == length


def test_end_tokens_behind_the_row_are_seen_and_are_no_part_of_it():
    model = script()
    row = decode(model, get("eos_padding:pad=3,base=llada"), [[1, 2]], length=4)[0]
    assert row.tokens == (1, 1, 1, 1)
    assert row.canvas == (1, 2, 1, 1, 1, 1, END, END, END)
    first, sees = model.seen[0]
    assert first[:9].tolist() == [1, 2, *[MASK] * 4, END, END, END]
    assert sees == 9
    assert decode(TOY, get("eos_padding:pad=3"), [[1, 2]], length=6) != decode(
        TOY, get("threshold"), [[1, 2]], length=6
    )


def test_end_tokens_that_no_block_would_see_are_refused():
    with pytest.raises(UsageError, match="in a block-causal model nothing sees them"):
        decode(ToyModel(stop_ids=(END,), block_causal=True), get("eos_padding"), [[1, 2]], length=6, windows=Blocks(4))


# --- daedal
# ---------------------------------------------------------------------------------------------------------------


def test_daedal_grows_until_the_end_is_in_sight():
    """Ends stand from place 10 on. At a length of 12, two of them prompt, two ends are as likely as half of the four
    watched; two end tokens are given behind, and then all is committed at once."""
    model = script({place: {END: 12.0} for place in range(10, 40)})
    row = decode(model, get("daedal:initial=4,grow=2,watched=4,tau=0.5,tau_eos=0.4"), [[1, 2]], length=30)[0]
    assert [sees for _, sees in model.seen] == [6, 8, 10, 12, 14]
    assert model.seen[-1][0][:16].tolist() == [1, 2] + [MASK] * 10 + [END] * 2 + [MASK] * 2
    assert row.tokens == (1,) * 8
    assert row.canvas[10:] == (END,) * 22


def daedal_window(d, *likely):
    """A window in which the likeliest token of each position, and its probability, are given; all of it there."""
    s = state(torch.full((1, len(likely)), MASK), MASK, 11)
    s = replace(s, stop_ids=(END,), memo=torch.zeros(1).bool())
    logits = torch.zeros(1, len(likely), 11)
    for i, (token, p) in enumerate(likely):
        logits[0, i] = math.log((1 - p) / 10)
        logits[0, i, token] = math.log(p)
    return s, Pred(logits, torch.arange(len(likely))[None], len(likely))


def test_daedal_counts_the_end_where_it_is_the_likeliest_however_far_left():
    d = get("daedal:watched=2")
    for likely, expected in (
        (((END, 0.5), (1, 0.6), (1, 0.6)), 0.25), (((END, 0.5), (END, 0.7), (1, 0.6), (END, 0.9)), 0.8),
        (((1, 0.6),), 0.0),
    ):
        assert float(d.expected_end(*daedal_window(d, *likely))) == pytest.approx(expected)


def test_daedal_expands_up_to_its_full_length_and_what_lies_behind_falls_off():
    d = get("daedal:grow=4,tau=0.9,tau_low=0.5,block=8,watched=2")
    s, p = daedal_window(d, (1, 0.95), (2, 0.3), (3, 0.95), (4, 0.95), (5, 0.6), (6, 0.6))
    s = replace(s, size=torch.tensor([4]), memo=torch.ones(1).bool())  # two of six positions are not there yet
    t = d.step(s, p)
    assert (int(t.size), t.tokens[0].tolist()) == (6, [1, MASK, MASK, MASK, MASK, 3])
    assert t.open[0].tolist() == [False, True, True, True, True, False]


def test_daedal_never_grows_beyond_its_length():
    model = script()
    row = decode(model, get("daedal:initial=4,grow=7,watched=4"), [[1, 2]], length=12)[0]
    assert [sees for _, sees in model.seen][:3] == [6, 13, 14]
    assert len(row.tokens) == 12


def test_daedal_makes_room_where_it_is_unsure():
    """Place 4 is a toss-up among ten tokens: it becomes three masks, and what was decided right of it moves up by
    two."""
    level = dict.fromkeys(range(11), 0.0)
    says = {4: level, **{place: {token: 20.0} for place, token in ((2, 5), (3, 6), (5, 7), (6, 8))}}
    model = script({**says, 7: {END: 0.0}})
    spec = get("daedal:initial=5,grow=3,watched=1,tau_eos=0.0,tau_low=0.5,tau_expand=0.9,block=8")
    decode(model, spec, [[1, 2]], length=7)
    shown = [tokens[2:9].tolist() for tokens, _ in model.seen]
    assert shown[0] == [MASK] * 7
    assert shown[1] == [5, 6, MASK, MASK, MASK, 7, 8]
    assert [sees for _, sees in model.seen][:2] == [7, 9]


def test_daedal_does_not_move_what_is_given():
    says = {4: dict.fromkeys(range(11), 0.0)}
    model = script(says)
    spec = get("daedal:initial=5,grow=3,watched=1,tau_eos=0.0,tau_low=0.5,block=8")
    row = decode(model, spec, [[1, 2, MASK, MASK, MASK, 3, MASK, MASK]], length=0, infill=True)[0]
    assert row.canvas[5] == 3
    assert {sees for _, sees in model.seen} == {7, 8} or {sees for _, sees in model.seen} == {7}
