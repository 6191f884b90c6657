"""Forwards of whole rows, of which nothing is kept, against those that keep keys and values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decoders import Blocks, decode, get, get_cache
from decoders.core import Plan, Shape, layout, prepare, session_spec
from decoders.core.model import row_bytes
from decoders.engine.sizes import Footprint
from decoders.models.adapter import TransformersModel, TransformersSession
from decoders.models.guidance import Guided
from decoders.models.planner import WithPlanner
from decoders.models.whole import WholeSession
from decoders_bench.golden.models import purify
from support.networks import network

MASK = 10
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 2, 1], [9]]
SETTINGS = {"bidirectional": {}, "shifted": {"shifted": True}, "blocks": {"block_causal": True}}


@pytest.fixture(scope="module")
def net():
    return purify(network())


def rows(model, spec, prompts=PROMPTS):
    decoder = get(spec)
    return decode(model, decoder, prompts, length=8, windows=Blocks(4), cache=get_cache("none"), seed=3)


class Keeping(TransformersModel):
    """With sessions that keep what nobody reads."""

    def session(self, spec):
        return TransformersSession(self, replace(spec, whole=False))


KINDS = TransformersModel, Keeping


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1], [[1, 2], [3, 4]], [[1] * 40, [2], [3]]])
@pytest.mark.parametrize("spec", ["threshold:tau=0.2", "llada", "dream:temperature=0.7"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_row_becomes_the_same_and_costs_the_same(net, setting, spec, prompts):
    ours, kept = (rows(kind(net, mask_id=MASK, **SETTINGS[setting]), spec, prompts) for kind in KINDS)
    assert ours == kept
    assert [(r.positions_computed, r.positions_reused, r.flops) for r in ours] == [
        (r.positions_computed, 0, r.flops) for r in kept
    ]


def test_causal_rows_stand_beside_others(net):
    ours, kept = (rows(kind(net, mask_id=MASK, block_causal=True, shifted=True), "s2d2") for kind in KINDS)
    assert ours == kept


def test_only_plans_that_recompute_everything_keep_nothing(net):
    model = TransformersModel(net, mask_id=MASK)
    spec = session_spec(Plan(get("llada"), Blocks(4), get_cache("none")), laid(model))
    assert isinstance(model.session(spec), WholeSession)
    for other in (replace(spec, whole=False), replace(spec, causal=True), replace(spec, attention=True)):
        assert isinstance(model.session(other), TransformersSession)


@pytest.mark.parametrize(
    ("spec", "setting", "kept"),
    [("llada", "bidirectional", False), ("threshold", "shifted", False), ("remdm", "bidirectional", False),
     ("left_to_right", "bidirectional", True), ("s2d2", "bidirectional", True), ("llada", "blocks", True)],
)
def test_the_exact_rule_keeps_what_a_change_leaves_as_it_is_and_nothing_else(net, spec, setting, kept):
    model = TransformersModel(net, mask_id=MASK, **SETTINGS[setting])
    session = model.session(session_spec(Plan(get(spec), Blocks(4), get_cache("exact")), laid(model)))
    assert isinstance(session, TransformersSession if kept else WholeSession)


@pytest.mark.parametrize("spec", ["threshold:tau=0.2", "ancestral:steps=32", "wino", "remdm"])
def test_what_keeps_nothing_has_the_tokens_of_what_keeps_all(net, spec):
    model = TransformersModel(net, mask_id=MASK)
    exact, none = (decode(model, spec, PROMPTS, length=8, cache=x, seed=5) for x in ("exact", "none"))
    assert [r.tokens for r in exact] == [r.tokens for r in none]
    assert [(r.positions_computed, r.positions_reused) for r in exact] == [(r.positions_computed, 0) for r in none]


def laid(model):
    return layout(Shape.of(model), get("llada"), PROMPTS, length=8, keys=[0, 1, 2], windows=Blocks(4))


def test_no_mask_is_made_where_everything_is_seen(net, monkeypatch):
    model, seen = TransformersModel(net, mask_id=MASK), []
    states = TransformersModel.states
    monkeypatch.setattr(model, "states", lambda *a: seen.append(a[2]) or states(model, *a))
    rows(model, "llada", [[1, 2], [3, 4]])
    assert all(sees is None for sees in seen)
    rows(model, "llada", [[1, 2], [3, 4, 5]])
    assert {sees.shape for sees in seen if sees is not None} == {(2, 1, 11)}, "no rows of columns times columns"


@torch.inference_mode()
def test_a_forward_of_fixed_shape_says_the_same(net):
    model = TransformersModel(net, mask_id=MASK)
    plan, c = Plan(get("llada"), Blocks(4), get_cache("none")), laid(model)
    session, f = model.session(session_spec(plan, c)), prepare(plan, c)
    assert session.needs(f).tolist() == [[11, 4], [15, 4], [9, 4]]
    free, fixed = session(f), session.fixed(f, session.buckets[0][-1], session.buckets[1][-1])
    torch.testing.assert_close(fixed.best()[1], free.best()[1])
    assert torch.equal(fixed.best()[0], free.best()[0])
    assert all(torch.equal(a, b) for a, b in zip(fixed.cost, free.cost, strict=True))


class Watched(TransformersModel):
    """Remembers its sessions' stores."""

    def store(self, spec, columns):
        self.stores_made = [*getattr(self, "stores_made", []), super().store(spec, columns)]
        return self.stores_made[-1]


def stored_and_told(monkeypatch, model, networks, decoder, cache):
    """The bytes that a run of three rows stored, and those that a row takes by `row_bytes`."""
    asked, session = [], type(model).session
    monkeypatch.setattr(type(model), "session", lambda self, spec: asked.append(spec) or session(self, spec))
    decode(model, get(decoder), PROMPTS, length=8, windows=Blocks(4), cache=get_cache(cache), seed=3)
    stores = [s for net in networks for s in getattr(net, "stores_made", [])]
    stored = sum(x.numel() * x.element_size() for s in stores for pair in s.stored.values() for x in pair)
    return stored, row_bytes(model, asked[0]), asked[0]


WAYS = {
    "nothing": ("threshold", "none", {}),
    "nothing, exact": ("threshold", "exact", {}),
    "all columns": ("threshold", "dual", {}),
    "blocks": ("threshold", "exact", {"block_causal": True}),
    "attention maps": ("klass", "drift", {}),
    "probes": ("left_to_right", "exact", {}),
    "probes without a cache": ("left_to_right", "none", {}),
    "causal, shifted": ("left_to_right", "exact", {"shifted": True}),
    "candidates": ("persistent_drafts", "dual", {}),
    "candidates without a cache": ("persistent_drafts", "none", {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_of_a_row_are_those_that_are_stored(monkeypatch, net, way):
    decoder, cache, setting = WAYS[way]
    model = Watched(net, mask_id=MASK, **setting)
    stored, told, spec = stored_and_told(monkeypatch, model, [model], decoder, cache)
    assert stored == len(PROMPTS) * told
    assert (stored == 0) == ("nothing" in way or way == "candidates without a cache")
    # an engine never counts less than is stored, nor less than all columns, for the activations
    canvases = 1 + spec.candidates
    assert Footprint.of(model, spec).stored == max(told, model.column_bytes * spec.columns * canvases)


def test_a_guided_row_is_stored_twice_and_a_planner_stores_its_own(monkeypatch, net):
    inner, planner = Watched(net, mask_id=MASK), Watched(net, mask_id=MASK)
    stored, told, _ = stored_and_told(monkeypatch, Guided(inner, 1.0), [inner], "threshold", "dual")
    assert stored == len(PROMPTS) * told > 0
    inner = Watched(net, mask_id=MASK)
    both = WithPlanner(inner, planner)
    stored, told, _ = stored_and_told(monkeypatch, both, [inner, planner], "p2:planner=forward", "none")
    assert stored == len(PROMPTS) * told
