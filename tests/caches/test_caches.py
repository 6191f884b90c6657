"""Cache policies: what each one computes against a naive twin, that nothing unstored is ever read, that approximation
is known as such, and every decoder with every cache on small transformers."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Qwen3ForCausalLM

from decoders import Blocks, Cache, Decoder, Plan, Pred, State, UsageError, apply, decode, get, get_cache, prepare
from decoders.caches.drift import Drift
from decoders.core import (
    APPROXIMATE,
    NOTHING,
    Attention,
    Canvas,
    Forward,
    SessionSpec,
    Shape,
    Trace,
    layout,
    must_recompute,
    refresh,
    session_spec,
)
from decoders.models.adapter import TransformersModel
from decoders.models.columns import parted
from decoders.models.guidance import Guided
from decoders.registry import entries
from decoders.testing.toy import ToyModel
from decoders_bench.golden.models import purify
from support.marks import turns
from support.networks import network
from support.strategies import BRIEF

CACHES = [e.name for e in entries("caches")]
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 2, 1], [9]]
MASK = 23
SETTINGS = {"bidirectional": {}, "shifted": {"shifted": True}, "blocks": {"block_causal": True},
            "sub-blocks": {"block_causal": True, "shifted": True, "attention_block": 8}}


@pytest.fixture(scope="module")
def net() -> Qwen3ForCausalLM:
    return purify(network())


@pytest.fixture(scope="module")
def plain_net() -> Qwen3ForCausalLM:
    """With transformers' own attention, which can be asked for its maps."""
    return network()


@dataclass(frozen=True)
class Everything(Cache):
    """Calls everything stale."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.ones_like(after.open)


@dataclass(frozen=True)
class Nothing(Cache):
    """Calls nothing stale."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.zeros_like(after.open)


@dataclass(frozen=True)
class Whim(Cache):
    """Calls anything stale, by a hash of forward and column."""

    odds: float = 0.5

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        everywhere = replace(before, position=after.column.expand_as(after.tokens))
        return everywhere.uniform(77) < self.odds


# --- what is computed
# ---------------------------------------------------------------------------------------------------------


Step = tuple[Canvas, Forward, Pred, Canvas]


def run(model: Any, decoder: Decoder, cache: Cache, block: int, prompts: list[list[int]], length: int) -> list[Step]:
    """Every forward with the canvas before and after it."""
    plan = Plan(decoder, Blocks(block, model.attention_block), cache, max_steps=200)
    c = layout(
        Shape.of(model), decoder, prompts, length=length, keys=range(len(prompts)), windows=plan.windows, cache=cache
    )
    session, out = model.session(session_spec(plan, c)), []
    while bool(c.live.any()):
        f = prepare(plan, c)
        p = session(f)
        after = apply(plan, c, f, p)
        out.append((c, f, p, after))
        c = after
    return out


def naive(name: str, c: Canvas, b: int, history: list[Step], options: dict[str, Any]) -> set[int]:
    """The columns that the policy says are stale after `history`, row by row and column by column, on a bidirectional
    canvas."""
    before, _, p, after = history[-1]
    row = set(range(int(c.limit[b])))
    window = set(range(int(c.start[b]), int(c.start[b] + c.size[b])))
    open_ = {i for i in row if bool(c.open[b, i])}
    decided = {i for i in row if bool(before.open[b, i]) and not bool(after.open[b, i])}
    entered, clock = int(c.step[b]) == 0, int(c.clock[b])
    if name == "prefix":
        return row if entered else {i for i in row if i >= min(window)}
    if name == "dual":
        return row if entered else window
    if name == "dkv":
        forward = int(c.step[b])
        return row if forward < 2 or forward % options["refresh"] == 0 else open_ | decided
    if name == "interval":
        now = (open_ & window) | decided
        for i in row:
            if clock % (options["response"] if bool(c.editable[b, i]) else options["prompt"]) == 0:
                now.add(i)
            elif i not in (open_ & window) | decided:
                now.discard(i)
        return now
    assert name == "entropycache"
    # the toy gives a row of logits for every window position
    entropy = torch.special.entr(p.logits[b].softmax(-1)).sum(-1)
    start = int(before.start[b])
    if max((float(entropy[i - start]) for i in decided), default=-1.0) > options["tau"]:
        return row
    made = sorted((i for i in row if int(c.committed_at[b, i]) >= 0), key=lambda i: (-int(c.committed_at[b, i]), i))
    return set(made[: options["k"]]) | (open_ & window)


@pytest.mark.parametrize(
    ("name", "options"),
    [("prefix", {}), ("dual", {}), ("dkv", {"refresh": 3}), ("interval", {"prompt": 4, "response": 2}),
     ("interval", {"prompt": 2, "response": 6}), ("entropycache", {"tau": 1.2, "k": 2}),
     ("entropycache", {"tau": 0.0, "k": 64}), ("entropycache", {"tau": 9.0, "k": 3})],
)
@pytest.mark.parametrize("spec", ["threshold:tau=0.5", "first_hitting"])
def test_a_policy_computes_what_its_paper_says(name: str, options: dict[str, Any], spec: str) -> None:
    steps = run(ToyModel(seed=3, sharp=12.0), get(spec), get_cache(name, **options), 4, PROMPTS, 10)
    refreshes = set()
    for k in range(1, len(steps)):
        c, f = steps[k][:2]
        for b in range(len(PROMPTS)):
            if not bool(c.live[b]):
                assert not f.compute[b].any()
                continue
            expected = naive(name, c, b, steps[:k], options)
            assert set(f.compute[b].nonzero().flatten().tolist()) == expected, (k, b)
            refreshes.add(len(expected) == int(c.limit[b]))
    assert refreshes == ({True} if options.get("tau") == 0 else {False} if options.get("tau") == 9 else {True, False})


def test_dkv_keeps_nothing_of_a_window_s_first_forward() -> None:
    """Counts of the official code: 6 prompt tokens, 8 more in blocks of 4, one decided a forward, everything again
    every 4."""
    steps = run(ToyModel(), get("first_hitting"), get_cache("dkv:refresh=4"), 4, [[1, 2, 3, 4, 5, 6]], 8)
    assert [int(f.compute[0].sum()) for _, f, _, _ in steps] == [14, 14, 7, 6, 14, 14, 3, 2]


def test_rows_of_one_batch_refresh_at_different_steps() -> None:
    """Rows that refresh beside rows that do not become what they become alone, and spend the same."""
    model, decoder, cache = (
        ToyModel(seed=3, sharp=12.0),
        get("threshold", tau=0.5),
        get_cache("entropycache", tau=1.2, k=2),
    )
    steps = run(model, decoder, cache, 4, PROMPTS, 10)
    full = [
        [int(f.compute[b].sum()) == int(c.limit[b]) for b in range(3) if bool(c.live[b])] for c, f, _, _ in steps[1:]
    ]
    assert any(len(set(rows)) > 1 for rows in full)
    together = decode(model, decoder, PROMPTS, length=10, windows=Blocks(4), cache=cache, seeds=[0, 1, 2])
    alone = [
        decode(model, decoder, [p], length=10, windows=Blocks(4), cache=cache, seed=i)[0] for i, p in enumerate(PROMPTS)
    ]
    assert together == alone
    assert [(r.positions_computed, r.positions_reused) for r in together] == [
        (r.positions_computed, r.positions_reused) for r in alone
    ]


@pytest.mark.parametrize(
    ("counts", "bound"),
    [
        ([5], None), ([5, 5, 5], None), ([100, 4], 4), ([100, 4, 3, 90], 4), ([100, 90, 80, 70], None),
        ([100, 0, 0, 0], 0), ([0, 0], None),
    ],
)
def test_a_forward_is_parted_where_that_saves_a_quarter(counts: list[int], bound: int | None) -> None:
    assert parted(counts) == bound


@pytest.mark.parametrize("setting", ["bidirectional", "shifted", "blocks"])
def test_a_forward_in_two_parts_is_the_same_as_in_one(
    net: Qwen3ForCausalLM, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt beside short ones, and rows that refresh at different forwards."""
    model, prompts = TransformersModel(net, mask_id=MASK, **SETTINGS[setting]), [*PROMPTS, list(range(1, 22)) * 3]

    def rows() -> tuple[list[Any], list[int]]:
        ran: list[int] = []
        monkeypatch.setattr(model, "states", lambda *a: ran.append(a[0].numel()) or TransformersModel.states(model, *a))
        cache = get_cache("entropycache", tau=1.5, k=2)
        return decode(model, get("threshold", tau=0.3), prompts, length=12, windows=Blocks(4), cache=cache, seed=5), ran

    in_parts, parts = rows()
    monkeypatch.setattr("decoders.models.adapter.parted", lambda counts: None)
    whole, all_ = rows()
    assert in_parts == whole
    assert len(parts) > len(all_)
    assert sum(parts) < 0.75 * sum(all_)


# --- what may be trusted
# ---------------------------------------------------------------------------------------------------


def layers(session: Any) -> Tensor:
    return torch.stack(session.layers)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.booleans(), st.floats(0, 1), st.integers(1, 7), st.integers(0, 5))
def test_nothing_unstored_is_read_and_approximation_is_known(
    block_causal: bool, odds: float, block: int, seed: int
) -> None:
    """Whatever a policy says: a visible column is stored before it is read, and a column that the exact rule does not
    recompute holds what a fresh model would compute."""
    toy = ToyModel(block_causal=block_causal, seed=seed)
    plan = Plan(get("threshold", tau=0.3), Blocks(block), Whim(odds))
    c = layout(Shape.of(toy), plan.decoder, PROMPTS, length=9, keys=[1, 2, 3], windows=plan.windows, cache=plan.cache)
    session = toy.session(session_spec(plan, c))
    while bool(c.live.any()):
        f = prepare(plan, c)
        within = (c.column < c.reach[:, None]) & c.live[:, None]
        assert not (within & (c.store.tokens == NOTHING) & ~f.compute).any()
        session(f)
        after = apply(plan, c, f, Pred(torch.randn(3, c.width, 11), torch.arange(c.width).expand(3, -1), c.width))
        fresh = toy.session(session_spec(plan, c))
        fresh(replace(f, compute=torch.ones_like(f.compute)))
        trusted = (after.store.tokens == f.tokens) & (after.store.until == f.until) & within
        assert torch.equal(layers(session)[:, trusted], layers(fresh)[:, trusted])
        assert not (refresh(after) & trusted & ~must_recompute(after, after.tokens, after.until, after.reach)).any()
        c = after


def test_a_window_left_without_a_change_still_refreshes_what_was_approximate() -> None:
    """The stored tokens all equal the shown ones, and yet what saw the old ones is out of date."""
    steps = run(ToyModel(), get("threshold", tau=0.0), get_cache("dual"), 4, [[1, 2]], 8)
    entered = [(c, f) for c, f, _, _ in steps if int(c.step) == 0]
    assert len(entered) == 2
    assert int(entered[1][1].compute.sum()) == 10
    steps = run(ToyModel(), get("first_hitting"), get_cache("dual"), 4, [[1, 2]], 8)
    second = next(after for c, _, _, after in steps if int(c.step) == 1)
    assert (second.store.tokens[0, :2] == APPROXIMATE).all()


def test_a_policy_that_trusts_everything_still_decodes() -> None:
    for model in (ToyModel(), ToyModel(block_causal=True), ToyModel(block_causal=True, causal_context=True)):
        rows = decode(model, get("threshold"), PROMPTS, length=9, windows=Blocks(4), cache=Nothing())
        assert [row.finish_reason for row in rows] == ["length"] * 3


@pytest.mark.parametrize(
    ("spec", "setting"), turns(["threshold:tau=0.4", "llada", "factor", "left_to_right"], SETTINGS)
)
def test_a_policy_that_calls_everything_stale_changes_nothing(net: Qwen3ForCausalLM, setting: str, spec: str) -> None:
    model = TransformersModel(net, mask_id=MASK, **SETTINGS[setting])
    windows = Blocks(4, model.attention_block)
    policies = Everything(), get_cache("none"), get_cache("exact")
    rows = [decode(model, get(spec), PROMPTS, length=12, windows=windows, cache=policy) for policy in policies]
    assert rows[0] == rows[1] == rows[2]
    if spec != "left_to_right":  # causal rows keep to the exact rule
        assert [r.positions_computed for r in rows[0]] == [r.positions_computed for r in rows[1]]


@pytest.mark.parametrize("setting", ["blocks", "sub-blocks"])
@pytest.mark.parametrize("spec", ["threshold:tau=0.4", "llada", "left_to_right"])
def test_block_is_exact_and_spends_no_forward_on_a_finished_block(
    net: Qwen3ForCausalLM, setting: str, spec: str
) -> None:
    model = TransformersModel(net, mask_id=MASK, **SETTINGS[setting])
    runs = {}
    for name in ("block", "none"):
        trace = Trace()
        rows = decode(
            model, get(spec), PROMPTS, length=13, windows=Blocks(4, model.attention_block), cache=get_cache(name),
            watch=trace,
        )
        runs[name] = rows, trace
    assert runs["block"][0] == runs["none"][0]
    for ours, theirs in zip(runs["block"][1].preds, runs["none"][1].preds, strict=True):
        assert torch.equal(ours.at, theirs.at)
        wanted = ours.at < ours.width
        torch.testing.assert_close(ours.logits[wanted], theirs.logits[wanted], rtol=0, atol=1e-9)
    for cached, whole in zip(*(runs[name][0] for name in ("block", "none")), strict=True):
        assert cached.positions_computed < whole.positions_computed
        assert cached.cache_hit_rate > 0 == whole.cache_hit_rate
    for f in runs["block"][1].forwards:
        assert bool((f.want.any(-1) | ~f.compute.any(-1)).all())  # no forward that only stores


# --- every decoder with every cache
# -------------------------------------------------------------------------------------------


def matrix() -> Iterator[Any]:
    """Every decoder with every cache in every setting; by default each decoder with a cache in a setting, in turns,
    and the others are slow."""
    for i, spec in enumerate(BRIEF):
        for j, cache in enumerate(CACHES):
            for k, setting in enumerate(SETTINGS):
                turn = (i - j) % len(CACHES) == 0 and (i + j) % len(SETTINGS) == k
                yield pytest.param(spec, cache, setting, marks=() if turn else pytest.mark.slow)


@pytest.fixture(scope="module")
def rows(plain_net: Qwen3ForCausalLM) -> Callable[..., list[Any]]:
    """Decodes prompts; all caches are held against the same run without one."""

    @lru_cache(maxsize=64)  # the settings of a strategy, and more
    def rows(setting: str, spec: str, cache: str, some: tuple[int, ...] = (0, 1, 2)) -> list[Any]:
        model = TransformersModel(plain_net, mask_id=MASK, reordered=True, **SETTINGS[setting])
        return decode(
            model, get(spec), [PROMPTS[i] for i in some], length=12, windows=Blocks(4, model.attention_block),
            cache=get_cache(cache), seeds=some, max_steps=200,
        )

    return rows


@pytest.mark.parametrize(("spec", "cache", "setting"), list(matrix()))
def test_the_matrix(rows: Callable[..., list[Any]], setting: str, spec: str, cache: str) -> None:
    if get_cache(cache).needs_blocks and not SETTINGS[setting].get("block_causal"):
        with pytest.raises(UsageError, match="is for block-causal models"):
            rows(setting, spec, cache)
        return
    whole, together = (rows(setting, spec, name) for name in ("none", cache))
    alone = [rows(setting, spec, cache, (i,))[0] for i in range(len(PROMPTS))]
    for row, single, full, prompt in zip(together, alone, whole, PROMPTS, strict=True):
        assert row == single
        assert row.finish_reason == "length"
        assert row.canvas[: len(prompt)] == tuple(prompt)
        assert len(row.tokens) == 12
        assert (row.positions_computed, row.positions_reused) == (single.positions_computed, single.positions_reused)
        assert row.flops == pytest.approx(single.flops)
        if cache == "none":
            assert row.positions_reused == 0
        elif row.nfe == full.nfe:
            assert row.positions_computed <= full.positions_computed
            assert row.flops <= full.flops


@dataclass(frozen=True)
class Blind(ToyModel):
    capabilities = ToyModel.capabilities - {"attention"}


# --- what a policy needs
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "cache", "says"),
    [
        (ToyModel(), "block", "the cache Block is for block-causal models"),
        (Blind(), "drift", "the cache Drift reads attention maps, and this model gives none"),
        (Guided(ToyModel(), 1.0), "drift", "gives none"),
    ],
)
def test_a_cache_that_does_not_fit_the_model_is_refused(model: Any, cache: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        decode(model, get("threshold"), PROMPTS, length=4, cache=get_cache(cache))


@dataclass(frozen=True)
class Storeless(ToyModel):
    capabilities = frozenset()


@pytest.mark.parametrize("cache", CACHES)
def test_a_model_that_stores_nothing_knows_two_caches(cache: str) -> None:
    def rows() -> Any:
        return decode(
            Storeless(block_causal=True), get("threshold"), PROMPTS, length=4, windows=Blocks(4),
            cache=get_cache(cache),
        )

    if cache in ("exact", "none"):
        assert rows()
    else:
        with pytest.raises(UsageError, match="keeps none; take exact or none"):
            rows()
    with pytest.raises(UsageError, match="cannot do that"):
        decode(Storeless(), get("left_to_right"), PROMPTS, length=4)


@pytest.mark.parametrize(
    "text", ["entropycache:tau=-1", "entropycache:k=-1", "dkv:refresh=0", "interval:prompt=0", "drift:gamma=2"]
)
def test_options_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be"):
        get_cache(text)


# --- attention
# ----------------------------------------------------------------------------------------------------------------


def test_attention_is_answered_by_column() -> None:
    weights = torch.tensor([[[0.1, 0.9, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]])
    a = Attention(weights, torch.tensor([[0, 2, 3]]))  # column 3 is the bin, so the last row is padding
    assert a.of(torch.tensor([2])).tolist() == [[0.0, 0.5, 0.5, 0.0]]
    assert a.of(torch.tensor([1])).tolist() == [[0.0] * 4]
    torch.testing.assert_close(a.onto(torch.tensor([[True, True, True, False]])), torch.tensor([[0.1, 1.4, 0.5, 0.0]]))


def test_maps_are_those_of_the_model_and_the_model_is_left_as_it_was(plain_net: Qwen3ForCausalLM) -> None:
    model = TransformersModel(plain_net, mask_id=MASK)
    before = plain_net.config._attn_implementation
    steps = run(model, get("first_hitting"), get_cache("drift"), 4, [[1, 2, 3]], 8)
    _, f, p, _ = steps[0]
    assert before == plain_net.config._attn_implementation == "sdpa"
    tokens, n = f.tokens[:, :11], 11
    plain_net.set_attn_implementation("eager")
    nothing_hidden = torch.zeros(1, 1, n, n, dtype=torch.double)
    out = plain_net(tokens, attention_mask=nothing_hidden, position_ids=torch.arange(n)[None], output_attentions=True)
    plain_net.set_attn_implementation(before)
    expected = torch.stack(out.attentions).mean((0, 2))[0]
    assert p.attention is not None
    for i in range(n):
        torch.testing.assert_close(p.attention.of(torch.tensor([i]))[0, :n], expected[i], rtol=0, atol=1e-12)


def refreshed(steps: list[Step]) -> list[bool]:
    return [bool(f.compute[0].sum() == c.limit[0]) for c, f, _, _ in steps[1:]]


def test_drift_refreshes_once_the_watched_token_has_drifted(plain_net: Qwen3ForCausalLM) -> None:
    model = TransformersModel(plain_net, mask_id=MASK)

    def steps(gamma: float) -> list[Step]:
        return run(model, get("first_hitting"), Drift(gamma=gamma), 4, [[1, 2, 3, 4]], 12)

    assert not any(refreshed(steps(0.0)))
    assert sum(refreshed(steps(1.0))) >= 8
    some = steps(0.97)
    assert set(refreshed(some)) == {True, False}
    for (c, _, p, after), (_, f, _, _) in pairwise(some):
        now, was = p.attention.of(c.store.memory.column)[0], c.store.memory.attended[0].double()
        drifted = bool(was.sum() > 0) and float(torch.nn.functional.cosine_similarity(now, was, dim=0)) < 0.97
        assert drifted == bool(f.compute[0].sum() == c.limit[0])
        if not drifted:  # the watched token is computed, so that it can be tested again
            watched = f.compute[0] & ~after.open[0]
            assert watched[int(after.store.memory.column[0])]


# --- shapes and memory
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [c for c in CACHES if c != "block"])
def test_shapes_are_few_and_declared(plain_net: Qwen3ForCausalLM, cache: str) -> None:
    model, policy = TransformersModel(plain_net, mask_id=MASK), get_cache(cache)
    plan = Plan(get("first_hitting"), Blocks(8), policy)
    c = layout(Shape.of(model), plan.decoder, PROMPTS, length=40, keys=[0, 1, 2], windows=plan.windows, cache=policy)
    spec = session_spec(plan, c)
    assert list(spec.sizes) == sorted(set(spec.sizes))
    assert spec.sizes[-1] == c.tokens.shape[1] - 1
    session: Any = model.session(spec)
    while bool(c.live.any()):
        f = prepare(plan, c)
        c = apply(plan, c, f, session(f))
    _, columns, wanted = (set(x) for x in zip(*session.shapes, strict=True))
    assert columns <= set(spec.sizes)
    assert wanted <= set(range(1, 9))
    assert len(columns) == 2 or cache != "dual"  # all, and a window


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(x), Tensor) for x in gc.get_objects())  # isinstance would wake lazy modules


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["exact", "entropycache", "drift"])
def test_memory_stays_flat_over_thousands_of_steps(plain_net: Qwen3ForCausalLM, cache: str) -> None:
    marks: list[tuple[int, int]] = []

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        if int(c.clock[0]) % 500 == 0:
            marks.append((resident(), tensors()))

    model = TransformersModel(plain_net, mask_id=MASK)
    spec = "left_to_right" if cache == "exact" else "first_hitting"
    rows = decode(model, get(spec), [[1, 2, 3]], length=2000, windows=Blocks(16), cache=get_cache(cache), watch=watch)
    assert rows[0].nfe == 2000
    assert len(marks) == 4
    assert max(n for _, n in marks[1:]) <= marks[1][1] + 20
    assert marks[-1][0] - marks[1][0] < 16 << 20


@pytest.mark.parametrize("make", [lambda: get("fast-dllm"), lambda: get_cache("dual")])
def test_the_store_is_as_large_as_the_model_says(plain_net: Qwen3ForCausalLM, make: Callable[[], Any]) -> None:
    model = TransformersModel(plain_net, mask_id=MASK)
    session: Any = model.session(SessionSpec(2, 17, 4))
    columns, every = torch.arange(17), torch.ones(2, 17, dtype=torch.bool)
    want = torch.zeros(2, 4, dtype=torch.bool)
    session(Forward(
        tokens=torch.ones(2, 17, dtype=torch.long), until=torch.full((2, 17), 16), compute=every, outdated=~every,
        given=~every, at=columns[:4].expand(2, -1), want=want, causal=want[:, 0], entered=want[:, 0], phase=columns[:2],
        unseen=torch.zeros(2, 17, 2, dtype=torch.long), left_out=want,
        candidate_tokens=torch.zeros(2, 0, 4, dtype=torch.long), candidate_want=torch.zeros(2, 0, 4, dtype=torch.bool),
    ))
    stored = sum(x.numel() * x.element_size() for pair in session.cache.stored.values() for x in pair)
    assert stored == 2 * 17 * model.column_bytes


def test_the_head_runs_on_wanted_rows_only() -> None:
    """At a vocabulary of 126 k the logits of a whole canvas would not fit."""
    net, rows = network(), []
    net.lm_head.register_forward_hook(lambda module, args, out: rows.append(out.shape[1]))
    model, wanted = TransformersModel(net, mask_id=MASK), []
    decode(
        model, get("first_hitting"), [[1, 2, 3]], length=64, windows=Blocks(16), watch=lambda f, p,
        c: wanted.append(int(f.want.sum())),
    )
    assert wanted == [n for _ in range(4) for n in range(16, 0, -1)]
    assert all(n <= seen <= n + 1 for n, seen in zip(wanted, rows, strict=True))  # eighths of a window of 16
