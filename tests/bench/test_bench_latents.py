"""`decoders bench latents`: what is decoded, how two of its cells are compared, and what the tables say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from decoders import get
from decoders_bench.latents.measure import (
    FORWARDS,
    SAMPLERS,
    UNCLAMPED,
    Outcome,
    Trial,
    masked,
    rounded,
    run,
    sampled,
    sampler,
)
from decoders_bench.latents.tables import (
    beside_table,
    gained,
    latents_tables,
    load_latents,
    pooled_table,
    reading,
    rounding_table,
    verdict,
)
from decoders_bench.nano.train import Plan, steps
from decoders_bench.nano.train_latents import LatentRun, recipe
from support.commands import call

PLACES = [("extract", "easy"), ("shuffle", "easy")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network after two steps, which knows nothing."""
    folder = tmp_path_factory.mktemp("run")
    small = Plan(str(folder), workers=1, hidden=32, layers=1, heads=2, inner=32, steps=2)
    run = LatentRun(replace(recipe(small), positions=200), 0)
    steps(run, lambda step: run.drawn(run.plan, step, [0]), None)
    run.export()
    return str(folder / "model")


def made(kind: str, right: list[bool], forwards: int = 8, clamp: bool = False, **own: object) -> Outcome:
    t = Trial("m", kind, "x", forwards, clamp, "chain", "easy", len(right))
    return Outcome(**({"trial": t, "right": right, "texts": "a", "nfe": 8.0, "rounds": 0.0, "positions": 9.0,
                       "seconds": 1.0} | own))  # fmt: skip


def test_every_sampler_is_tried_with_the_clamp_and_without_in_as_many_forwards():
    trials = sampled("m", PLACES, 5, FORWARDS)
    assert len({(t.kind, t.clamp, t.forwards, t.task) for t in trials}) == len(trials)
    assert len(trials) == len(PLACES) * len(FORWARDS) * (2 * len(SAMPLERS) - len(UNCLAMPED))
    for t in [*trials, *rounded("m", PLACES, 5)]:
        decoder = get(t.decoder)
        inner = getattr(decoder, "denoiser", decoder)
        assert inner.steps == max(t.forwards, 3 if t.kind == "heun" else 2)
        assert inner.clamp == float(t.clamp)
    assert {t.model for t in masked(PLACES, 5, FORWARDS)} == {"nano"}


@pytest.mark.parametrize(
    ("kind", "forwards", "found"), [("ddim", 4, 4), ("heun", 2, 3), ("heun", 4, 3), ("bridge", 2, 2)]
)
def test_a_sampler_takes_the_forwards_of_its_column_or_what_the_table_says_of_heun(model, kind, forwards, found):
    done = run(Trial(model, kind, sampler(kind, forwards, False), forwards, False, "shuffle", "easy", 3))
    assert done.nfe == found
    assert (done.rounds, len(done.right)) == (0, 3)
    assert done.positions > 0


def test_rounding_is_on_the_same_latents_and_says_the_same_verified(model):
    trials = rounded(model, PLACES[1:], 4)
    argmax = [t for t in sampled(model, PLACES[1:], 4, (2, 8)) if t.kind == "ddim"]
    rows = [run(t) for t in [*argmax, *trials]]
    slow, quick = ([r for r in rows if r.trial.kind == kind] for kind in ("one by one", "verified"))
    assert [r.texts for r in slow] == [r.texts for r in quick]
    assert all(r.rounds == 8 for r in slow)
    assert all(1 <= r.rounds <= 8 for r in quick)
    assert all(r.nfe == r.trial.forwards + r.rounds for r in [*slow, *quick])
    table = rounding_table(rows)
    assert table.count("the same") == 4
    broken = [replace(r, texts="other") if r.trial.kind == "verified" else r for r in rows]
    assert rounding_table(broken).count("**differ**") == 4
    assert "Verified it says the same in 4 of 4" in reading(rows)


def test_two_cells_are_compared_item_by_item():
    a, b = made("nano", [True] * 8 + [False] * 12), made("ddim", [False] * 20)
    assert verdict(a, b) == "nano"
    assert verdict(b, a) == "latents"
    assert verdict(a, made("ddim", [True] * 5 + [False] * 15)) == "not distinguishable"
    assert gained(a, b).startswith("-40 (")
    assert "p=0.01" in gained(a, b)


def test_the_tables_say_who_is_better_where():
    half = [True] * 10 + [False] * 10
    rows = [
        made("nano", [True] * 20), made("ddim", [False] * 20), made("ddim", half, clamp=True),
        made("nano", half, forwards=2), made("ddim", half, forwards=2), made("ddim", half, forwards=2, clamp=True),
    ]
    assert "| `ddim` | chain/easy (8) |  | chain/easy (2) |" in beside_table(rows)
    assert "| `ddim`, clamped | **50** (30-70) | **50** (30-70) |" in pooled_table(rows)
    said = reading(rows)
    assert "nano is better in 2 of 4 comparisons, the latents in 0, and in 2 no difference" in said
    assert "The clamp helps in 1 of 2 comparisons and hurts in 0" in said
    assert "+25.0 points" in said
    assert latents_tables(rows).startswith("Over chain/easy, 20 test items of each:")


def test_the_command_writes_what_its_tables_are_made_of(model, tmp_path):
    out = tmp_path / "latents.json"
    done = call(
        "bench", "latents", "-m", model, "-t", "shuffle/easy", "-n", 2, "--forwards", 2, "--workers", 1, "-o", out,
        "--json",
    )
    rows = load_latents(out)
    assert done.stdout.startswith(latents_tables(rows))
    assert len(json.loads(done.stdout.splitlines()[-1])["rows"]) == len(rows)
    assert {r.trial.kind for r in rows} == {*SAMPLERS, "one by one", "verified", "nano"}
