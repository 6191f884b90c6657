"""The parts of the core against naive twins, and the loop as a user meets it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import Blocks, Decoder, Pred, State, Suppress, UsageError, decode, get, get_cache
from decoders.core import (
    BROKEN,
    EXHAUSTED,
    FILLED,
    LIVE,
    REASONS,
    STALLED,
    STOPPED,
    Canvas,
    Exact,
    Plan,
    Shape,
    apply,
    asks,
    choose,
    enter,
    generated,
    layout,
    must_recompute,
    next_start,
    prepare,
    select,
    session_spec,
    stopped,
    view,
    write,
)
from decoders.core.step import moved_on, reasons
from decoders.stats import reference as stats
from decoders.testing.toy import ToyModel
from support.marks import thirds, turns
from support.strategies import BRIEF, EACH, with_toys

MASK = 10
INF = math.inf
some = settings(max_examples=60, deadline=None, derandomize=True)


def grid(entry, most_rows=3, most_columns=7):
    """Rectangular lists of lists."""
    return st.tuples(st.integers(1, most_rows), st.integers(1, most_columns)).flatmap(
        lambda shape: st.lists(
            st.lists(entry, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )


scores = grid(st.sampled_from([-INF, 0.0, 0.25, 0.5, 1.0]))
flags = grid(st.booleans())


# --- selections ---------------------------------------------------------------------------------------------


def best_first(row):
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def taken(row, k):
    return [i in [j for j in best_first(row)[:k] if row[j] > -INF] for i in range(len(row))]


@some
@given(scores)
def test_rank(x):
    assert select.rank(torch.tensor(x)).tolist() == [[best_first(row).index(i) for i in range(len(row))] for row in x]


@some
@given(scores, st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_top(x, k):
    assert select.top(torch.tensor(x), torch.tensor(k[: len(x)])).tolist() == [
        taken(row, n) for row, n in zip(x, k, strict=False)
    ]
    assert select.top(torch.tensor(x), 1).tolist() == [taken(row, 1) for row in x]


@some
# of single precision, as the tensor is: a smaller bound is 0 to it
@given(scores, st.floats(0, 1, width=32), st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_above(x, bound, least):
    t = torch.tensor(x)
    enough = t >= bound
    assert select.above(t, enough, torch.tensor(least[: len(x)])).tolist() == [
        sure if sum(sure) >= n else taken(row, n) for row, sure, n in zip(x, enough.tolist(), least, strict=False)
    ]
    assert select.above(t, enough).tolist() == [
        sure if any(sure) else taken(row, 1) for row, sure in zip(x, enough.tolist(), strict=True)
    ]


@some
@given(flags)
def test_leftmost_and_runs(x):
    def run(row):
        first = row.index(True) if True in row else len(row)
        end = next((i for i in range(first, len(row)) if not row[i]), len(row))
        return [first <= i < end for i in range(len(row))]

    t = torch.tensor(x)
    assert select.leftmost(t).tolist() == [
        [i == row.index(True) if True in row else False for i in range(len(row))] for row in x
    ]
    assert select.first_run(t).tolist() == [run(row) for row in x]
    assert select.until_first(t).tolist() == [[not any(row[: i + 1]) for i in range(len(row))] for row in x]


@given(st.integers(0, 40), st.integers(1, 12))
def test_shares_are_even_and_add_up(total, steps):
    found = [int(select.share(torch.tensor([total]), steps, torch.tensor([i]))) for i in range(steps)]
    assert sum(found) == total
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] <= 1


def test_only():
    assert select.only(torch.tensor([[True, False]]), torch.tensor([[2.0, 3.0]])).tolist() == [[2.0, -INF]]


# --- states -------------------------------------------------------------------------------------------------------


def state(open_, editable, mask_id=MASK):
    """A state of three rows at most, whose tokens are their columns."""
    open_ = torch.tensor(open_)
    editable = torch.tensor(editable) | open_
    B, W = open_.shape
    column, rows = torch.arange(W).expand(B, W), torch.arange(B)
    return State(
        tokens=torch.where(open_, MASK, column), open=open_, editable=editable, confidence=torch.zeros(B, W),
        committed_at=column - 1, position=column, size=rows * 0 + W, room=rows * 0 + W, opened=open_.sum(-1),
        windows=rows * 0 + 1, step=rows, clock=rows + 5, key=rows, mask_id=mask_id, vocab=11,
    )


masks = st.tuples(st.integers(1, 3), st.integers(1, 5)).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.lists(st.booleans(), min_size=n[1], max_size=n[1]), min_size=n[0], max_size=n[0])] * 3
    )
)


@some
@given(masks, st.sampled_from(["commit", "edit", "reopen"]))
def test_moves(three, move):
    s, where = state(*three[:2]), torch.tensor(three[2])
    new, sure = torch.full_like(s.tokens, 7), torch.full_like(s.confidence, 0.5)
    t = s.reopen(where) if move == "reopen" else getattr(s, move)(where, new, sure)
    for b in range(len(s.tokens)):
        for i in range(s.tokens.shape[1]):
            was_open, hit = bool(s.open[b, i]), bool(where[b, i]) and bool(s.editable[b, i])
            hit = hit and was_open == (move == "commit")
            before = [bool(s.open[b, i]), int(s.tokens[b, i]), float(s.confidence[b, i]), int(s.committed_at[b, i])]
            after = [bool(t.open[b, i]), int(t.tokens[b, i]), float(t.confidence[b, i]), int(t.committed_at[b, i])]
            decided = [False, 7, 0.5, int(s.clock[b])]
            assert after == (before if not hit else [True, MASK, before[2], -1] if move == "reopen" else decided)


def test_noise_is_reopened_where_there_is_no_mask_token():
    s = state([[False] * 64] * 2, [[True] * 64] * 2, mask_id=None)
    t = s.reopen(s.editable)
    assert t.open.all()
    assert set(t.tokens.unique().tolist()) == set(range(11))


def test_random_numbers_depend_on_key_clock_position_and_salt_alone():
    s = state([[True] * 4] * 3, [[True] * 4] * 3)
    same = replace(s, key=s.key * 0, clock=s.clock * 0)
    numbers = same.uniform(1)
    assert (numbers == numbers[0]).all()
    assert len(numbers[0].unique()) == 4
    assert ((numbers >= 0) & (numbers < 1)).all()
    for changed in (
        replace(same, key=same.key + 1),
        replace(same, clock=same.clock + 1),
        replace(same, position=same.position + 4),
    ):
        assert not (changed.uniform(1) == numbers).any()
    assert not (same.uniform(2) == numbers).any()
    assert torch.equal(replace(same, clock=same.clock + 1).uniform(1, timeless=True), same.uniform(1, timeless=True))


def test_random_numbers_are_uniform():
    s = state([[True] * 5] * 1, [[True] * 5] * 1)
    many = replace(s, position=torch.arange(20000)[None])
    u = many.uniform(3)[0]
    counts = torch.histc(u.float(), 20, 0, 1)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 45  # chi-squared, 19 degrees of freedom, p = 0.001 at 43.8
    assert abs(float(torch.corrcoef(torch.stack([u[1:], u[:-1]]))[0, 1])) < 0.03


def test_choose_goes_row_by_row_through_anything():
    a, b = state([[True]] * 3, [[True]] * 3), state([[False]] * 3, [[True]] * 3)
    a, b = replace(a, memo={"x": torch.zeros(3, 2), "y": None}), replace(b, memo={"x": torch.ones(3, 2), "y": None})
    c = choose(torch.tensor([True, False, True]), a, b)
    assert c.open.tolist() == [[True], [False], [True]]
    assert c.memo["x"].tolist() == [[0, 0], [1, 1], [0, 0]]
    assert c.memo["y"] is None
    assert c.mask_id == MASK


# --- row statistics ---------------------------------------------------------------------------------------------

logits = grid(st.sampled_from([-INF, -3.5, 0.0, 0.0, 1.25, 2.0]), 4, 9)


def naive_softmax(row):
    if max(row) == -INF:
        return [0.0] * len(row)
    top = max(row)
    weight = [math.exp(x - top) for x in row]
    total = sum(weight)
    return [w / total for w in weight]


def close(found, expected, tolerance=1e-6):
    return torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance)


@some
@given(logits, st.sampled_from([torch.float32, torch.float64]))
def test_statistics_of_short_rows(x, dtype):
    t, p = torch.tensor(x, dtype=dtype), [naive_softmax(row) for row in x]
    token, logit, log_z = stats.best(t)
    assert token.tolist() == [row.index(max(row)) for row in x]
    assert logit.tolist() == [max(row) for row in x]
    assert close(stats.probability(logit, log_z), [max(row) for row in p])
    assert close(stats.entropy(t), [-sum(v * math.log(v) for v in row if v > 0) for row in p])
    two = [sorted([*row, 0.0], reverse=True)[:2] for row in p]
    assert close(stats.margin(t), [a - b for a, b in two])


@pytest.mark.parametrize("v", [2049, 2560, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_statistics_of_long_rows(v, dtype):
    """Long enough for the search in two levels; rounding to eighths makes ties."""
    x = (torch.randn(40, v, generator=torch.Generator().manual_seed(v)) * 8).round().div(8).clamp(max=2).to(dtype)
    x[0] = -torch.inf
    x[1, -1] = 9
    x[2, 512] = 9
    token, logit, log_z = stats.best(x)
    p = x[1:].double().softmax(-1)
    assert token.tolist() == [row.index(max(row)) for row in x.tolist()]
    assert torch.equal(logit, x.amax(-1))
    assert torch.allclose(stats.probability(logit, log_z)[1:].double(), p.amax(-1), rtol=1e-5)
    assert stats.probability(logit, log_z)[0] == 0
    assert torch.allclose(stats.entropy(x)[1:].double(), -(p * p.log()).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("v", [3, 11, 512, 513, 1400])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_a_sample_is_where_the_number_falls_in_the_sum(v, temperature):
    g = torch.Generator().manual_seed(v)
    x = torch.randn(60, v, generator=g, dtype=torch.float64) * 3
    x[torch.rand(60, v, generator=g) < 0.3] = -torch.inf
    x[:, v // 2] = 1.0
    u = torch.rand(60, generator=g, dtype=torch.float64)
    u[:3] = torch.tensor([0.0, 1 - 2**-53, 0.5])
    found = stats.sample(x, u, temperature).tolist()
    for row, goal, token in zip((x / temperature).tolist(), u.tolist(), found, strict=True):
        p = naive_softmax(row)
        below = sum(p[:token])
        assert p[token] > 0
        assert below - 1e-12 <= goal <= below + p[token] + 1e-12


def test_a_number_on_the_border_belongs_to_the_right_token():
    assert stats.sample(torch.zeros(4, 4), torch.tensor([0.0, 0.25, 0.5, 0.75], dtype=torch.float64), 1.0).tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_the_race_samples_the_distribution():
    row = torch.tensor([0.0, 1.0, -1.0, 2.0, -torch.inf])
    found = torch.bincount(stats.race(row.expand(20000, 5), torch.arange(20000) * 7919), minlength=5) / 20000
    p = row.softmax(-1)
    assert (found - p).abs().max() < 4 * (p * (1 - p) / 20000).sqrt().max()
    assert found[4] == 0
    cold = torch.bincount(stats.race(row.expand(20000, 5), torch.arange(20000) * 7919, 0.5), minlength=5) / 20000
    assert (cold - (row * 2).softmax(-1)).abs().max() < 0.015


@some
@given(logits, st.one_of(st.none(), st.integers(1, 9)), st.one_of(st.none(), st.floats(0.05, 1)))
def test_filters(x, top_k, top_p):
    found = stats.filtered(torch.tensor(x, dtype=torch.float64), top_k, top_p).tolist()
    for row, kept in zip(x, found, strict=True):
        if max(row) == -INF:
            continue
        bound = sorted(row, reverse=True)[min(top_k or len(row), len(row)) - 1]
        cut = [v if v >= bound else -INF for v in row]
        p, total, stays = naive_softmax(cut), 0.0, set()
        for i in best_first(cut):
            if top_p is None or total < top_p or top_p >= 1:
                stays.add(i)
            total += p[i]
        near = top_p is not None and any(
            abs(sum(sorted(p, reverse=True)[:n]) - top_p) < 1e-9 for n in range(len(p) + 1)
        )
        if not near:  # a sum that meets the bound to the last bit may be rounded either way
            assert kept == [v if i in stays else -INF for i, v in enumerate(cut)]


@some
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000))
def test_pred_answers_by_window_position(rows, width, seed):
    """Logit rows in any order, some of them padding."""
    g = torch.Generator().manual_seed(seed)
    at = torch.stack([torch.randperm(width + 1, generator=g)[: max(width - 1, 1)] for _ in range(rows)])
    p = Pred(torch.randn(rows, at.shape[1], 6, generator=g), at, width)
    tokens = torch.randint(0, 6, (rows, width), generator=g)
    q = p.logits.double().softmax(-1)
    token, sure = p.best()
    kinds, share = p.top(2)
    for b in range(rows):
        for i in range(width):
            if i not in at[b]:
                assert (token[b, i], sure[b, i], p.prob(tokens)[b, i], p.entropy()[b, i], p.margin()[b, i]) == (
                    0,
                    0,
                    0,
                    0,
                    0,
                )
                continue
            row = q[b, at[b].tolist().index(i)]
            first, second = row.sort(descending=True).values[:2].tolist()
            assert token[b, i] == row.argmax()
            assert sure[b, i] == pytest.approx(first, abs=1e-6)
            assert p.prob(tokens)[b, i] == pytest.approx(float(row[tokens[b, i]]), abs=1e-6)
            assert p.entropy()[b, i] == pytest.approx(float(-(row * row.log()).sum()), abs=1e-5)
            assert p.margin()[b, i] == pytest.approx(first - second, abs=1e-6)
            assert kinds[b, i].tolist() == row.topk(2).indices.tolist()
            assert share[b, i, 0] == pytest.approx(first / (first + second), abs=1e-6)
            where = torch.arange(width).expand(rows, width) == i
            assert close(p.probs_at(where)[b], row.tolist())
    banned = p.without((1, 3))
    assert (banned.rows[..., [1, 3]] == -torch.inf).all()
    assert torch.equal(banned.rows[..., [0, 2, 4, 5]], p.rows[..., [0, 2, 4, 5]])
    assert not torch.isin(banned.best()[0], torch.tensor([1, 3])).any()
    assert p.without(()) is p


# --- canvas ---------------------------------------------------------------------------------------------------------

SHAPES = {"both": Shape(MASK, 11), "blocks": Shape(MASK, 11, (9,), True)}
rows_of_prompts = st.lists(st.lists(st.integers(0, 10), max_size=7), min_size=1, max_size=3)


def laid(shape, prompts, length, block, **more):
    return layout(
        shape, get("threshold"), prompts, length=length, keys=range(len(prompts)), windows=Blocks(block), **more
    )


@some
@given(rows_of_prompts, st.integers(1, 6), st.integers(1, 9), st.sampled_from(list(SHAPES)), st.booleans())
def test_layout(prompts, length, block, kind, infill):
    c = laid(SHAPES[kind], prompts, length, block, infill=infill)
    assert c.tokens.shape[1] == max(map(len, prompts)) + length + 1
    for b, prompt in enumerate(prompts):
        end = len(prompt) + length
        holes = [i for i in range(end) if i >= len(prompt) or (infill and prompt[i] == MASK)]
        assert c.open[b].nonzero().flatten().tolist() == holes
        assert torch.equal(c.open[b], c.editable[b])
        assert c.tokens[b, :end].tolist() == prompt + [MASK] * length
        assert (int(c.limit[b]), int(c.reason[b]), int(c.clock[b]), int(c.step[b])) == (end, LIVE, 0, 0)
        start = holes[0] // block * block if kind == "blocks" else holes[0]
        size = min(block, end - start, c.width)
        assert (int(c.start[b]), int(c.size[b])) == (start, size)
        assert int(c.windows[b]) == math.ceil((end - start) / block)
        assert int(c.opened[b]) == sum(start <= i < start + size for i in holes)
        for i in range(end):
            whole = i // block * block + block
            sees = start + size if start <= i < start + size else whole if whole <= start else i + 1
            assert int(c.until[b, i]) == (sees if kind == "blocks" else end)


@some
@given(rows_of_prompts, st.integers(1, 6), st.integers(1, 9), st.sampled_from(list(SHAPES)))
def test_a_view_written_back_changes_nothing_and_only_the_window_is_written(prompts, length, block, kind):
    c = laid(SHAPES[kind], prompts, length, block)
    same = write(c, view(c))
    for f in fields(Canvas):
        old, new = getattr(c, f.name), getattr(same, f.name)
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    s = view(c)
    assert not (s.open & (torch.arange(c.width) >= c.size[:, None])).any()
    other = write(c, replace(s, tokens=s.tokens * 0 + 5))
    assert torch.equal(other.tokens, torch.where(c.window, 5, c.tokens))
    first = torch.arange(len(c.key)) == 0
    some_rows = write(c, replace(s, tokens=s.tokens * 0 + 5, open=~s.open), first)
    assert torch.equal(some_rows.tokens, torch.where(c.window & first[:, None], 5, c.tokens))
    assert torch.equal(some_rows.open, torch.where(c.window & first[:, None], ~c.open, c.open))


def test_what_a_canvas_knows_of_itself_is_forgotten_with_what_it_came_from():
    c = laid(SHAPES["both"], [[1, 2, 3], [4]], 6, 3)
    known = {name: getattr(c, name) for name in ("at", "inside", "offset", "index", "window", "first_open", "live")}
    same = c.changed(tokens=c.tokens + 1)
    assert all(vars(same)[name] is x for name, x in known.items())
    assert "state" not in vars(same)
    moved = c.changed(start=c.start + 1, open=c.open & False, reason=c.reason + 1)
    assert not known.keys() & vars(moved).keys()
    assert torch.equal(moved.at, known["at"] + 1)
    assert not moved.live.any()
    assert torch.equal(moved.first_open, c.limit)


@pytest.mark.parametrize("kind", SHAPES)
def test_wider_columns_and_windows_only_pad(kind):
    plain, wide = (laid(SHAPES[kind], [[1, 2, 3], [4]], 6, 4, **more) for more in ({}, {"columns": 20, "width": 9}))
    assert wide.tokens.shape == (2, 20)
    assert wide.width == 9
    for name in ("start", "size", "opened", "windows", "limit"):
        assert torch.equal(getattr(plain, name), getattr(wide, name))
    assert torch.equal(view(wide).open[:, :4], view(plain).open)
    assert not view(wide).open[:, 4:].any()


@pytest.mark.parametrize("kind", SHAPES)
def test_a_fresh_window_counts_what_is_open_and_then_remembers_it(kind):
    c = laid(SHAPES[kind], [[1, 2, 3], [4]], 6, 3)
    fewer = replace(c, open=c.open & (c.column != c.first_open[:, None]), opened=c.opened + 7)
    assert torch.equal(view(fewer).opened, view(fewer).open.sum(-1))
    later = replace(fewer, step=torch.tensor([0, 1]))
    assert view(later).opened.tolist() == [int(view(fewer).opened[0]), int(fewer.opened[1])]
    assert write(later, view(later)).opened.tolist() == view(later).opened.tolist()


@pytest.mark.parametrize("kind", SHAPES)
def test_the_window_of_a_row_that_stays_is_as_it_was(kind):
    c = laid(SHAPES[kind], [[1, 2, 3], [4]], 9, 3)
    plan = Plan(get("threshold"), Blocks(3), get_cache("none"))
    after = moved_on(plan, replace(c, step=c.step + 2), torch.tensor([False, True]), c.start + c.room)
    for name in ("start", "room", "size", "block_start", "block_end", "until"):
        assert torch.equal(getattr(after, name)[0], getattr(c, name)[0]), name
    assert after.start[1] == (c.start + c.room)[1]
    assert after.step.tolist() == [2, 0]


def test_of_several_reasons_the_first_counts():
    c = laid(SHAPES["both"], [[1], [2], [3], [4]], 4, 2)
    c = replace(c, clock=torch.tensor([9999, 9999, 3, 2]), committed_at=torch.full_like(c.committed_at, 1))
    no, yes = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    plan = Plan(get("threshold"), Blocks(2), get_cache("none"), max_steps=3)
    assert reasons(replace(plan, max_steps=None), c, no, None, no).tolist() == [STALLED, STALLED, LIVE, LIVE]
    assert reasons(plan, c, no, no, no).tolist() == [EXHAUSTED, EXHAUSTED, EXHAUSTED, LIVE]
    assert reasons(plan, c, yes, no, no).tolist() == [FILLED] * 4
    assert reasons(plan, c, yes, yes, no).tolist() == [STOPPED] * 4
    assert reasons(plan, c, yes, yes, yes).tolist() == [BROKEN] * 4


def test_entering_a_window_cuts_it_at_the_row():
    c = laid(SHAPES["both"], [[1, 2], [3]], 6, 4)
    c = enter(replace(c, start=torch.tensor([6, 7]), step=c.step + 3), Blocks(4))
    assert c.size.tolist() == [2, 0]
    assert c.opened.tolist() == [2, 0]
    assert c.step.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prompts": []}, "there is no prompt"),
        ({"length": 0}, "length must be at least 1, not 0"),
        ({"length": -1, "infill": True}, "length must be at least 1, not -1"),
        ({"prompts": [[11]]}, "outside the vocabulary of 11"),
        ({"prompts": [[-1]]}, "outside the vocabulary of 11"),
        ({"infill": True, "length": 0}, "no hole to fill"),
        ({"shape": Shape(None, 11), "infill": True}, "no mask token"),
        ({"decoder": "llada:steps=5"}, "5 steps cannot be split evenly over 2 blocks; take a multiple of 2"),
        ({"columns": 7}, "too few"),
        ({"width": 3}, "too few"),
    ],
)
def test_layout_refuses(arguments, says):
    values = {"shape": SHAPES["both"], "prompts": [[1]], "length": 8, "decoder": "threshold"} | arguments
    decoder = get(values.pop("decoder"))
    with pytest.raises(UsageError, match=says):
        layout(values.pop("shape"), decoder, values.pop("prompts"), keys=[0], windows=Blocks(4), **values)


# --- prepare and tell
# ----------------------------------------------------------------------------------------------------


@some
@given(st.integers(0, 10_000), st.booleans())
def test_the_exact_rule_recomputes_what_sees_a_change(seed, causal):
    g = torch.Generator().manual_seed(seed)
    c = laid(SHAPES["both"], [[1, 2], [3]], 5, 4)
    B, L = c.tokens.shape
    until = torch.arange(1, L + 1).expand(B, L) if causal else torch.randint(1, L + 1, (B, L), generator=g)
    kept = torch.where(torch.rand(B, L, generator=g) < 0.8, until, 0)
    c = replace(c, store=replace(c.store, tokens=torch.randint(0, 2, (B, L), generator=g), until=kept))
    shown, reach = (
        torch.where(torch.rand(B, L, generator=g) < 0.8, c.store.tokens, 1),
        torch.randint(0, L + 1, (B,), generator=g),
    )
    found = must_recompute(c, shown, until, reach)
    for b in range(B):
        n = int(reach[b])
        changed = [i for i in range(n) if shown[b, i] != c.store.tokens[b, i] or until[b, i] != c.store.until[b, i]]
        assert found[b].tolist() == [i < n and any(j < until[b, i] for j in changed) for i in range(L)]


@some
@given(st.integers(0, 10_000), st.booleans())
def test_windows_follow_each_other_from_the_first_open_position_and_pass_over_what_is_given(seed, block_causal):
    g = torch.Generator().manual_seed(seed)
    c = laid(SHAPES["blocks" if block_causal else "both"], [[1, 2, 3], [4]], 7, 3)
    c = replace(c, open=c.open & (torch.rand(c.open.shape, generator=g) < 0.4))
    for b, start in enumerate(next_start(c).tolist()):
        end, limit = int(c.start[b] + c.size[b]), int(c.limit[b])
        still = [i for i in range(int(c.start[b]), end if block_causal else limit) if c.open[b, i]]
        assert start == (still[0] if still else end if block_causal else limit)


@some
@given(st.integers(0, 10_000))
def test_a_text_is_complete_at_a_stop_token_with_nothing_open_before_it(seed):
    g = torch.Generator().manual_seed(seed)
    c = laid(SHAPES["blocks"], [[9, 2], [4]], 5, 3)
    tokens = torch.where(torch.rand(c.tokens.shape, generator=g) < 0.3, 9, c.tokens)
    c = replace(
        c, tokens=torch.where(c.editable, tokens, c.tokens),
        open=c.open & (torch.rand(c.open.shape, generator=g) < 0.4),
    )
    for b, found in enumerate(stopped(c).tolist()):
        stops = [i for i in range(c.tokens.shape[1]) if c.editable[b, i] and not c.open[b, i] and c.tokens[b, i] == 9]
        assert found == (bool(stops) and not c.open[b, : stops[0]].any())


@dataclass(frozen=True)
class Confused(Decoder):
    """Commits random positions and asks for random ones, to exercise the loop; the first open one always, so that it
    ends."""

    def step(self, s: State, p: Pred) -> State:
        return s.commit(select.leftmost(s.open) | (s.uniform(1) < 0.2), *p.draw(s))


@pytest.mark.parametrize("block_causal", [False, True])
@pytest.mark.parametrize("block", [1, 3, 5, 40])
def test_every_forward_shows_the_text_and_the_cache_never_lies(block_causal, block):
    """What is shown is the canvas; what the model keeps was computed from it, or all is run again; nothing beyond the
    reach is run."""
    toy = ToyModel(block_causal=block_causal)
    plan = Plan(Confused(), Blocks(block), Exact())
    c = layout(
        Shape(MASK, 11, (), block_causal), plan.decoder, [[1, 2, 3], [4]], length=9, keys=[1, 2], windows=plan.windows
    )
    cached, forwards = toy.session(session_spec(plan, c)), 0
    while bool(c.live.any()):
        f = prepare(plan, c)
        p = cached(f)
        fresh = toy.session(session_spec(plan, c))(replace(f, compute=torch.ones_like(f.compute)))
        assert torch.equal(p.logits[f.want], fresh.logits[f.want])
        assert torch.equal(f.tokens, c.tokens)
        assert torch.equal(f.want, view(c).open & c.live[:, None])
        assert not (f.compute & (c.column >= c.reach[:, None])).any()
        assert torch.equal(f.given, ~c.editable & (c.column < c.limit[:, None]))
        before, c = c, apply(plan, c, f, p)
        assert torch.equal(c.clock, before.clock + before.live)
        held = f.compute & block_causal  # a bidirectional canvas changes as a whole, and nothing of it is kept
        assert torch.equal(c.store.tokens, torch.where(held, f.tokens, before.store.tokens))
        assert torch.equal(c.store.until, torch.where(held, f.until, before.store.until))
        if not block_causal:
            assert torch.equal(f.compute, (c.column < before.limit[:, None]) & before.live[:, None])
        decided = before.open & ~c.open
        assert torch.equal(c.committed_at[decided], before.clock[:, None].expand_as(decided)[decided])
        forwards += 1
    assert forwards == int(c.clock.max())
    assert not c.open.any()
    assert (c.reason == FILLED).all()


# --- decode ---------------------------------------------------------------------------------------------------------

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8]]
TOY = ToyModel(stop_ids=(9,), seed=4)
BLOCKS = ToyModel(stop_ids=(9,), seed=4, block_causal=True)


def test_a_row_ends_at_its_own_stop_token():
    toy = replace(TOY, seed=0)  # one whose three rows end at different times
    through = decode(toy, get("left_to_right"), PROMPTS, length=40, stop=False)
    ended = decode(toy, get("left_to_right"), PROMPTS, length=40)
    assert {row.finish_reason for row in ended} == {"stop"}
    assert len({row.nfe for row in ended}) == 3
    for long, short in zip(through, ended, strict=True):
        assert (long.nfe, long.finish_reason) == (40, "length")
        assert short.tokens == long.tokens
        assert short.nfe == len(short.tokens) + 1  # the stop token is the last forward and no part of the text
        assert 9 not in short.tokens
        at = len(short.canvas) - 40 + short.nfe
        assert short.canvas[:at] == long.canvas[:at]
        assert set(short.canvas[at:]) == {MASK}  # nothing was written after it


TOYS = {"both": TOY, "blocks": BLOCKS}


@pytest.mark.parametrize(("spec", "toy"), thirds(with_toys(BRIEF, tuple(TOYS)), 0))
def test_stopping_early_cuts_nothing_but_the_tail(spec, toy):
    toy = TOYS[toy]
    through = decode(toy, get(spec), PROMPTS, length=24, windows=Blocks(4), stop=False)
    ended = decode(toy, get(spec), PROMPTS, length=24, windows=Blocks(4))
    assert [row.tokens for row in ended] == [row.tokens for row in through]
    spent, all_ = (sum(row.nfe for row in rows) for rows in (ended, through))
    # its row is one window, which it may still revise
    assert spent <= all_ if "resizes" in asks(get(spec)) else spent < all_
    assert "stop" in {row.finish_reason for row in ended}
    assert {row.finish_reason for row in through} == {"length"}


@pytest.mark.parametrize("spec", thirds(EACH, 1))
def test_a_given_number_of_forwards_ends_a_row(spec):
    toy = TOY if spec == "eos_padding" else BLOCKS
    full = decode(toy, get(spec), PROMPTS, length=12, windows=Blocks(4), stop=False)
    some_ = decode(toy, get(spec), PROMPTS, length=12, windows=Blocks(4), stop=False, max_steps=3)
    for row, whole, prompt in zip(some_, full, PROMPTS, strict=True):
        assert (row.nfe, row.finish_reason) == (3, "max_steps")
        held = [
            (t, w) for t, w in zip(row.canvas[len(prompt) :], whole.canvas[len(prompt) :], strict=True) if t != MASK
        ]
        assert get(spec).revises or all(t == w for t, w in held)
        assert row.tokens or held  # a text that begins with a stop token has none
        assert len(row.tokens) < 12
    exactly = decode(
        toy, get(spec), PROMPTS, length=12, windows=Blocks(4), stop=False, max_steps=max(row.nfe for row in full)
    )
    assert exactly == full


@pytest.mark.parametrize(("spec", "poll"), thirds(turns(EACH, [3, 50]), 2))
def test_looking_less_often_changes_nothing(spec, poll):
    forwards = []
    rows = decode(TOY, get(spec), PROMPTS, length=12, poll=poll, watch=lambda f, p, c: forwards.append(f))
    assert rows == decode(TOY, get(spec), PROMPTS, length=12)
    longest = max(row.nfe for row in rows)
    assert len(forwards) == math.ceil(longest / poll) * poll


@pytest.mark.parametrize(
    "spec", ["first_hitting", "ancestral", "left_to_right:temperature=1.0", "llada:remasking=random"]
)
def test_seeds_belong_to_rows(spec):
    toy = ToyModel(sharp=2.0)
    rows = decode(toy, get(spec), [[1, 2]] * 4, length=12, seeds=[5, 6, 5, 7])
    assert rows[0] == rows[2]
    assert len({row.tokens for row in rows}) == 3
    assert rows[3] == decode(toy, get(spec), [[1, 2]], length=12, seed=7)[0]
    assert len({row.tokens for row in decode(toy, get(spec), [[1, 2]] * 3, length=12, seed=5)}) == 1


@pytest.mark.parametrize(("spec", "toy", "block"), thirds(turns(EACH, TOYS, [None, 4]), 0))
def test_holes_are_filled_only_when_asked(spec, toy, block):
    toy = ToyModel(seed=1, block_causal=toy == "blocks")
    prompt = [1, MASK, MASK, 2, 3, MASK, 4]
    windows = None if block is None else Blocks(block)
    filled = decode(toy, get(spec), [prompt, [1, 2]], length=3, windows=windows, infill=True)
    assert [t for t, given_ in zip(filled[0].canvas, prompt, strict=False) if given_ != MASK] == [1, 2, 3, 4]
    assert len(filled[0].tokens) == 6
    assert filled[0].tokens == tuple(filled[0].canvas[i] for i in (1, 2, 5, 7, 8, 9))
    only = decode(toy, get(spec), [prompt], length=0, windows=windows, infill=True)[0]
    assert (len(only.tokens), len(only.canvas)) == (3, 7)
    assert only.finish_reason == "length"
    literal = decode(toy, get(spec), [prompt], length=3, windows=windows)[0]
    assert literal.canvas[:7] == tuple(prompt)
    assert len(literal.tokens) == 3


def test_a_filled_hole_can_differ_from_the_mask_and_depends_on_what_is_right_of_it():
    toy = ToyModel(seed=1)
    fills = {decode(toy, get("llada"), [[1, MASK, right]], length=0, infill=True)[0].tokens for right in range(10)}
    assert len(fills) > 3


def test_windows_without_holes_are_passed_over():
    toy = ToyModel(seed=1)
    row = decode(toy, get("llada"), [[MASK] + [1] * 12 + [MASK]], length=0, windows=Blocks(2), infill=True)[0]
    assert row.nfe == 2


def test_rules_change_what_a_strategy_reads():
    plain = decode(TOY, get("threshold:tau=0.2"), PROMPTS, length=24, stop=False)
    without = decode(TOY, get("threshold:tau=0.2"), PROMPTS, length=24, stop=False, rules=[Suppress((9, 3))])
    assert {3, 9} & {t for row in plain for t in row.canvas[4:]}
    assert not {3, 9} & {t for row, prompt in zip(without, PROMPTS, strict=True) for t in row.canvas[len(prompt) :]}


def test_a_host_may_end_a_row():
    asked = []

    def halt(row, tokens):
        asked.append((row, tuple(tokens)))
        return row == 1 and len(tokens) >= 3

    rows = decode(ToyModel(seed=4), get("left_to_right"), PROMPTS, length=10, halt=halt)
    assert [(row.nfe, row.finish_reason) for row in rows] == [(10, "length"), (3, "stop"), (10, "length")]
    assert (1, rows[1].tokens) in asked
    assert not [tokens for row, tokens in asked if row == 1 and len(tokens) > 3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"poll": 0}, "at least 1"),
        ({"max_steps": 0}, "at least 1"),
        ({"seeds": [1]}, "3 prompts need 3 seeds, not 1"),
        ({"model": ToyModel(mask_id=None), "decoder": get("ancestral")}, "Ancestral needs a model with a mask token"),
        ({"length": 0}, "length must be at least 1"),
        ({"prompts": []}, "there is no prompt"),
    ],
)
def test_decode_refuses(arguments, says):
    values = {"model": TOY, "decoder": get("threshold"), "prompts": PROMPTS, "length": 8} | arguments
    with pytest.raises(UsageError, match=says):
        decode(values.pop("model"), values.pop("decoder"), values.pop("prompts"), **values)


def test_a_block_needs_a_position():
    with pytest.raises(UsageError, match="at least one position, not 0"):
        Blocks(0)


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regrets(Decoder):
    """Fills the window, takes every third position back once, and fills it again."""

    revises = True

    def step(self, s: State, p: Pred) -> State:
        full = ~s.open.any(-1, keepdim=True)
        s = s.reopen(full & (s.position % 3 == 0))
        return s.commit(~full & (select.leftmost(s.open) | (s.uniform(1) < 0.3)), *p.draw(s))

    def done(self, s: State) -> torch.Tensor:
        return ~s.open.any(-1) & (s.step > s.size + 3)


def listened(model, decoder, **more):
    """The rows, what the committed events add up to, and the last provisional event, in order of rows."""
    told: dict[int, list[int]] = {b: [] for b in range(len(PROMPTS))}
    mind: dict[int, tuple[int | None, ...]] = dict.fromkeys(range(len(PROMPTS)), ())
    kinds = set()

    def hear(e):
        kinds.add(e.kind)
        assert e.start == len(told[e.row])
        if e.kind == "committed":
            assert e.tokens
            assert None not in e.tokens
            told[e.row] += e.tokens
        else:
            mind[e.row] = e.tokens

    rows = decode(model, decoder, PROMPTS, on_event=hear, **more)
    return rows, [tuple(told[b]) for b in told], [mind[b] for b in mind], kinds


@pytest.mark.parametrize(("spec", "toy", "poll"), thirds(with_toys([*BRIEF, "regrets"], tuple(TOYS), [1, 3]), 1))
def test_committed_events_add_up_to_the_text(spec, toy, poll):
    toy, decoder = TOYS[toy], Regrets() if spec == "regrets" else get(spec)
    rows, told, mind, kinds = listened(toy, decoder, length=12, windows=Blocks(4), poll=poll)
    assert told == [row.tokens for row in rows]
    assert mind == [(), (), ()]
    assert "committed" in kinds
    assert rows == decode(toy, decoder, PROMPTS, length=12, windows=Blocks(4))


@pytest.mark.parametrize("spec", EACH)
def test_what_is_not_settled_is_provisional(spec):
    rows, told, mind, kinds = listened(ToyModel(seed=4), get(spec), length=12, max_steps=2)
    assert "provisional" in kinds
    for row, settled, rest in zip(rows, told, mind, strict=True):
        assert row.tokens == settled + tuple(t for t in rest if t is not None)
        assert len(settled) + len(rest) == 12
        assert None in rest


def test_generated_tokens_end_at_the_first_settled_stop():
    c = laid(SHAPES["blocks"], [[1]], 5, 8)
    tokens, decided = (
        torch.tensor([[1, 4, 9, 5, 9, 6, 0]]),
        torch.tensor([[True, True, True, True, False, False, True]]),
    )
    c = replace(c, tokens=tokens, open=c.open & ~decided)
    assert generated(c, 0, False) == ([4], 1)
    later = replace(c, open=c.open.index_fill(1, torch.tensor([1]), True))
    assert generated(later, 0, False) == ([None, 9, 5, None, None], 0)
    assert generated(c, 0, True)[1] == 0
    assert generated(replace(c, reason=torch.tensor([STOPPED])), 0, True) == ([4], 1)


def test_reasons_have_names():
    assert REASONS[LIVE] == "live"
    assert [REASONS[i] for i in (STOPPED, FILLED, EXHAUSTED)] == ["stop", "length", "max_steps"]


def test_no_cache_is_the_reference_for_every_cache():
    """In a causal row the exact rule holds under every policy; elsewhere all columns are run."""
    seen = []
    watch = lambda f, p, c: seen.append(f.compute.sum(-1))
    decode(TOY, get("threshold"), PROMPTS, length=6, cache=get_cache("none"), stop=False, watch=watch)
    assert seen[0].tolist() == [9, 7, 10]
    assert all(int(x) in (0, n) for step in seen for x, n in zip(step, (9, 7, 10), strict=True))


def test_statistics_belong_to_the_logits_that_they_came_from():
    """A rule may look at a prediction and then hand out another one made by `dataclasses.replace`."""

    def upside_down(s: State, p: Pred) -> Pred:
        p.entropy()
        return replace(p, logits=-p.logits)

    def unseen(s: State, p: Pred) -> Pred:
        return replace(p, logits=-p.logits)

    toy = ToyModel()
    rows = [decode(toy, get("llada"), [[1, 2]], length=6, rules=rules) for rules in ((upside_down,), (unseen,), ())]
    assert rows[0] == rows[1] != rows[2]
