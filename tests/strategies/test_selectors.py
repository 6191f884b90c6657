"""Selectors that look at logits alone: each rule on its own, against brute force, against its neighbours and against
recorded steps."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from decoders import Blocks, Pred, State, UsageError, decode, get
from decoders.core import Trace, above, asks, best, best_of_runs, near, only, top, within_bound
from decoders.strategies.ada_block import AdaBlock
from decoders.strategies.credit import Credits
from decoders.strategies.saber import Sum
from decoders.testing.toy import ToyModel
from decoders_bench.golden.runner import replay
from decoders_bench.golden.steps import state

SHARED = Path(os.environ.get("DECODERS_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
TOY = ToyModel(seed=3)


def window(*confidences: float, vocab: int = 6) -> tuple[State, Pred]:
    """A window of open positions with these confidences, token 0 being the likeliest everywhere."""
    c = torch.tensor([confidences], dtype=torch.double)
    rest = ((1 - c) / (vocab - 1))[..., None].expand(-1, -1, vocab - 1)
    s = state(torch.full_like(c, vocab - 1, dtype=torch.long), vocab - 1, vocab)
    return s, Pred(torch.cat([c[..., None], rest], -1).log(), torch.arange(len(confidences))[None], len(confidences))


def taken(spec: str, *confidences: float) -> list[int]:
    s, p = window(*confidences)
    d = get(spec)
    return (~d.step(d.begin(d.init(s)), p).open[0]).nonzero().flatten().tolist()


# --- selections
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_on_the_score_takes_the_best_where_nothing_reaches_it(seed):
    g = torch.Generator().manual_seed(seed)
    open_, confidence = torch.rand(20, 9, generator=g) < 0.5, torch.randint(0, 5, (20, 9), generator=g).float() / 4
    open_[0] = False
    score, tau = only(open_, confidence), 0.8
    assert torch.equal(((score >= tau) | best(score)) & open_, above(score, confidence >= tau))
    assert torch.equal(best(score) & open_, top(score, 1))


@pytest.mark.parametrize("seed", range(5))
def test_selections_are_what_one_would_write_by_hand(seed):
    g = torch.Generator().manual_seed(seed)
    where, score = torch.rand(4, 13, generator=g) < 0.6, torch.randint(0, 4, (4, 13), generator=g).double()
    runs, close = best_of_runs(where, score), near(where & (score == 3), 2)
    for b in range(4):
        at, expected = 0, set()
        while at < 13:
            end = at
            while end < 13 and where[b, end]:
                end += 1
            if end > at:
                expected.add(max(range(at, end), key=lambda i, b=b: (score[b, i], -i)))
            at = end + 1
        assert set(runs[b].nonzero().flatten().tolist()) == expected
        anchors = [i for i in range(13) if where[b, i] and score[b, i] == 3]
        assert close[b].tolist() == [any(abs(i - a) <= 2 for a in anchors) for i in range(13)]


@pytest.mark.parametrize("seed", range(5))
def test_an_entropy_bound_in_any_order_is_its_sum_without_the_largest(seed):
    g = torch.Generator().manual_seed(seed)
    open, entropy, order = (
        torch.rand(1, 9, generator=g) < 0.7,
        torch.rand(1, 9, generator=g),
        torch.rand(1, 9, generator=g),
    )
    ranked = sorted(open[0].nonzero().flatten().tolist(), key=lambda i: order[0, i])
    in_order = [entropy[0, i].item() for i in ranked]
    n = max(n for n in range(1, len(ranked) + 1) if sum(in_order[:n]) - max(in_order[:n]) <= 1.0)
    assert within_bound(open, entropy, 1.0, order)[0].nonzero().flatten().tolist() == sorted(ranked[:n])


# --- rules
# -----------------------------------------------------------------------------------------------------------------


def test_frechet_commits_while_the_lower_bound_exceeds_the_upper():
    c = [0.99, 0.97, 0.9, 0.85, 0.6]
    gaps = [max(0, sum(c[:n]) - (n - 1)) - (1 - c[n - 1]) for n in range(1, 6)]
    for delta in (0.0, 0.25, 0.5, 0.9, 0.99):
        assert taken(f"frechet:delta={delta}", *c) == list(range(max(sum(x > delta for x in gaps), 1)))
    # equal confidences: f = 1 - delta
    assert taken("frechet:delta=0.25", *[0.9] * 8) == taken("factor:f=0.7499", *[0.9] * 8)


def test_local_leap_relaxes_near_an_anchor_only():
    assert taken("local_leap:radius=2", 0.8, 0.8, 0.7, 0.95, 0.5, 0.76, 0.8) == [1, 3, 5]
    assert taken("local_leap", 0.8, 0.8, 0.85) == [2]  # no anchor
    same = [decode(TOY, get(spec), ROWS, length=12) for spec in ("local_leap:tau=0.4,relaxed=0.4", "threshold:tau=0.4")]
    assert same[0] == same[1]


def test_hierarchy_takes_the_best_of_every_gap():
    s, p = window(0.5, 0.6, 0.95, 0.3, 0.45, 0.41, 0.2, 0.3)
    s = replace(s, open=torch.tensor([[True, True, False, True, True, True, False, True]]))
    assert (s.open & ~get("hierarchy").step(s, p).open)[0].nonzero().flatten().tolist() == [1, 4]
    assert taken("hierarchy", 0.2, 0.3, 0.1) == [1]


def test_credit_is_the_dense_matrix_of_the_paper():
    d, (s, _) = get("credit:tau=0.5"), window(*[0.5] * 7, vocab=12)
    s, C, g = d.begin(s), torch.zeros(7, 12), torch.Generator().manual_seed(0)
    for k in range(6):
        logits = 2 * torch.randn(1, 7, 12, generator=g)
        logits[..., 11] = -9  # the mask
        p = Pred(logits, torch.arange(7)[None], 7)
        c, token = logits[0].softmax(-1).max(-1)
        C = C * 0.8
        C[torch.arange(7), token] += torch.where(s.open[0], c**0.2, 0)
        fused = (logits[0] + 0.7 * C.log1p()).softmax(-1).max(-1).values
        fused = torch.where(s.open[0], fused, -1)
        best = set((fused >= min(0.5, float(fused.max()) - 1e-5)).nonzero().flatten().tolist())
        t = replace(d.step(s, p), step=s.step + 1)
        assert set((s.open & ~t.open)[0].nonzero().flatten().tolist()) == best, k
        s = t
        if not s.open.any():
            break
    assert k > 0


def test_credits_that_are_spent_are_forgotten_and_change_nothing():
    d, W, g = get("credit:tau=0.9,decay=0.5"), 100, torch.Generator().manual_seed(0)
    kept, (s, _) = d.kept(W), window(*[0.5] * W, vocab=12)
    assert kept < W == get("credit:decay=1").kept(W)
    assert get("credit:decay=0").kept(W) == 1
    short = d.begin(s)
    long = replace(short, memo=Credits(*(x[..., :1].expand(-1, -1, W).clone() for x in short.memo)))
    for k in range(W):
        p = Pred(torch.randn(1, W, 12, generator=g), torch.arange(W)[None], W)
        short, long = (replace(d.step(x, p), step=x.step + 1) for x in (short, long))
        assert torch.equal(short.open, long.open), k
        assert torch.equal(short.tokens, long.tokens), k
        if not short.open.any():
            break
    assert k > kept
    assert short.memo.token.shape == (1, W, kept)


def test_klass_waits_until_a_prediction_rests():
    d, (s, p) = get("klass:tau=0.6,history=2"), window(0.9, 0.8, 0.7, 0.65, 0.5)
    _, other = window(0.9, 0.8, 0.61, 0.9, 0.5)
    s, counts = d.begin(s), []
    for now in (p, p, other):
        t = replace(d.step(s, now), step=s.step + 1)
        counts.append((s.open & ~t.open)[0].nonzero().flatten().tolist())
        s = t
    # history of two comparisons: nothing rests before the third forward, and then two have moved
    assert counts == [[0], [1], [3]]
    assert (~d.step(d.begin(window(0.9, 0.8)[0]), window(0.9, 0.8)[1]).open).tolist() == [[True, False]]


@pytest.mark.parametrize(("unmask", "third"), [("all", [2, 3]), ("max_conf", [2]), ("min_kl", [3])])
def test_klass_commits_all_that_rests_or_the_surest_or_what_moved_least(unmask, third):
    d, (s, p) = get(f"klass:tau=0.6,history=2,unmask={unmask}"), window(0.9, 0.8, 0.75, 0.65, 0.5)
    _, other = window(0.9, 0.8, 0.752, 0.65, 0.5)  # position 2 moves a little, and less than eps
    s = d.begin(s)
    for now in (p, p, other):
        before, s = s, replace(d.step(s, now), step=s.step + 1)
    assert (before.open & ~s.open)[0].nonzero().flatten().tolist() == third


def test_what_a_memo_takes_is_counted_and_grows_with_the_vocabulary_only_where_that_is_said():
    for spec in ("klass", "credit", "frontier:base=(klass)", "hierarchy", "saber", "slow_fast"):
        d = get(spec)
        small, large = (decode(ToyModel(vocab=v), d, ROWS[:1], length=6)[0].memo_bytes for v in (11, 44))
        assert (large > small) == ("vocabulary" in asks(d)) == ("klass" in spec), spec
    assert decode(TOY, get("klass"), [[1]], length=6)[0].memo_bytes == 7 * 11 * 4 + 7 * 8
    assert decode(TOY, get("threshold"), [[1]], length=6)[0].memo_bytes == 0


def test_dus_depends_on_nothing_but_the_length():
    turns = get("dus").levels(window(*[0.5] * 8)[0])[0].tolist()
    assert turns == [0, 2, 1, 2, 0, 2, 1, 2]
    rows = decode(TOY, get("dus"), ROWS, length=16, windows=Blocks(16))
    assert {row.nfe for row in rows} == {4}


@pytest.mark.parametrize(
    ("base", "size", "steps", "merged"),
    [(2, 5, 2, 1), (2, 8, 3, 3), (2, 46, 5, 4), (2, 6, 2, 2), (3, 7, 2, 1), (3, 27, 3, 3)],
)
def test_dus_merges_its_last_step_only_where_that_is_smaller(base, size, steps, merged):
    s = state(torch.full((1, size), 5), 5, 6)
    for more, n in (("", steps), (",merge=true", merged)):
        levels = get(f"dus:base={base}{more}").levels(s)[0]
        assert len(levels.unique()) == n
        counts = [int((levels == x).sum()) for x in levels.unique()]
        assert sum(counts) == size
        assert not more or len(counts) == 1 or counts[-1] >= counts[-2]


def test_slow_fast_explores_then_fills():
    trace = Trace()
    decode(ToyModel(sharp=30.0), get("slow_fast"), ROWS, length=16, watch=trace)
    phases = torch.stack([f.phase for f in trace.forwards])
    assert phases[0].tolist() == [0, 0, 0]
    assert (phases == 1).any()
    assert max(row.nfe for row in decode(ToyModel(sharp=30.0), get("slow_fast"), ROWS, length=16)) < 16


def explored(spec, *ends):
    """After so many forwards of exploring, in which the last position above `low` was each of `ends` in turn."""
    d, (s, p) = get(spec), window(*[0.02] * 12)
    s = d.begin(d.init(s))
    for end in ends:
        _, p = window(*[0.5 if i in (11 - int(s.step), end) else 0.02 for i in range(12)], vocab=100)
        s = replace(d.step(s, p), step=s.step + 1)
    return s.memo


def test_slow_fast_ends_exploring_where_the_end_has_settled_or_at_the_mean_of_the_last_forwards():
    """Equations 8 and 9. At the right one position a forward is decided, so that the end goes left."""
    wide = "slow_fast:spread=0.4,explore=3,low=0.1"
    assert not explored(wide, 11, 10).fast
    m = explored(wide, 11, 10, 9)
    assert (bool(m.fast), int(m.end), int(m.explored)) == (True, 9, 0)  # (10 + 9) / 2, rounded down
    m = explored("slow_fast:spread=0.6,low=0.1", 11, 10)
    assert (bool(m.fast), int(m.end)) == (True, 10)  # settled: the last one
    assert (get("slow_fast").tau, get("slow_fast").low, get("slow_fast").explore) == (0.85, 0.1, 8)


def test_slow_fast_is_strict_and_begins_anew_where_its_span_is_full():
    d, (s, p) = get("slow_fast:tau=0.5,low=0.5,explore=1"), window(0.5, 0.5, 0.9, 0.5)
    s = d.step(d.begin(s), p)
    assert (decided(s), bool(s.memo.fast), int(s.memo.end)) == ([2], True, 2)
    s = d.step(s, p)
    assert (decided(s), bool(s.memo.fast)) == ([0, 2], True)  # nothing is above 0.5, so the best one
    s = d.step(d.step(s, p), p)
    assert (decided(s), bool(s.memo.fast), int(s.memo.explored)) == ([0, 1, 2, 3], False, 0)


def test_a_block_ends_after_its_surest_delimiter():
    d = AdaBlock(delimiters=(0,), tau=0.3, block=3, look=5)
    s, p = window(0.2, 0.35, 0.25, 0.5, 0.1, 0.9, 0.9)
    assert d.found(s, *p.best()).tolist() == [4]  # 5 and 6 are out of sight
    assert replace(d, tau=0.6).found(s, *p.best()).tolist() == [3]  # none is sure enough
    after = d.step(d.begin(d.init(s)), p)
    assert (~after.open)[0].nonzero().flatten().tolist() == [3]  # the best in the block, though others are surer
    with pytest.raises(UsageError, match="leave steps out"):
        get("ada_block:base=(llada:steps=4)")
    with pytest.raises(UsageError, match="this host has no tokenizer"):
        decode(TOY, get('ada_block:delimiters="x"'), ROWS, length=4)
    with pytest.raises(UsageError, match=r"delimiters must be a text or token ids, not 3\+-1"):
        get("ada_block:delimiters=3+-1")


@pytest.mark.parametrize("toy", [TOY, ToyModel(seed=3, block_causal=True)], ids=["both", "blocks"])
def test_blocks_without_a_delimiter_are_plain_blocks(toy):
    plain = decode(toy, get("threshold"), ROWS, length=20, windows=Blocks(4))
    assert decode(toy, get("ada_block:block=4,look=9,delimiters=77"), ROWS, length=20, windows=Blocks(4)) == plain


def test_pc_sampler_holds_back_what_is_common(tmp_path):
    path = tmp_path / "corpus.safetensors"
    save_file({"frequency": torch.tensor([1000.0, 1, 1, 1, 0])}, path)
    s, p = window(0.9, 0.9, 0.9)
    logits = p.logits.clone()
    logits[0, 1] = logits[0, 1].roll(1)  # here it is token 1, which is rare
    p = replace(p, logits=logits)
    chosen = [
        (~get(f"pc_sampler:decay=0.0{x}").step(s, p).open)[0].nonzero().flatten().tolist()
        for x in ("", f",corpus={path}")
    ]
    assert chosen == [[0], [1]]
    with pytest.raises(UsageError, match="there is no file"):
        get("pc_sampler:corpus=nowhere.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"what")
    with pytest.raises(UsageError, match="is no safetensors file"):
        get(f"pc_sampler:corpus={other}")
    nothing = tmp_path / "nothing.safetensors"
    save_file({"frequency": torch.zeros(5)}, nothing)
    with pytest.raises(UsageError, match="must hold one tensor 'frequency'"):
        get(f"pc_sampler:corpus={nothing}")


def test_pc_sampler_does_not_prefer_what_the_corpus_lacks_whatever_its_confidence(tmp_path):
    """The smallest input: an unsure absent token beside a sure one of frequency 1/63."""
    path = tmp_path / "corpus.safetensors"
    save_file({"frequency": torch.tensor([1.0, 0, 62, 0, 0, 0])}, path)
    s, p = window(0.05, 0.992, vocab=30)

    def first(absent_is, more=""):
        logits = p.logits.clone()
        logits[0, 0] = torch.full((30,), (1 - absent_is) / 29).log()
        logits[0, 0, 25] = math.log(absent_is)  # a token that the table does not even reach
        d = get(f"pc_sampler:decay=0.0,corpus={path}{more}")
        return (~d.step(s, replace(p, logits=logits)).open)[0].nonzero().flatten().tolist()

    assert first(0.05) == first(0.05, ",absent=2e-9") == [1]
    assert first(0.1) == [1]  # as though it occurred once
    assert first(0.1, ",absent=1e-30") == [0]


def test_the_certainty_prior_grows_from_what_is_known():
    s, _ = window(*[0.5] * 6)
    density = get("certainty_prior:sigma=2.0").density(replace(s, position=s.position + 50))[0]
    assert (density.diff() < 0).all()
    known = replace(s, open=s.open & (torch.arange(6) != 5))
    assert get("certainty_prior:sigma=2.0").density(known)[0].argmax() == 5


@pytest.mark.parametrize(
    ("start", "decided", "rest"), [(3, [], 0), (50, [2], 0), (0, [5], 0), (0, [5], 4), (2, [0, 5], None)]
)
def test_the_certainty_prior_at_its_edges(start, decided, rest):
    """All left of the window is known, also where there is no text; what is right of the row is, once its last position
    is."""
    s, _ = window(*[0.5] * 6)
    s = replace(s, position=s.position + start, open=torch.tensor([[i not in decided for i in range(6)]]))
    s = replace(s, limit=None if rest is None else s.position[:, 0] + s.room + rest)
    over = 5 in decided and not rest
    known = [j for j in range(-13, 19) if j < 0 or j in decided or (j > 5 and over)]
    by_hand = [sum(math.exp(-((i - j) ** 2) / 8) for j in known) for i in range(6)]
    assert get("certainty_prior:sigma=2.0").density(s)[0].tolist() == pytest.approx(by_hand, abs=1e-4)


def saber_window(open_, *confidences):
    s, p = window(*confidences)
    opened = torch.tensor([[i in open_ for i in range(len(confidences))]])
    return replace(s, editable=torch.ones_like(s.open), open=opened, confidence=(~opened * 0.9).float()), p


def decided(s):
    return (~s.open)[0].nonzero().flatten().tolist()


def test_saber_takes_back_what_fell_most_in_one_forward_what_is_new_included():
    d, (s, p) = get("saber"), saber_window(range(5), 0.9, 0.8, 0.7, 0.6, 0.5)
    s = d.step(d.begin(d.init(s)), p)
    assert decided(s) == [0]  # two come in, and with nothing before the less sure of them is taken back
    t = d.step(s, saber_window((), 0.3, 0.85, 0.95, 0.6, 0.5)[1])
    assert decided(t) == [1, 2]  # only 2 is above the mean of 0.9, so the best two are taken; 0 has fallen by 0.6
    u = d.step(s, saber_window((), 0.95, 0.2, 0.1, 0.55, 0.45)[1])  # 3 and 4 fall by 0.05, and 0 rises
    assert decided(u) in ([0, 3], [0, 4])


def test_saber_s_mean_is_over_what_is_decided_now():
    """0.4 was taken back and counts no more; the mean of 0.9 and 0.6 is 0.75."""
    d, (s, p) = get("saber:at_least=1"), saber_window((1, 2, 3, 4), 0.9, 0.76, 0.78, 0.74, 0.7)
    s = replace(d.begin(d.init(s)), confidence=torch.tensor([[0.9, 0.4, 0, 0, 0]]))
    s = replace(s, memo=s.memo._replace(here=d.counted(saber_window((1, 2, 3, 4), *[0.9] * 5)[0])))
    assert (float(s.memo.here.total), int(s.memo.here.number)) == (pytest.approx(0.9), 1)
    s = replace(s, memo=s.memo._replace(earlier=Sum(torch.tensor([0.6], dtype=torch.double), torch.tensor([1]))))
    new = d.step(s, p)
    assert int((s.open & ~new.open).sum()) == 1  # 1 and 2 are above 0.75, and one position is taken back
    assert decided(d.step(replace(s, memo=s.memo._replace(before=torch.tensor([[0.0, 2, 0, 0, 0]]))), p)) == [0, 2]


def test_saber_leaves_a_window_that_it_has_filled_and_ends():
    d, (s, p) = get("saber"), saber_window((0, 1), 0.9, 0.8, 0.7)
    assert decided(d.step(d.begin(d.init(s)), p)) == [0, 1, 2]
    for at_least in (1, 2, 5):
        assert all(row.nfe <= 20 for row in decode(TOY, get("saber", at_least=at_least), ROWS, length=20))


# --- recorded
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the golden data is not here")
@pytest.mark.parametrize(("reference", "passed", "flagged", "skipped"), [
    ("adablock", 3, 0, 0), ("diffusers", 10, 0, 0), ("dinfer", 17, 0, 0), ("dus", 3, 0, 0), ("klass", 8, 2, 0),
    ("local_leap", 3, 0, 0), ("pc_sampler", 3, 0, 0), ("saber", 2, 1, 0),
    ("slow_fast", 1, 2, 0),
])
def test_recorded_runs(reference, passed, flagged, skipped):
    found = [r.status for r in replay(SHARED, reference)]
    assert [found.count(s) for s in ("passed", "reference_bug", "skipped", "failed")] == [passed, flagged, skipped, 0]
