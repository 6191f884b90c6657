"""The files of docs/examples: each keeps its laws and decodes with nano, and the broken one does not."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from decoders import Cache, Decoder, Generator, UsageError
from decoders.models.recognition import get_family
from decoders.testing import CACHE_LAWS, LAWS, check_family
from decoders.testing.laws import FAST, spec_round_trip, written
from decoders.testing.trial import insist, tried
from decoders_bench.tasks.laws import check_task
from support.marks import slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
STRATEGIES = sorted(p.stem for p in (EXAMPLES / "strategies").glob("*.py"))
CACHES = sorted(p.stem for p in (EXAMPLES / "caches").glob("*.py"))


def module(kind: str, name: str) -> ModuleType:
    """An example, imported under a name that no other module has, so that a spec finds it."""
    known = f"docs_example_{kind}_{name}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, EXAMPLES / kind / f"{name}.py")
        sys.modules[known] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]


def example(kind: str, name: str) -> Decoder | Cache:
    """The one plug that a file defines, as it is by default."""
    here = module(kind, name)
    [cls] = [x for x in vars(here).values() if is_dataclass(x) and x.__module__ == here.__name__]
    return cls()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_decodes_with_nano_and_its_spec_makes_it(name):
    decoder = example("strategies", name)
    written(decoder)
    spec_round_trip(decoder)
    [row] = Generator("nano", decoder)(["Sort: d b a c"])
    assert row.finish_reason in ("stop", "length")
    assert row.tokens


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_keeps_every_law(name):
    insist(LAWS, example("strategies", name))


def test_a_cache_policy_decodes_with_nano_and_reads_what_is_stored():
    [name] = CACHES
    [row] = Generator("nano", "threshold:tau=0.99", cache=example("caches", name))(["Chain: 3 ; + 4 ; - 2"])
    assert row.finish_reason in ("stop", "length")
    assert row.cache_hit_rate > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CACHES)
def test_a_cache_policy_keeps_every_law(name):
    insist(CACHE_LAWS, example("caches", name), "stale")


TASKS = [*slow("change:Change"), "capitals:Capitals:capitals.jsonl"]


@pytest.mark.parametrize("spec", TASKS)
def test_a_task_keeps_its_laws(spec, monkeypatch):
    monkeypatch.chdir(EXAMPLES / "tasks")
    check_task(spec)


@pytest.mark.parametrize("spec", ["tide:TIDE", "comet:COMET"])
def test_a_family_keeps_its_laws(spec, monkeypatch):
    monkeypatch.chdir(EXAMPLES / "families")
    check_family(spec)


NOT_THEIRS = r"bidirectional: prediction \d+, of position \d+ in row 1, is not that of the reference"


def test_the_makers_code_finds_a_forgotten_constant(monkeypatch):
    """And a swapped pair of weights, as the page says."""
    monkeypatch.chdir(EXAMPLES / "families")
    comet = get_family("comet:COMET")
    forgetful = lambda config, known: {**comet.settings(config, known), "rope_parameters": None}
    with pytest.raises(AssertionError, match=rf"plain: {NOT_THEIRS}"):
        check_family(replace(comet, settings=forgetful))
    pair = {rf"^blocks\.(\d+)\.{x}\.": rf"model.layers.\1.self_attn.{y}_proj." for x, y in ("qk", "kq")}
    with pytest.raises(AssertionError, match=rf"plain: {NOT_THEIRS}"):
        check_family(replace(comet, renames=comet.renames | pair))


@pytest.mark.parametrize(
    ("spec", "pattern"),
    [
        ("rising:Rising:abcdefghij", r"( a)?( b)?( c)?( d)?( e)?( f)?( g)?( h)?( i)?( j)?"),
        ("fields:Fields:name,age", " name = .+ ; age = .+"),
    ],
)
def test_a_constraint_holds_with_several_decoders(spec, pattern, monkeypatch):
    monkeypatch.chdir(EXAMPLES / "constraints")
    for decoder in ("threshold:tau=0.5", "llada:steps=4"):
        [row] = Generator("nano", decoder, constraint=spec)(["Sort: d b a c"], length=16)
        assert re.fullmatch(pattern, row.text, re.S), row.text


def test_a_constraint_that_the_vocabulary_cannot_write_is_refused(monkeypatch):
    monkeypatch.chdir(EXAMPLES / "constraints")
    with pytest.raises(UsageError, match="the constraint rising:aé needs a token that writes ' é'"):
        Generator("nano", "threshold", constraint="rising:Rising:aé")(["Sort: d b a c"])


def test_options_are_checked_one_by_one_and_together():
    ramp = module("strategies", "ramp").Ramp
    with pytest.raises(UsageError, match="end must be between 0 and 1, not 2"):
        ramp(end=2)
    with pytest.raises(UsageError, match=r"end must be at most start, 0\.5, not 0\.6"):
        ramp(start=0.5)


def test_the_wrapper_holds_back_what_its_base_would_commit():
    most = module("strategies", "at_most").AtMost
    [row] = Generator("nano", most(most=1))(["Sort: d b a c"], ignore_eos=True)
    [base] = Generator("nano", most().base)(["Sort: d b a c"], ignore_eos=True)
    assert row.nfe > base.nfe


@pytest.mark.slow
def test_the_broken_one_is_told_of_the_line_that_reads_the_host():
    trial = tried(FAST, example("broken", "hasty"))
    assert [v.law for v in trial.broken] == ["meta_safe", "batch_invariant"]
    line = (EXAMPLES / "broken" / "hasty.py").read_text().splitlines()[trial.broken[0].place.line - 1]
    assert ".item()" in line


@pytest.mark.slow  # a process of its own
def test_whoever_watches_hears_of_every_forward_and_of_news():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "watch.py"], capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("wanted [")
    assert {line.split()[0] for line in lines} == {"wanted", "committed", "provisional"}
