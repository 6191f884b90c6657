"""The twin of latents: what it shares with the others of a run, how it is trained, and how a run gains it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from decoders import Generator
from decoders.cli.app import main
from decoders.core import UsageError
from decoders.models.source import load_model
from decoders_bench.nano.train_latents import levels_of
from decoders_bench.versus import costs, measure, stages
from decoders_bench.versus.checkpoints import write
from decoders_bench.versus.claims import claims
from decoders_bench.versus.examples import of_step
from decoders_bench.versus.groups import groups
from decoders_bench.versus.latent import LatentRun, begun
from decoders_bench.versus.page import page
from decoders_bench.versus.plan import KINDS, Twin
from decoders_bench.versus.tables import PARTS
from decoders_bench.versus.train import export, go, initial, trained_file, weights_of
from support.versus import THREE, TINY, half, results

ONE = replace(TINY, seeds=1, regimes=("fresh",), kinds=("latent",))
WITH = replace(THREE, kinds=KINDS)


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def silent(*told):
    pass


# what is the same


def test_it_begins_with_the_bits_of_the_other_twins_of_its_seed():
    """Where the names of weights coincide; seeds differ from each other."""
    for seed in (0, 1):
        mine, other = begun(ONE, Twin("latent", "fresh", seed)), initial(ONE, Twin("mdm", "fresh", seed))
        body = mine.denoiser.body.state_dict()
        shared = {name for name in body if f"model.{name}" in other}
        assert shared == body.keys()
        assert all(torch.equal(body[name], other[f"model.{name}"]) for name in body)
    one, two = (begun(ONE, Twin("latent", "fresh", seed)).denoiser.embedding for seed in (0, 1))
    assert not torch.equal(one, two)


def test_it_sees_the_examples_of_a_step_that_the_others_see(tmp_path):
    run = LatentRun(ONE, tmp_path, "cpu", 0)
    for step in (0, 3):
        b = run.drawn(step)
        rows = sorted(
            (row[:end].tolist(), int(total)) for row, end, total in zip(b.tokens, b.end, b.total, strict=True)
        )
        examples = of_step(ONE, "fresh", 0, step)
        assert rows == sorted(([*e.prompt, *e.answer], len(e.prompt) + e.size) for e in examples)


def test_its_table_of_sizes_counts_what_the_others_do_not_have():
    written = PARTS["sizes"]({}, replace(TINY, kinds=("ar", "latent")))
    cells = {line.split(" | ")[0].strip("| "): line.strip(" |").split(" | ")[1:] for line in written.splitlines()}
    assert cells["layers"][0] == cells["layers"][1]
    assert cells["embeddings of tokens"][0] == cells["embeddings of tokens"][1]
    pair = begun(ONE, Twin("latent", "fresh", 0))
    assert cells["all parameters"][1] == f"{sum(p.numel() for p in pair.parameters()):,}"
    assert cells["rounder"][1].strip(" |") == f"{sum(p.numel() for p in pair.rounder.parameters()):,}"
    less, more = (float(x.replace(",", "")) for x in cells["MFLOP of a training step"])
    assert 0 < less < more


# training


def test_a_training_that_is_cut_off_goes_on_as_if_it_had_not_been(tmp_path):
    """Weights, levels and curves."""
    runs = []
    for name in ("whole", "parts"):
        where = tmp_path / name
        where.mkdir()
        if name == "parts":
            first = LatentRun(ONE, where, "cpu", 0, "-latent")
            for step in range(3):
                first.one_step(first.drawn(step))
            first.save()
            assert (where / "training-latent-0.pt").exists()
        run = LatentRun(ONE, where, "cpu", 0, "-latent")
        assert run.step == (3 if name == "parts" else 0)
        go(run, run.drawn, silent, 3)
        runs.append(run)
    a, b = runs
    assert same_weights(a.pair.state_dict(), b.pair.state_dict())
    assert not torch.equal(a.pair.known, begun(ONE, a.twin).known)
    assert [{**look, "seconds": 0} for look in a.curve] == [{**look, "seconds": 0} for look in b.curve]
    assert [look["step"] for look in a.curve] == [4, 8]


def test_the_loss_falls_on_the_examples_of_a_step(tmp_path):
    plan = replace(ONE, steps=60, warmup=5, decay=0.1)
    run = LatentRun(plan, tmp_path, "cpu", 0)
    b, told = run.drawn(0), []
    for _ in range(40):
        run.one_step(b)
        told.append(float(run.smooth))
    assert told[-1] < 0.8 * told[0]


@pytest.mark.slow
def test_the_other_twins_are_what_they_are_without_it(tmp_path):
    """Bit for bit; and its own weights do not depend on the number of workers, nor on the other kinds."""
    plan = replace(TINY, kinds=("ar", "mdm", "block"))
    made = {
        "without": (plan, 1), "with": (replace(plan, kinds=(*plan.kinds, "latent")), 1),
        "shared": (replace(plan, kinds=(*plan.kinds, "latent")), 2), "alone": (replace(plan, kinds=("latent",)), 1),
    }
    for name, (own, workers) in made.items():
        (tmp_path / name).mkdir()
        told = []
        stages.train(own, tmp_path / name, "cpu", workers, lambda *x, told=told: told.append(x))
        parts = {"without": 4, "alone": 2}.get(name, 6)
        assert told[-1] == ("training", parts * plan.steps, parts * plan.steps)
    for name in ("with", "shared"):
        assert same_weights(weights_of(tmp_path / "without"), weights_of(tmp_path / name))
        assert same_weights(weights_of(tmp_path / "alone", "-latent"), weights_of(tmp_path / name, "-latent"))


@pytest.mark.slow
def test_kill_9_loses_nothing(tmp_path):
    """The process is killed after its first state; the weights are those of a run that nobody stopped."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from decoders_bench.versus import stages\n"
        "from decoders_bench.versus.plan import Plan\n"
        "stages.SAVE = 2\n"
        "plan = Plan(steps=60, seeds=1, regimes=('fresh',), kinds=('latent',), examples=8, hidden=32, layers=1,"
        " heads=2, inner=32, looks=2, items=1)\n"
        "stages.train(plan, Path(sys.argv[1]), 'cpu', 1, lambda *x: None)\n"
    )
    for name, killed in (("a", False), ("b", True)):
        where = tmp_path / name
        where.mkdir()
        process = subprocess.Popen([sys.executable, "-c", code, str(where)])
        if killed:
            while process.poll() is None and not (where / "training-latent-0.pt").exists():
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not trained_file(where, "-latent").exists()
            process = subprocess.Popen([sys.executable, "-c", code, str(where)])
        assert process.wait() == 0
    assert same_weights(weights_of(tmp_path / "a", "-latent"), weights_of(tmp_path / "b", "-latent"))


# its checkpoint


def test_it_is_an_ordinary_checkpoint(tmp_path):
    run = LatentRun(ONE, tmp_path, "cpu", 0)
    go(run, run.drawn, silent, 8)
    export([run], tmp_path, {}, "-latent")
    write(ONE, weights_of(tmp_path, "-latent"), tmp_path)
    config = json.loads((tmp_path / "latent" / "config.json").read_text())
    assert config["model_type"] == "nano_latent"
    assert config["levels"] == levels_of(run.pair)
    model = load_model(str(tmp_path / "latent")).model
    for name, x in run.pair.denoiser.head.state_dict().items():
        assert torch.equal(model.networks.denoiser.head.state_dict()[name], x.bfloat16().to(model.table))
    made = Generator(str(tmp_path / "latent"), "ddim:steps=4")(["Sort: c b a"], length=8)[0]
    assert made.nfe == 4


# a run that gains it


def versus(out, *flags):
    return CliRunner().invoke(main, ["bench", "versus", "-o", str(out), "--workers", "1", *flags])


def times(out):
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_run_that_is_trained_gains_a_kind(tmp_path, monkeypatch):
    """Only what is missing is trained and measured; only the costs, in which all settings take turns, are measured
    again."""
    monkeypatch.setattr(stages, "BATCH", 2)
    monkeypatch.setattr(costs, "ALONE", 1)
    monkeypatch.setattr(costs, "SWEPT", {kind: own[:1] + own[-1:] for kind, own in costs.SWEPT.items()})
    monkeypatch.setattr(measure, "SAMPLES", 2)
    out, plan = tmp_path / "run", replace(TINY, kinds=("ar", "mdm"), seeds=1)
    stages.begin(out, plan, 0.1, set())
    early = versus(out, "--kind", "latent")
    assert early.exit_code != 0
    assert "gains latent once its own twins are trained" in early.output
    assert versus(out).exit_code == 0
    before = times(out)
    for flags, told in (
        (("--kind", "latent", "--steps", "9"), "another steps"), (("--kind", "ar", "--kind", "latent"), "another kinds")
    ):
        refused = versus(out, *flags)
        assert refused.exit_code != 0
        assert told in refused.output
    assert before == times(out)
    gained = versus(out, "--kind", "latent")
    assert gained.exit_code == 0, gained.output
    after = times(out)
    written = {name for name in before if after[name] != before[name]}
    assert written - {"lock"} == {"plan.json", "results.json", "report.html", "measured/costs-0.json"}
    assert {"training-latent-0.pt", "trained-latent.json", "weights-latent-0.safetensors"} <= after.keys() - before
    found = json.loads((out / "results.json").read_text())
    assert found["plan"]["kinds"] == ["ar", "mdm", "latent"]
    assert [{row["kind"] for row in own} for own in found["costs"]] == [{"ar", "mdm", "latent"}]
    assert "likelihood" in found["measured"]["mdm"]
    assert found["measured"]["latent"].keys() == found["measured"]["mdm"].keys() - {"likelihood"}
    assert all(len(look[name]) == 5 for look in found["curve"] for name in ("loss", "right", "training"))
    assert "Latent diffusion against autoregression" in (out / "report.html").read_text()
    steady = versus(out)
    assert steady.exit_code == 0
    assert after["measured/costs-0.json"] == times(out)["measured/costs-0.json"]


def test_any_kind_that_a_run_gains_is_trained_by_itself(tmp_path):
    plan = replace(ONE, kinds=("ar", "block"), steps=2)
    stages.begin(tmp_path / "run", replace(plan, kinds=("ar",)), 1.0, set())
    out = tmp_path / "run"
    stages.train(replace(plan, kinds=("ar",)), out, "cpu", 1, silent)
    before = times(out)
    own, _ = stages.begin(out, plan, 1.0, {"kinds"})
    assert own == plan
    assert [(g.plan.kinds, g.name) for g in groups(own, out)] == [(("ar",), ""), (("block",), "-block")]
    stages.train(own, out, "cpu", 1, silent)
    assert {name for name in before if times(out)[name] != before[name]} == {"plan.json"}
    assert {name.partition("/")[0] for name in weights_of(out, "-block")} == {"block"}
    with pytest.raises(UsageError, match="another kinds"):
        stages.begin(out, replace(plan, kinds=("ar", "latent")), 1.0, {"kinds"})


# its results


def test_it_is_compared_with_autoregression_as_block_diffusion_is():
    found = results(WITH, half)
    own = {kind: [(c.dimension, c.text) for c in claims(found, WITH) if c.kind == kind] for kind in ("block", "latent")}
    assert own["latent"] == own["block"]
    assert {c.regime for c in claims(found, WITH) if c.kind == "latent"} == {"fresh"}


def test_the_page_has_it_in_every_part_but_the_likelihood():
    found = results(WITH, half)
    made = page(found, WITH)
    assert "Latent diffusion against autoregression" in made
    assert "| latent diffusion | `x` | `exact` |" in PARTS["speed"](found, WITH)
    assert "| latent diffusion | fresh |" in PARTS["memory"](found, WITH)
    assert "latent diffusion, fresh" in PARTS["way"](found, WITH)
    assert PARTS["likelihood"](found, WITH).count("has none") == 5
    assert "changed for the last time" in PARTS["late"](found, WITH)
    assert PARTS["latent"](results(THREE, half), THREE).startswith("This run has no latent diffusion")
    assert "changed for the last time" not in PARTS["late"](results(THREE, half), THREE)
