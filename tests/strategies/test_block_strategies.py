"""`sdar` and `llada2`: each rule on its own, against brute force and against recorded steps, and what the golden replay
of block-causal runs holds them to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from decoders import Blocks, Decoder, Pred, State, decode, get, get_cache
from decoders.core import Trace, within_bound
from decoders.registry import entries
from decoders.strategies.sdar import block_share
from decoders.testing.oracle import Oracle, distance, floor
from decoders.testing.toy import ToyModel
from decoders_bench.golden.blocks import edited, filled, job_of, last, shared
from decoders_bench.golden.cases import Case, MismatchError, SkipError, read
from decoders_bench.golden.models import Models
from decoders_bench.golden.references import llada2, llada2_job, sdar, sdar_job
from decoders_bench.golden.steps import state
from decoders_bench.golden.trajectory import free
from support.laws import lawsuits
from support.marks import turns

SHARED = Path(os.environ.get("DECODERS_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
golden = pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no {SHARED}; set DECODERS_GOLDEN to the golden data")

VARIANTS = [
    "sdar:by=sequential,block_steps=3,temperature=1.0",
    "sdar:by=low_confidence_static,block_steps=3",
    "sdar:tau=0.2,temperature=1.0,top_k=4,top_p=0.9",
    "sdar:by=entropy_bounded,bound=1.5",
    "llada2:tau_mask=0.3,tau_edit=0.2,at_least=2,max_post=2",
    "t2m:tau_mask=0.3,tau=0.2",
    "t2m:tau_mask=0.3,trigger=logit_diff,tau=0.1",
    "t2m:tau_mask=1,trigger=low_prob,tau=0.3,share=1,max_remasks=5",
]
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
TOYS = {"whole": ToyModel(stop_ids=(9,)), "blocks": ToyModel(stop_ids=(9,), block_causal=True, seed=2)}
MASK, VOCAB = 4, 5


def window(*tokens: int) -> State:
    """One row; open where it holds MASK, and everything may be edited."""
    s = state(torch.tensor([tokens]), MASK, VOCAB)
    return replace(s, editable=torch.ones_like(s.open))


def says(*rows: tuple[int, float]) -> Pred:
    """For every position its likeliest token and the probability of that; the rest is spread evenly over the other
    three letters."""
    p = torch.full((1, len(rows), VOCAB), 0.0, dtype=torch.float64)
    for i, (token, confidence) in enumerate(rows):
        p[0, i, :MASK] = (1 - confidence) / 3
        p[0, i, token] = confidence
    return Pred(p.log(), torch.arange(len(rows))[None], len(rows))


def even(n: int) -> Pred:
    """Two tokens of probability exactly one half at each of n positions."""
    logits = torch.full((1, n, VOCAB), -torch.inf, dtype=torch.float64)
    logits[..., :2] = 0
    return Pred(logits, torch.arange(n)[None], n)


def done_at(before: State, after: State) -> list[int]:
    return (before.open & ~after.open)[0].nonzero().flatten().tolist()


@pytest.mark.parametrize(("spec", "law"), lawsuits(VARIANTS))
def test_law(spec, law):
    law(get(spec))


@pytest.mark.parametrize(("spec", "toy"), turns(VARIANTS, TOYS))
def test_the_exact_cache_changes_nothing(spec, toy):
    exact, none = (
        decode(TOYS[toy], get(spec), ROWS, length=24, windows=Blocks(4), cache=get_cache(name))
        for name in ("exact", "none")
    )
    assert exact == none


# the toy has no attention maps
@pytest.mark.parametrize(("spec", "cache"), turns(VARIANTS, sorted({e.name for e in entries("caches")} - {"drift"})))
def test_every_cache_leaves_rows_whole_and_alone(spec, cache):
    toy = replace(TOYS["blocks"], stop_ids=())
    rows = decode(toy, get(spec), ROWS, length=10, windows=Blocks(4), cache=get_cache(cache), seeds=[0, 1, 2])
    for i, (prompt, row) in enumerate(zip(ROWS, rows, strict=True)):
        assert (row.finish_reason, len(row.tokens), row.canvas[: len(prompt)]) == ("length", 10, tuple(prompt))
        assert [row] == decode(toy, get(spec), [prompt], length=10, windows=Blocks(4), cache=get_cache(cache), seed=i)


# --- sdar -----------------------------------------------------------------------------------------------------


def test_sdar_takes_what_is_above_tau_and_not_what_is_at_it():
    s = window(MASK, MASK, MASK)
    assert done_at(s, get("sdar:tau=0.5").step(s, even(3))) == [0]
    assert done_at(s, get("sdar:tau=0.499").step(s, even(3))) == [0, 1, 2]


def test_sdar_takes_its_share_where_fewer_are_sure():
    s, p = window(MASK, MASK, MASK, MASK), says((0, 0.6), (1, 0.99), (2, 0.8), (3, 0.7))
    assert done_at(s, get("sdar:block_steps=2,tau=0.9").step(s, p)) == [1, 2]
    assert done_at(s, get("sdar:block_steps=2,tau=0.65").step(s, p)) == [1, 2, 3]
    assert done_at(s, get("sdar:by=low_confidence_static,block_steps=2,tau=0.65").step(s, p)) == [1, 2]
    assert done_at(s, get("sdar:by=sequential,block_steps=2").step(s, p)) == [0, 1]


@pytest.mark.parametrize("by", ["sequential", "low_confidence_static"])
def test_the_share_is_of_the_whole_block_and_its_remainder_comes_first(by):
    def shares(s: State, steps: int | None) -> list[int]:
        out = []
        while bool(s.open.any()):
            after = replace(get("sdar", by=by, block_steps=steps).step(s, even(s.tokens.shape[1])), step=s.step + 1)
            out.append(len(done_at(s, after)))
            assert out[-1]
            s = after
        return out

    masks = [MASK] * 8
    assert shares(window(*masks), 3) == [3, 3, 2]
    assert shares(window(*masks), None) == [1] * 8
    assert shares(window(1, 2, 3, *masks[3:]), 3) == [3, 2]  # given positions count, as in the reference
    assert shares(window(MASK, MASK), 4) == [1, 1]
    late = replace(window(MASK, MASK), step=torch.tensor([7]))  # the steps went to something else
    assert shares(late, 4) == [1, 1]


def test_the_share_of_every_step_adds_up():
    for size in range(1, 9):
        s = window(*[MASK] * size)
        for steps in range(1, size + 1):
            assert sum(int(block_share(s, steps, torch.tensor([i]))) for i in range(steps)) == size


def test_sequential_goes_from_left_to_right_over_what_is_given():
    s = window(MASK, 2, MASK, MASK)
    assert done_at(
        s, get("sdar:by=sequential,block_steps=2").step(s, says((0, 0.3), (1, 0.9), (2, 0.4), (3, 0.99)))
    ) == [0, 2]


@pytest.mark.parametrize("by", ["sequential", "low_confidence_static", "low_confidence_dynamic", "entropy_bounded"])
def test_a_share_larger_than_what_is_open_touches_nothing_else(by):
    """The prediction disagrees with every given token, and is surer of that than of what is open."""
    s = window(1, 1, 1, MASK)
    after = get("sdar", by=by, block_steps=1, bound=100.0).step(s, says((0, 0.99), (2, 0.99), (3, 0.99), (2, 0.4)))
    assert after.tokens[0].tolist() == [1, 1, 1, 2]
    assert not after.open.any()


@pytest.mark.parametrize("bound", [0.0, 0.35, 1.0, 2.5, 100.0])
def test_the_entropy_bound_against_a_count_by_hand(bound):
    g = torch.Generator().manual_seed(int(bound * 100))
    entropy, open = torch.rand(200, 7, generator=g), torch.rand(200, 7, generator=g) < 0.7
    found = within_bound(open, entropy, bound)
    for h, where, ours in zip(entropy.tolist(), open.tolist(), found.tolist(), strict=True):
        order = sorted((i for i in range(7) if where[i]), key=lambda i: h[i])
        most = max(
            (
                n
                for n in range(1, len(order) + 1)
                if sum(h[i] for i in order[:n]) - max(h[i] for i in order[:n]) <= bound
            ),
            default=0,
        )
        assert [i for i in range(7) if ours[i]] == sorted(order[:most])


def test_entropy_bounded_goes_by_entropy_and_not_by_confidence():
    """The second is less sure of its best token, and has the lower entropy."""
    p = torch.tensor([[[0.55, 0.15, 0.15, 0.15, 0.0], [0.5, 0.5, 0.0, 0.0, 0.0]]], dtype=torch.float64)
    s, pred = window(MASK, MASK), Pred(p.log(), torch.arange(2)[None], 2)
    assert done_at(s, get("sdar:by=entropy_bounded,bound=0").step(s, pred)) == [1]
    assert done_at(s, get("sdar:by=low_confidence_static").step(s, pred)) == [0]
    # the first one's ln 2, and not the second's
    assert done_at(s, get("sdar:by=entropy_bounded,bound=0.7").step(s, pred)) == [0, 1]


BOUNDED = [path for name in ("entropy_bound", "gemma_accept") for path in sorted(SHARED.glob(f"cases/*/{name}_*.json"))]


@golden
@pytest.mark.parametrize("path", BOUNDED, ids=lambda p: p.stem)
def test_the_entropy_bound_accepts_what_diffusers_and_transformers_accept(path):
    """SDAR's own branch cannot run; these two implement the same paper."""
    case = read(path)
    (logits,) = (t for name, t in case.tensors().items() if "logits" in name)
    temperature = float(case.need("expected").get("temperature") or 0)
    p = Pred(logits, torch.arange(logits.shape[1]).expand(len(logits), -1), logits.shape[1]).filtered(temperature)
    accepted = torch.tensor(case.need("expected", "accepted")).bool()
    assert torch.equal(
        within_bound(torch.ones_like(accepted), p.entropy(), float(case.need("params", "entropy_bound"))), accepted
    )


def test_sdar_takes_its_confidence_after_the_filters():
    """Unlike LLaDA's: of one token left, everything is sure."""
    s, p = window(MASK, MASK), says((0, 0.4), (1, 0.3))
    after = get("sdar:top_k=1,temperature=2.0").step(s, p)
    assert done_at(s, after) == [0, 1]
    assert after.tokens[0].tolist() == [0, 1]
    assert after.confidence[0].tolist() == [1.0, 1.0]
    after = get("sdar:top_p=0.5,tau=0.0").step(s, says((0, 0.4), (1, 0.3)))
    assert float(after.confidence[0, 0]) == pytest.approx(0.4 / 0.6)


@pytest.mark.parametrize("toy", TOYS)
def test_block_steps_are_forwards_per_block(toy):
    model = replace(TOYS[toy], stop_ids=())
    for by in ("sequential", "low_confidence_static"):
        (row,) = decode(model, get("sdar", by=by, block_steps=2), [[1, 2, 3, 4]], length=16, windows=Blocks(4))
        assert row.nfe == 8
    (row,) = decode(model, get("sdar:by=low_confidence_static"), [[1, 2, 3, 4]], length=16, windows=Blocks(4))
    assert row == decode(model, get("llada"), [[1, 2, 3, 4]], length=16, windows=Blocks(4))[0]


@pytest.mark.parametrize(
    ("spec", "exact"),
    [
        ("sdar:by=sequential,temperature=1.0", True), ("sdar:by=entropy_bounded,bound=0,temperature=1.0", True),
        ("sdar:by=low_confidence_static,temperature=1.0", False), ("sdar:tau=1,temperature=1.0", False),
        ("sdar:by=sequential", False),
    ],
)
def test_sdar_samples_the_joint_where_the_order_ignores_the_token(spec, exact):
    oracle, rows = Oracle(), 1500
    mean, deviation = floor(oracle, rows)
    tv, nfe = distance(get(spec), oracle, rows)
    assert (tv < mean + 4 * deviation) if exact else (tv > mean + 10 * deviation)
    assert nfe == oracle.length


# --- llada2 ---------------------------------------------------------------------------------------------------


def begun(s: State, decoder: Decoder) -> State:
    return decoder.begin(decoder.init(s))


def run(decoder: Decoder, s: State, predict: Callable[[State], Pred]) -> list[State]:
    """The states of a window until it is done, the first one included."""
    out = [begun(s, decoder)]
    while not bool(decoder.done(out[-1])):
        after = decoder.step(out[-1], predict(out[-1]))
        out.append(replace(after, step=after.step + 1, clock=after.clock + 1))
        assert len(out) < 1000
    return out


def otherwise(s: State) -> Pred:
    """Sure of another token than the one that stands, at every position."""
    return says(*(((t + 1) % MASK, 0.97) for t in s.tokens[0].tolist()))


def as_it_stands(s: State) -> Pred:
    return says(*((t % MASK, 0.97) for t in s.tokens[0].tolist()))


def test_llada2_fills_and_edits_from_one_forward():
    d = get("llada2:tau_mask=0.8,tau_edit=0.5")
    s = begun(window(1, 1, 1, MASK, MASK, MASK), d)
    after = d.step(s, says((2, 0.6), (1, 0.9), (2, 0.4), (3, 0.9), (0, 0.85), (0, 0.7)))
    assert after.tokens[0].tolist() == [2, 1, 1, 3, 0, MASK]
    assert after.open[0].tolist() == [False] * 5 + [True]


def test_both_thresholds_are_strict():
    s = window(3, MASK, MASK)
    for spec, expected in (("tau_mask=0.5,tau_edit=0.5", [3, 0, MASK]), ("tau_mask=0.49,tau_edit=0.49", [0, 0, 0])):
        d = get(f"llada2:{spec}")
        assert d.step(begun(s, d), even(3)).tokens[0].tolist() == expected


def test_at_least_so_many_are_filled():
    p = says((0, 0.3), (1, 0.5), (2, 0.4), (3, 0.99))
    for at_least, expected in ((1, [3]), (2, [1, 3]), (3, [1, 2, 3]), (9, [0, 1, 2, 3])):
        d = get("llada2", at_least=at_least)
        s = begun(window(*[MASK] * 4), d)
        assert done_at(s, d.step(s, p)) == expected


def test_a_block_is_filled_in_steps_that_do_not_divide_it():
    """16 positions in 3 steps: 6, 5 and 5, and from the third on 5 a step."""
    d = get("llada2:block_steps=3,tau_mask=1")
    s = begun(window(*[MASK] * 16), d)
    p = says(*((0, 0.9 - 0.01 * i) for i in range(16)))
    for step, number in enumerate((6, 5, 5, 5)):
        assert done_at(s, d.step(replace(s, step=s.step + step), p)) == list(range(number))
    d = get("llada2:block_steps=3,tau_mask=1,tau_edit=2,max_post=0")
    (row,) = decode(TOYS["whole"], d, [[1, 2]], length=16, stop=False)
    assert row.nfe == 3


OVERWRITES, REMASKS = "llada2", "t2m"


@pytest.mark.parametrize(("spec", "tau", "becomes"), [(OVERWRITES, "tau_edit", 2), (REMASKS, "tau", MASK)])
def test_given_tokens_are_never_edited(spec, tau, becomes):
    s = window(1, 1, MASK)
    s = replace(s, editable=torch.tensor([[False, True, True]]))
    d = get(spec)
    after = d.step(begun(s, d), otherwise(s))
    assert after.tokens[0, :2].tolist() == [1, becomes]
    rows = decode(TOYS["blocks"], get(spec, tau_mask=0, **{tau: 0}), ROWS, length=9, windows=Blocks(4), max_steps=99)
    assert all(row.finish_reason != "max_steps" for row in rows)
    assert [row.canvas[: len(prompt)] for row, prompt in zip(rows, ROWS, strict=True)] == [
        tuple(prompt) for prompt in ROWS
    ]


@pytest.mark.parametrize("spec", [OVERWRITES, REMASKS])
def test_a_window_ends_with_a_forward_that_finds_nothing_to_edit(spec):
    assert len(run(get(spec), window(*[MASK] * 3), as_it_stands)) - 1 == 2
    assert len(run(get(spec, max_post=0), window(*[MASK] * 3), as_it_stands)) - 1 == 1


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_edits_that_never_settle_end_after_max_post(limit):
    states = run(get("llada2", max_post=limit), window(*[MASK] * 3), otherwise)
    full = [not bool(s.open.any()) for s in states[:-1]]
    assert sum(full) == limit
    assert all(a.tokens.ne(b.tokens).all() for a, b, now in zip(states, states[1:], full, strict=False) if now)


def test_the_limit_counts_only_forwards_with_nothing_open():
    """One mask a forward, and an edit beside each: editing while masks are left is not counted."""
    states = run(get("llada2:tau_mask=1,max_post=2"), window(*[MASK] * 6), otherwise)
    assert len(states) - 1 == 6 + 2
    assert states[2].tokens[0].tolist() != states[3].tokens[0].tolist()


def test_every_window_counts_anew():
    d = get("llada2:max_post=3")
    s = run(d, window(*[MASK] * 3), otherwise)[-1]
    assert bool(d.done(s))
    again = d.begin(s)
    assert not bool(d.done(again))
    assert [int(x.sum()) for x in again.memo[:2]] == [0, 0]


def test_remask_takes_back_instead_of_overwriting():
    d = get("t2m:tau=0.5")
    s = begun(window(1, 1, MASK), d)
    after = d.step(s, says((1, 0.9), (2, 0.9), (3, 0.99)))
    assert after.tokens[0].tolist() == [1, MASK, 3]
    assert after.open[0].tolist() == [False, True, False]
    assert int(after.committed_at[0, 1]) == -1
    again = d.step(after, says((1, 0.9), (0, 0.99), (3, 0.99)))  # predicted anew from the next forward
    assert again.tokens[0].tolist() == [1, 0, 3]


def test_remask_takes_back_the_surest_within_its_share():
    p = says(*((2, c) for c in (0.91, 0.99, 0.95, 0.92, 0.93, 0.98, 0.94, 0.96)))
    for share, expected in ((0.25, [1, 5]), (0.5, [1, 2, 5, 7]), (0.0, [1]), (1.0, list(range(8)))):
        d = get("t2m", share=share)
        after = d.step(begun(window(*[1] * 8), d), p)
        assert after.open[0].nonzero().flatten().tolist() == expected


def test_low_prob_takes_back_what_the_model_gives_little():
    """With three other letters, 1 - 3q for the likeliest and q for what stands there; no other token need be likely."""
    d = get("t2m:trigger=low_prob,tau=0.2,share=1")
    s = begun(window(1, 1, 1, MASK), d)
    after = d.step(s, says((2, 0.7), (2, 0.25), (1, 0.3), (3, 0.99)))  # 0.1, 0.25 and 0.3 for the token 1
    assert after.open[0].tolist() == [True, False, False, False]
    # strict: 0.2 is not less
    assert d.step(s, says((2, 0.4), (2, 0.4), (2, 0.4), (3, 0.99))).open[0].tolist() == [False] * 4


def test_logit_diff_takes_back_what_falls_between_two_forwards():
    d = get("t2m:trigger=logit_diff,tau=0.3,share=1,tau_mask=0.8")
    s = begun(window(1, 1, MASK, MASK), d)
    after = d.step(s, says((1, 0.4), (1, 0.9), (3, 0.9), (0, 0.7)))
    assert after.open[0].tolist() == [False, False, False, True]  # nothing has come before
    last = d.step(after, says((1, 0.9), (1, 0.7), (3, 0.5), (0, 0.9)))
    assert last.open[0].tolist() == [False, False, True, False]  # +0.5, -0.2, -0.4 since it was filled, filled now


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("budget", [0, 1, 3])
@pytest.mark.parametrize("tau_mask", [0.5, 1.0])
def test_remask_ends_against_a_model_that_never_agrees(budget, share, tau_mask):
    """With tau_mask 1 one mask is filled a forward; where another is taken back in the same forward, the window is
    hardly ever full."""
    W, limit = 6, 4

    def fickle(s: State) -> Pred:
        return says(
            *(((t + 1 + int(s.step)) % MASK if t == MASK else (t + 1) % MASK, 0.97) for t in s.tokens[0].tolist())
        )

    d = get("t2m", max_remasks=budget, share=share, tau_mask=tau_mask, max_post=limit)
    states = run(d, window(*[MASK] * W), fickle)
    taken: Tensor = states[-1].memo.own.reopened
    assert int(taken.max()) <= budget
    assert len(states) - 1 <= (1 + budget) * W + limit
    assert not bool(states[-1].open.any())
    if budget and limit:
        assert int(taken.sum()) > 0


def test_overwrite_and_remask_are_the_same_where_nothing_is_edited():
    a, b = (
        decode(TOYS["blocks"], get(spec), ROWS, length=12, windows=Blocks(4))
        for spec in ("llada2:tau_edit=2", "t2m:tau=2")
    )
    assert a == b


@pytest.mark.parametrize("toy", TOYS)
def test_without_editing_llada2_is_sdar(toy):
    a, b = (
        decode(TOYS[toy], get(spec), ROWS, length=12, windows=Blocks(4), stop=False)
        for spec in ("llada2:tau_mask=0.4,tau_edit=2,max_post=0", "sdar:tau=0.4")
    )
    assert a == b


@golden
@pytest.mark.parametrize(
    "path", sorted(SHARED.glob("cases/diffusers/block_refinement_[0-9].json")), ids=lambda p: p.stem
)
def test_llada2_steps_like_the_scheduler_of_diffusers(path):
    """Its share of the steps is that of `block_steps`; fills and edits of every recorded step."""
    case = read(path)
    q, logits = case.params, case.tensors()["logits"]
    W, steps = int(q["block_length"]), int(q["num_inference_steps"])
    given = torch.tensor(q["prompt_mask"]).bool()
    for k, recorded in enumerate(case.need("expected", "steps")):
        s = state(torch.tensor(recorded["before"]), case.mask_id, logits.shape[-1])
        s = replace(s, editable=~given.expand_as(s.open))
        d = get("llada2", tau_mask=q["threshold"], tau_edit=q.get("editing_threshold", 2.0), block_steps=steps)
        p = Pred(logits[k], torch.arange(W).expand(len(logits[k]), -1), W)
        assert d.step(replace(begun(s, d), step=s.step + recorded["timestep"]), p).tokens.tolist() == recorded["after"]


# --- golden runs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(SHARED / "models")


def recorded(reference: str, name: str) -> Case:
    return read(SHARED / "cases" / reference / f"{name}.json")


@golden
@pytest.mark.parametrize("path", sorted(SHARED.glob("cases/sdar/*_overwrite.json")), ids=lambda p: p.stem)
def test_where_sdar_overwrites_ours_does_not(models, path):
    """With two steps for a block of four, three given, the reference's first share of two takes the one open position
    and a given one. Ours takes the open one with the same token; and from the reference's own first block on, the two
    agree to the end."""
    case = read(path)
    job = sdar_job(case, models)
    (prompt,), block, ours = job.prompts, 4, Trace()
    (row,) = decode(job.model, job.setup.decoder, [prompt], length=job.length, windows=job.windows, watch=ours)
    theirs = job.canvases[0][0]
    assert (list(row.canvas[: len(prompt)]), case.mask_id in row.canvas) == (prompt, False)
    changed = [i for i, (x, y) in enumerate(zip(ours.canvases[0].tokens[0].tolist(), theirs, strict=False)) if x != y]
    assert changed == [6]
    assert len(prompt) == 7

    start = theirs[: len(prompt) + 1]
    rest = Case(path, {**case.data, "prompt": [start], "reference_bug": False})
    rest.data["expected"] = {**case.need("expected")}
    first = shared(case)[0]
    for key in ("forwards", "canvases"):
        rest.data["expected"][key] = case.need("expected", key)[first + 1 :]
    rest.data["expected"]["nfe"] = len(rest.need("expected", "canvases"))
    assert len(start) % block == 0
    free(sdar_job(rest, models))


@golden
def test_a_row_stops_with_the_block_that_holds_a_stop_token(models):
    case = recorded("sdar", "low_confidence_dynamic_b4_s4_L8_g24_p4_thr0.85_stop")
    job = sdar_job(case, models)
    assert job.halt is not None
    assert free(job).canvases[-1].open.any()
    with pytest.raises(MismatchError, match="forwards instead of"):
        free(replace(job, halt=None))
    case = recorded("llada2", "t0.7_e0.5_b8_L8_g32_p7_eosstop")
    with pytest.raises(MismatchError, match="forwards instead of"):
        free(replace(llada2_job(case, models), halt=None))


@golden
@pytest.mark.parametrize(
    ("reference", "name", "wrong"),
    [
        ("sdar", "low_confidence_static_b8_s3_L16_g24_p0", "sdar:by=low_confidence_static,block_steps=4"),
        ("sdar", "sequential_b8_s8_L11_g24_p1", "sdar:by=low_confidence_static"),
        ("sdar", "low_confidence_dynamic_b8_s8_L16_g24_p3_thr0.5", "sdar:tau=0.95"),
        ("llada2", "t0.7_e0.5_b8_L6_g32_p27_edits", "llada2:tau_mask=0.7,tau_edit=2"),
        ("llada2", "t0.7_e0.5_b8_L6_g32_p27_edits", "t2m:tau_mask=0.7,tau=0.5"),
        ("llada2", "t0.9_e0.5_b8_L8_g24_p5_n2", "llada2:tau_mask=0.9,tau_edit=0.5"),
        ("llada2", "t0.5_e0.3_b8_L8_g24_p6_post0", "llada2:tau_mask=0.5,tau_edit=0.3"),
    ],
)
def test_another_decoder_fails(models, reference, name, wrong):
    with pytest.raises(MismatchError):
        free(job_of(recorded(reference, name), models, get(wrong)))


@golden
@pytest.mark.parametrize("key", ["unmask", "edit"])
def test_what_each_forward_filled_and_edited_is_compared(models, key):
    case = recorded("llada2", "t0.7_e0.5_b8_L6_g32_p27_edits")
    assert llada2(case, models) == ""
    trace = free(llada2_job(case, models))
    assert {"unmask": filled(trace), "edit": edited(trace)}[key] == case.need("expected", key)
    assert any(edited(trace))
    k = next(k for k, done in enumerate(case.need("expected", key)) if done)
    case.data["expected"][key][k] = case.data["expected"][key][k][1:]
    with pytest.raises(MismatchError) as caught:
        llada2(case, models)
    assert caught.value.step == k


@golden
def test_cases_that_say_too_little_or_contradict_themselves(models):
    case = recorded("llada2", "t0.7_e0.5_b8_L6_g32_p27_edits")
    assert len(last(case)) % 8 == 0
    tokens = case.need("expected", "tokens")
    case.data["expected"]["unmask"][-1] = [len(tokens)]
    with pytest.raises(MismatchError, match="does not say what the last forward filled in at position 38"):
        last(case)
    case.data["expected"] |= {"unmask": [[]], "tokens": [*tokens[:-1], 0]}
    with pytest.raises(MismatchError, match="not those of the last canvas"):
        last(case)
    case = recorded("sdar", "sequential_b4_s2_L8_g24_p0")
    case.data["params"]["top_k"] = 5
    with pytest.raises(SkipError, match="cannot be drawn again"):
        sdar(case, models)
    assert shared(
        Case(Path("x.json"), {"expected": {"forwards": ["prefill", "denoise", "verify", "commit", "denoise"]}})
    ) == [1, 2, 4]
