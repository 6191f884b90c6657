"""WeDLM's streaming parallel decoding, and windows that are read in an order of their own.

Recorded runs of the official code are replayed in tests/bench/test_golden.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from decoders import Blocks, Query, UsageError, decode, get, get_cache
from decoders.core import Canvas, Forward, Plan, Pred, Shape, Trace, layout, prepare, view
from decoders.core.cache import Exact, must_recompute, others_seen
from decoders.core.windows import Sliding
from decoders.models.adapter import TransformersModel
from decoders.models.source import load_model
from decoders.strategies.wedlm import known_first
from decoders.testing.oracle import Oracle, distance, floor
from decoders.testing.toy import ToyModel
from support.checkpoints import write
from support.laws import lawsuits

GOLDEN = Path(__file__).parents[1] / "data/golden"
TINY = str(GOLDEN / "models/wedlm-tiny")
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [14, 15, 16, 17, 18]]
ORACLE = Oracle()
SPEC = "wedlm:window=6,tau=1.6,penalty=0.05"


@pytest.fixture(scope="module")
def tiny() -> Any:
    model: Any = load_model(TINY).model
    model.model.double()
    return model


@pytest.mark.parametrize(("spec", "law"), lawsuits(["wedlm:window=5,temperature=1.0,top_k=5,tau=1.5"]))
def test_law(spec: str, law: Any) -> None:
    law(get(spec))


@pytest.mark.parametrize("spec", ["wedlm:temperature=1.0,tau=0.0", "wedlm:temperature=1.0,tau=0.0,window=2"])
def test_one_token_a_forward_has_the_models_distribution(spec: str) -> None:
    mean, deviation = floor(ORACLE, 3000)
    tv, nfe = distance(get(spec), ORACLE, 3000)
    assert tv < mean + 4 * deviation
    assert nfe == ORACLE.length


def plainly(net: Any, f: Forward, row: int, limit: int) -> dict[int, Tensor]:
    """Window position to logits: the known tokens, then the masks, in one causal forward of transformers' own without a
    mask of ours, each at its place in the text, which ends at `limit`."""
    tokens, first, wanted = f.tokens[row], int(f.at[row, 0]), f.at[row][f.want[row]].tolist()
    known = [x for x in range(min(int(f.at[row].max()) + 1, limit)) if x not in wanted]
    assert known[:first] == list(range(first))
    place = torch.tensor([[*known, *wanted]])
    with torch.inference_mode():
        ones = torch.ones_like(place)
        logits = net(input_ids=tokens[place], attention_mask=ones, position_ids=place, use_cache=False).logits[0]
    return {w: logits[len(known) + i] for i, w in enumerate(x - first for x in wanted)}


@pytest.mark.parametrize("cache", ["exact", "none"])
def test_a_mask_sees_all_that_is_known_and_predicts_its_own_position(tiny: Any, cache: str) -> None:
    """Every prediction of a run, with what is stored, is that of a plain causal forward in the other order."""
    errors, holes = [], 0
    prompts = [json.loads(p.read_text())["prompt"][0] for p in sorted((GOLDEN / "cases/wedlm").glob("*.json"))]

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        nonlocal holes
        for b, prompt in enumerate(prompts):
            if not f.want[b].any():
                continue
            want = plainly(tiny.model, f, b, len(prompt) + 21)
            holes += any(int(w) + 1 not in want and int(w) + 1 < max(want) for w in want)
            errors.extend(
                (p.logits[b, i] - want[w]).abs().max().item()
                for i, w in enumerate(p.at[b].tolist()) if w < p.width
            )

    spec = "wedlm:window=6,tau=0.4,penalty=0.0"
    decode(tiny, get(spec), prompts, length=21, stop=False, watch=watch, cache=get_cache(cache))
    assert len(errors) > 100
    assert max(errors) < 1e-5
    assert holes > 0, "no mask had a known token to its right"


def test_stored_keys_and_values_change_nothing_and_the_prefix_is_never_run_again(tiny: Any) -> None:
    ran: list[Tensor] = []

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        ran.append(f.compute[0])

    exact = decode(tiny, get(SPEC), PROMPTS, length=24, stop=False, watch=watch)
    none = decode(tiny, get(SPEC), PROMPTS, length=24, stop=False, cache=get_cache("none"))
    assert exact == none
    assert ran[0][: len(PROMPTS[0])].all()
    assert not torch.stack(ran[1:])[:, : len(PROMPTS[0])].any()
    assert sum(r.positions_computed for r in exact) < sum(r.positions_computed for r in none) / 2


@pytest.mark.parametrize("name", ["block", "prefix", "dual", "interval", "drift"])
@pytest.mark.parametrize("block_causal", [False, True])
def test_caches_are_exact_where_windows_have_an_order(name: str, block_causal: bool) -> None:
    cache, model = get_cache(name), ToyModel(vocab=24, mask_id=23, block_causal=block_causal, sharp=16.0)
    if cache.needs_blocks != block_causal:
        pytest.skip("a cache for the other kind of model")
    how: dict[str, Any] = {"length": 12, "windows": Blocks(4)}
    assert decode(model, get(SPEC), PROMPTS, cache=cache, **how) == decode(model, get(SPEC), PROMPTS, **how)


def test_windows_slide_and_hold_so_many_masks(tiny: Any) -> None:
    trace = Trace()
    decode(tiny, get(SPEC), PROMPTS[:1], length=24, stop=False, watch=trace)
    opened = [3 + 24 if not c.open[0].any() else int(c.open[0].long().argmax()) for c in trace.canvases]
    starts = [int(f.at[0, 0]) for f in trace.forwards]
    assert starts == [3, *opened[:-1]]
    ends = [int(f.at[0][f.want[0]].max()) + 1 for f in trace.forwards]
    assert all(end <= min(start + 6, 3 + 24) for start, end in zip(starts, ends, strict=True))
    assert len({b - a for a, b in zip(starts, opened, strict=True)}) > 1


def test_a_threshold_of_nothing_commits_the_lowest() -> None:
    (row,) = decode(ToyModel(vocab=24, mask_id=23), get("wedlm:tau=0"), PROMPTS[:1], length=9)
    assert row.nfe == 9


def naive_step(entropy: list[float], opened: list[bool], tau: float, penalty: float) -> list[int]:
    """The positions that are committed, by the paper's rule in plain Python."""
    masks = [i for i, o in enumerate(opened) if o]
    worth = {i: entropy[i] + penalty * (i - masks[0]) for i in masks}
    return [i for i in masks if worth[i] < tau] or [min(masks, key=worth.__getitem__)]


def test_the_choice_is_that_of_a_naive_twin() -> None:
    decoder = get("wedlm", window=6, tau=0.8, penalty=0.3)
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        plan = Plan(decoder, Sliding(6), Exact())
        c = layout(Shape.of(ToyModel(mask_id=10)), decoder, [[1, 2]], length=6, keys=[0], windows=plan.windows)
        opened = torch.rand(1, 6, generator=g) < 0.6
        if not opened.any():
            continue
        s = replace(view(c), open=opened)
        p = Pred(4 * torch.randn(1, 6, 11, generator=g, dtype=torch.float64), torch.arange(6)[None], 6)
        committed = (s.open & ~decoder.step(s, p).open)[0].nonzero().flatten().tolist()
        assert committed == naive_step(p.entropy()[0].tolist(), opened[0].tolist(), 0.8, 0.3)


def test_what_is_known_is_read_first() -> None:
    s = view(layout(
        Shape.of(ToyModel(mask_id=10)), get("wedlm:window=8"), [[1]], length=8, keys=[0], windows=Blocks(8)
    ))
    opened = torch.tensor([[True, False, True, False, True, True, False, False]])
    s = replace(s, open=opened, size=torch.tensor([6]))
    assert known_first(s).tolist() == [[2, 0, 3, 1, 4, 5, 6, 7]]


def test_what_is_recomputed_in_another_order_is_what_sees_something_else() -> None:
    """Against sets in plain Python: the columns that see another set than before, or a changed column in theirs."""
    decoder = get("wedlm:window=5")

    def mixed(L: int, g: torch.Generator) -> Tensor:
        rank = torch.arange(L)
        rank[3:8] = rank[3:8][torch.randperm(5, generator=g)]
        return rank[None]

    def seen(rank: Tensor, i: int) -> set[int]:
        return {k for k in range(rank.shape[1]) if rank[0, k] <= rank[0, i]}

    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        model = ToyModel(vocab=24, mask_id=23)
        c = layout(Shape.of(model), decoder, [[1, 2, 3]], length=6, keys=[0], windows=Blocks(5))
        L = c.tokens.shape[1]
        old, new = mixed(L, g), mixed(L, g) if seed % 3 else torch.arange(L)[None]
        same = torch.rand(1, L, generator=g) < 0.9
        store = replace(c.store, tokens=torch.where(same, c.tokens, 5), until=old + 1, rank=old)
        found = must_recompute(replace(c, store=store), c.tokens, new + 1, torch.tensor([8]), None, new)[0].tolist()
        changed = {i for i in range(8) if not same[0, i] or seen(old, i) != seen(new, i)}
        assert found == [i < 8 and bool(changed & seen(new, i)) for i in range(L)]
        equal = [int(old[0, i]) == int(new[0, i]) and seen(old, i) != seen(new, i) for i in range(L)]
        assert (others_seen(old, new, new + 1)[0] & (old == new)[0]).tolist() == equal


def test_an_order_stands_alone_in_a_query() -> None:
    tokens = torch.zeros(1, 4, dtype=torch.long)
    order = torch.arange(4)[None]
    with pytest.raises(ValueError, match="a query with an order of its own cannot say causal, sight or left_out"):
        Query(tokens, tokens == 0, torch.tensor([True]), order=order)


def test_a_law_holds_orders_to_numbers_that_occur_once() -> None:
    from decoders.testing.moves import asks_what_it_may

    class Twice(type(get("wedlm"))):  # type: ignore[misc]
        def query(self, s: Any) -> Query:
            return replace(super().query(s), order=torch.zeros_like(s.tokens))

    with pytest.raises(AssertionError, match="every number from 0 to W - 1 once"):
        asks_what_it_may(Twice())


def test_a_shifted_model_that_was_not_trained_so_is_refused_in_one_line(net: Any) -> None:
    model = TransformersModel(net, mask_id=23, block_causal=True, attention_block=1, shifted=True)
    with pytest.raises(UsageError, match="WeDLM reads its window in its own order, and this model cannot do"):
        decode(model, get("wedlm"), PROMPTS, length=4, windows=Blocks(1))


def test_the_checkpoint_is_still_an_autoregressive_model(tmp_path: Path) -> None:
    original = write(tmp_path / "c", "wedlm")
    assert original is not None
    model = load_model(str(tmp_path / "c")).model
    assert (model.mask_id, "order" in model.capabilities) == (96, True)
    (row,) = decode(model, get("left_to_right"), PROMPTS[:1], length=8, windows=Blocks(1), stop=False)
    text = list(PROMPTS[0])
    for _ in range(8):
        with torch.inference_mode():
            text.append(int(original(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    assert list(row.canvas) == text


def test_a_stretch_that_is_given_behind_the_holes_is_seen(tiny: Any) -> None:
    """A hole sees the known text right of it that its window reaches."""
    mask = tiny.mask_id
    rows = [
        decode(tiny, get("wedlm:tau=0"), [[1, 2, 3, mask, mask, *end]], length=1, infill=True, stop=False)[0]
        for end in ([9, 9], [30, 31])
    ]
    first = []
    for end in ([9, 9], [30, 31]):
        plan = Plan(get("wedlm:tau=0"), Blocks(1, within=1), Exact())
        c = layout(
            Shape.of(tiny), plan.decoder, [[1, 2, 3, mask, mask, *end]], length=1, keys=[0], windows=plan.windows,
            infill=True,
        )
        f = prepare(plan, c)
        assert f.rank is not None
        assert f.rank[0, :8].tolist() == [0, 1, 2, 5, 6, 3, 4, 7]
        first.append(plainly(tiny.model, f, 0, 8)[0])
    assert not torch.allclose(*first)
    assert [row.canvas[5:7] for row in rows] == [(9, 9), (30, 31)]
