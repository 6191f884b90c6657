"""`decoders bench exactness`: what is measured of decoders, and which are called exact."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from decoders import UsageError, get
from decoders.registry import entries
from decoders.testing.oracle import distance, floor
from decoders_bench.cli import bench
from decoders_bench.exactness.measure import (
    DEVIATIONS,
    Found,
    Skipped,
    Trial,
    Truth,
    hosted,
    measure,
    registered,
    sampling,
    truth,
)
from decoders_bench.exactness.tables import exactness_table, load_exactness

SMALL = "letters=2,length=3"


def run(*args):
    return CliRunner().invoke(bench, ["exactness", *map(str, args)])


def test_a_measurement_is_the_distance_beside_that_of_perfect_samples():
    trial = Trial("llada:temperature=1.0", Truth(2, 3), samples=200, seed=3)
    found, oracle = measure(trial), Truth(2, 3).oracle()
    assert (found.distance, found.nfe) == distance(get(trial.decoder), oracle, 200, 3)
    assert (found.floor, found.deviation) == floor(oracle, 200)
    assert not found.declared
    assert found.excess == pytest.approx((found.distance - found.floor) / found.deviation)


def test_exact_is_what_is_near_the_floor():
    trial = Trial("llada", Truth())
    assert Found(trial, False, 4.0, 0.1 + 0.01 * (DEVIATIONS - 0.1), 0.1, 0.01).exact
    assert not Found(trial, False, 4.0, 0.1 + 0.01 * (DEVIATIONS + 0.1), 0.1, 0.01).exact


@pytest.mark.parametrize(
    ("spec", "exact"),
    [
        ("left_to_right:temperature=1.0", True),
        ("coupled:temperature=1.0", True),
        ("s2d2:temperature=1.0", True),
        ("first_hitting", True),
        ("ancestral:steps=1", False),
        ("threshold:temperature=1.0", False),
        ("left_to_right", False),
    ],
)
def test_who_is_marked_exact(spec, exact):
    assert measure(Trial(spec, Truth(), samples=1000)).exact is exact


def test_fewer_forwards_than_positions_can_be_exact():
    """Speculation: the samples of autoregression in fewer forwards."""
    alone, speculated = (
        measure(Trial(f"{name}:temperature=1.0", Truth(), samples=1000)) for name in ("left_to_right", "coupled")
    )
    assert alone.exact
    assert speculated.exact
    assert speculated.nfe < alone.nfe - 0.3


def test_sampling_is_turned_on_inside_too():
    made = sampling(get("frontier:w=2,base=(threshold:tau=0.8)"))
    assert (made.w, made.base.tau, made.base.temperature) == (2, 0.8, 1.0)
    assert sampling(get("llada2")) == get("llada2")


def test_every_strategy_that_is_installed_is_measured_or_says_why_not():
    found, broken = registered()
    able, unable = hosted(found)
    names = [spec.partition(":")[0] for spec in (*able, *(s.decoder for s in (*unable, *broken)))]
    assert sorted(names) == sorted(e.name for e in entries("strategies"))
    assert {spec.partition(":")[0] for spec in able} == {e.name for e in entries("strategies") if not e.special}
    assert next(s.reason for s in unable if s.decoder == "ddim").startswith("DDIM denoises latents")


@pytest.mark.parametrize("name", ["freedave", "persistent_drafts", "planned", "wino", "dawn"])
def test_those_that_ask_more_of_a_model_are_measured_too(name):
    spec = next(spec for spec in registered()[0] if spec.partition(":")[0] == name)
    found = measure(Trial(spec, Truth(), samples=300))
    assert 0 < found.distance < 1
    assert 1 <= found.nfe <= 12


def test_the_command_prints_saves_and_ends_with_json(tmp_path):
    out = tmp_path / "found.json"
    two = ("-d", "ancestral:steps=1", "-d", "left_to_right:temperature=1.0")
    done = run(*two, "--oracle", SMALL, "-n", 300, "--workers", 1, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    rows = load_exactness(out)
    assert [r.trial.decoder for r in rows] == ["ancestral:steps=1", "left_to_right:temperature=1.0"]
    assert [r.trial.truth for r in rows] == [Truth(2, 3)] * 2
    assert exactness_table(rows) in done.output
    said = json.loads(done.output.splitlines()[-1])
    assert [(r["exact"], r["nfe"]) for r in said["rows"]] == [(False, 1.0), (True, 3.0)]
    assert said["command"] == "exactness"


def test_the_table_goes_by_forwards_and_names_the_exact_and_the_skipped():
    t = Truth()
    rows = [Found(Trial("b", t), True, 4.0, 0.05, 0.05, 0.01), Found(Trial("a", t), False, 2.0, 0.5, 0.05, 0.01)]
    text = exactness_table(rows, [Skipped("c", "it has no reason")])
    assert text.index("`a` | 2.00 | 0.500 | +45.0 | no |") < text.index(
        "`b` | 4.00 | 0.050 | +0.0 | **yes** | in the limit"
    )
    assert "2000 samples; the error of as many perfect samples is 0.050 ± 0.010" in text
    assert "on each: `b` (4.00)." in text
    assert "`c`: it has no reason" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [("letters=x", "cannot read 'letters=x'"), ("size=3", "cannot read 'size=3'"), ("letters=1", "needs 2 letters"),
     ("letters=9,length=9", "too many to enumerate")],
)
def test_oracles_that_cannot_be(text, says):
    with pytest.raises(UsageError, match=says):
        truth(text)


def test_a_decoder_that_was_asked_for_and_cannot_be_hosted_is_refused():
    done = run("-d", "ddim", "--oracle", SMALL)
    assert isinstance(done.exception, UsageError)
    assert "ddim: DDIM denoises latents" in str(done.exception)
