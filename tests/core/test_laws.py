"""Every registered strategy against every law, the control set against its laws, and identities between strategies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from decoders import Blocks, Decoder, Pred, State, UsageError, decode, first_run, get, get_cache
from decoders.core import Exact, Plan, apply, prepare, view
from decoders.models.adapter import TransformersModel
from decoders.registry import entries
from decoders.testing import LAWS, check
from decoders.testing.bad import CONTROLS, Fair
from decoders.testing.engine import Engine, Request
from decoders.testing.rooms import leaves, rooms
from decoders.testing.toy import ToyModel
from support.laws import DEAR
from support.marks import thirds
from support.strategies import BRIEF, BRIEFER, EACH, SPECIAL, STRATEGIES, with_toys

OPTIONS = [
    "llada:steps=12,remasking=random,temperature=1.0,eos=last",
    "dream:by=origin,temperature=1.0,top_p=0.9,steps=12",
    "dream:by=topk_margin,alg_temp=0.3,steps=12,top_k=5",
    "dream:by=confidence_threshold,tau=0.3,steps=12",
    "threshold:tau=0.3,temperature=1.0",
    "ancestral:steps=12",
    "left_to_right:temperature=1.0,top_k=4,top_p=0.9",
]
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
TOYS = {"whole": ToyModel(stop_ids=(9,)), "blocks": ToyModel(stop_ids=(9,), block_causal=True, seed=2)}
toys = pytest.mark.parametrize("toy", TOYS)
by_name = {law.__name__: law for law in LAWS}


def test_every_strategy_can_be_loaded():
    assert len(STRATEGIES) >= 7
    assert [e.problem for e in entries("strategies") if e.problem] == []


QUICK = {"llada", "threshold", "left_to_right", "remdm"}
"""Strategies that are held to all laws in the default run too, and the others to those that do not take long."""


def lawsuits():
    for spec in (*BRIEF, *BRIEFER, *SPECIAL, *OPTIONS):
        for law in LAWS:
            slow = spec in BRIEFER or (law.__name__ in DEAR and spec not in QUICK)
            yield pytest.param(spec, law, marks=pytest.mark.slow if slow else (), id=f"{spec}-{law.__name__}")


@pytest.mark.parametrize(("spec", "law"), list(lawsuits()))
def test_law(spec, law):
    law(get(spec))


@pytest.mark.parametrize("spec", ["threshold", "s2d2", "planned", "wino", "daedal", "persistent_drafts"])
def test_what_stands_around_a_step_reads_nothing_on_the_host(spec):
    """Layout, what is asked, and what becomes of the answer, on tensors that have no data."""
    decoder = get(spec)
    for room in rooms(decoder):
        plan, c = room.plan(decoder), room.layout(decoder, "meta")
        f = prepare(plan, c)
        after = apply(plan, c, f, room.session(decoder, c)(f))
        found = leaves((c, f, after, view(after))).values()
        assert all(x.is_meta for x in found if isinstance(x, torch.Tensor))


@pytest.mark.parametrize("bad", CONTROLS, ids=lambda bad: bad.__name__)
def test_the_law_that_is_meant_for_it_catches_a_bad_decoder(bad):
    with pytest.raises(AssertionError):
        by_name[CONTROLS[bad]](bad())


@pytest.mark.parametrize("law", sorted(set(by_name) - {"rests", "replays", "engine_agrees", "nfe_is_forwards"}))
def test_a_law_about_the_decoder_has_a_control(law):
    """The other four are of the library's making: a decoder cannot break them without breaking one of these."""
    assert law in CONTROLS.values()


def test_check_takes_a_spec_and_names_every_broken_law():
    check("decoders.testing.bad:Fair")
    place = r"    .*bad\.py:\d+, in Overwrites\.step"
    match = rf"breaks 2 of 17 laws\n\ngiven_stays_given: causal blocks: .*\n{place}\n\nmoves_are_legal: .*\n{place}$"
    with pytest.raises(AssertionError, match=match):
        check("decoders.testing.bad:Overwrites")
    with pytest.raises(UsageError, match="did you mean 'threshold'"):
        check("treshold")


def test_check_reports_what_a_decoder_raises():
    @dataclass(frozen=True)
    class Broken(Fair):
        def step(self, s: State, p: Pred) -> State:
            raise KeyError("lost")

    once = r"breaks 16 of 17 laws\n\nmeta_safe and 14 others: KeyError: 'lost'\n +.*step: raise.*\n\nspec_round_trip: "
    with pytest.raises(AssertionError, match=once):
        check(Broken())


# --- the same tokens by another name --------------------------------------------------------------------


@toys
@pytest.mark.parametrize("windows", [None, Blocks(4)])
def test_threshold_one_and_factor_zero_and_llada_commit_one_a_step(toy, windows):
    results = [
        decode(TOYS[toy], get(spec), ROWS, length=12, windows=windows)
        for spec in ("threshold:tau=1.0", "factor:f=0.0", "llada")
    ]
    assert results[0] == results[1] == results[2]
    assert max(row.nfe for row in results[0]) > 1


@toys
@pytest.mark.parametrize("windows", [None, Blocks(4)])
def test_ancestral_sampling_in_very_many_steps_is_first_hitting(toy, windows):
    specs = "ancestral:steps=12000000", "first_hitting"
    many, one = (decode(TOYS[toy], get(spec), ROWS, length=12, windows=windows, seed=3) for spec in specs)
    assert many == one


@pytest.mark.parametrize(("spec", "toy"), thirds(with_toys(BRIEF, tuple(TOYS)), 2))
def test_one_block_over_everything_is_no_block(spec, toy):
    plain = decode(TOYS[toy], get(spec), ROWS, length=12)
    assert decode(TOYS[toy], get(spec), ROWS, length=12, windows=Blocks(64)) == plain


@pytest.mark.parametrize("spec", thirds(EACH, 0))
def test_a_block_as_long_as_the_answer_is_no_block_where_blocks_start_at_the_prompt(spec):
    plain = decode(TOYS["whole"], get(spec), ROWS, length=12)
    assert decode(TOYS["whole"], get(spec), ROWS, length=12, windows=Blocks(12)) == plain


@toys
@pytest.mark.parametrize("spec", ["threshold:tau=0.3", "left_to_right", "ancestral:steps=42"])
def test_the_exact_cache_changes_nothing_and_spares_columns(toy, spec):
    """The toy keeps what it computed by column, so a column that is wrongly trusted changes tokens."""
    ran: dict[str, int] = {}
    rows = {}
    for cache in ("exact", "none"):
        ran[cache] = 0

        def count(f, p, c, cache=cache):
            ran[cache] += int(f.compute.sum())

        rows[cache] = decode(
            TOYS[toy], get(spec), ROWS, length=24, windows=Blocks(4), cache=get_cache(cache), watch=count
        )
    assert rows["exact"] == rows["none"]
    if spec == "left_to_right":  # each token costs about one column, and all to its left without a cache
        assert ran["exact"] < 0.2 * ran["none"]
    elif toy == "blocks":
        assert ran["exact"] < 0.7 * ran["none"]
    else:
        assert ran["exact"] <= ran["none"]


def test_two_plans_of_one_engine_share_every_forward():
    toy = TOYS["blocks"]
    plans = [Plan(get("threshold"), Blocks(4), Exact()), Plan(get("left_to_right"), Blocks(8), Exact())]
    requests = [Request((1, 2, 3), 12, plans[i % 2], key=i) for i in range(6)]
    engine = Engine(toy, slots=3, columns=20, width=8)
    rows = engine.run(requests)
    for r, row in zip(requests, rows, strict=True):
        assert row == decode(toy, r.plan.decoder, [r.prompt], length=12, windows=r.plan.windows, seed=r.key)[0]
    assert engine.forwards < sum(row.nfe for row in rows) / 2


@pytest.mark.parametrize("spec", ["ancestral", "first_hitting"])
def test_the_absorbing_samplers_never_predict_the_mask_token(spec):
    """The toy gives it as much as any other token, and `llada` takes it."""
    toy = replace(TOYS["whole"], stop_ids=())
    assert 10 in {t for row in decode(toy, get("llada"), ROWS, length=40) for t in row.tokens}
    assert 10 not in {
        t for seed in range(3) for row in decode(toy, get(spec), ROWS, length=40, seed=seed) for t in row.tokens
    }


# --- a transformer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_causal", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("spec", ["threshold:tau=0.4", "left_to_right", "first_hitting"])
def test_a_transformer_says_the_same_with_and_without_the_exact_cache(net, block_causal, shifted, spec):
    model = TransformersModel(net, mask_id=23, block_causal=block_causal, shifted=shifted)
    exact, none = (
        decode(model, get(spec), ROWS, length=12, windows=Blocks(4), cache=get_cache(name), seed=1)
        for name in ("exact", "none")
    )
    assert exact == none


@torch.no_grad()
def plainly_left_to_right(net, prompt, length, block, shifted):
    """One uncached forward a token, over all that stands left of it. Blocks that are finished see themselves whole; the
    one that is being written is causal, and where there are no blocks everything is."""
    tokens = list(prompt)
    for i in range(len(prompt), len(prompt) + length):
        shown = torch.tensor([tokens if shifted else [*tokens, 23]])
        column = torch.arange(shown.shape[1])
        until = (
            torch.where(column // block < i // block, (column // block + 1) * block, column + 1)
            if block
            else column + 1
        )
        bias = torch.zeros(1, 1, len(column), len(column), dtype=torch.double)
        bias.masked_fill_(column[None, :] >= until[:, None], torch.finfo(torch.double).min)
        logits = net(input_ids=shown, attention_mask=bias, position_ids=column[None]).logits[0, -1]
        tokens.append(int(logits.argmax()))
    return tuple(tokens)


@pytest.mark.parametrize(("block", "window"), [(None, 4), (4, 4), (8, 4), (8, 2)])
@pytest.mark.parametrize("shifted", [False, True])
def test_left_to_right_is_plain_autoregression(net, block, window, shifted):
    model = TransformersModel(net, mask_id=23, block_causal=block is not None, shifted=shifted, attention_block=block)
    rows = decode(model, get("left_to_right"), ROWS, length=10, windows=Blocks(window, block))
    assert [row.canvas for row in rows] == [plainly_left_to_right(net, prompt, 10, block, shifted) for prompt in ROWS]
    assert len({token for row in rows for token in row.tokens}) > 3


# --- revision --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecondThoughts(Decoder):
    """Decides the first run, takes it back once, decides it again: a strategy that revises, for the laws about
    revision."""

    revises: ClassVar[bool] = True

    def step(self, s: State, p: Pred) -> State:
        again = (s.step == 1)[:, None]
        s = s.reopen(again & s.editable)
        return s.commit(first_run(s.open) & ~again, *p.draw(s))

    def done(self, s: State) -> torch.Tensor:
        return ~s.open.any(-1) & (s.step > 2)


@pytest.mark.parametrize(
    "law", [law for law in LAWS if law.__name__ != "spec_round_trip"], ids=lambda law: law.__name__
)
def test_a_strategy_that_revises_can_keep_the_laws(law):
    law(SecondThoughts())
