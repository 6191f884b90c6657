"""`bench/gpu.sh` as it will be run: a copy of the tree, `python3` with the packages of a machine that has a GPU, no
network, nothing of ours installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest
from bare_machine import ROOT, environment

from decoders_bench.gpu.cli import TIME_IS_UP
from decoders_bench.gpu.ledger import LOST

pytestmark = pytest.mark.slow
ALONE = ("unshare", "-rn") if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0 else ()
"""Without a network, where the kernel lets an ordinary user say so."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """What git tracks, and what it does not ignore."""
    where = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0")[:-1]:
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, where / name)
    return where


@pytest.fixture(scope="module")
def python3(tmp_path_factory):
    """A folder with a `python3`, and no `python`."""
    where = tmp_path_factory.mktemp("bin")
    (where / "python3").write_text(f'#!/bin/sh\nexec {environment()} "$@"\n')
    (where / "python3").chmod(0o755)
    return where


@pytest.fixture
def script(tree, python3, tmp_path):
    """Runs `bench/gpu.sh` there; what it leaves in $OUT is in `out`."""

    def run(*command, out):
        env = {
            "PATH": f"{python3}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "OUT": str(out),
            "PIP_NO_INDEX": "1",
            "OMP_NUM_THREADS": "1",
        }
        began = time.monotonic()
        done = subprocess.run(
            [*ALONE, tree / "bench" / "gpu.sh", *command], capture_output=True, text=True, env=env, timeout=600
        )
        print(
            done.stdout, done.stderr, f"{time.monotonic() - began:.0f} s", sep="\n"
        )  # the log of the rehearsal: pytest -s
        return done

    return run


def results(out):
    return json.loads((out / "cpu.json").read_text())


def test_everything_runs_and_goes_on(script, tree, tmp_path):
    out, second = tmp_path / "first", tmp_path / "second"
    for calls in range(1, 5):  # one is enough, unless others use the machine too
        done = script("first", "--rehearse", "--seconds", "110", out=out)
        found = results(out)
        assert (found["calls"], {why["why"] for why in found["failed"].values()} <= {LOST}) == (calls, True), (
            done.stdout[-3000:]
        )
        if done.returncode == 0:
            break
        assert done.returncode == TIME_IS_UP, done.stdout[-3000:]
    assert (found["begun"], found["failed"]) == (None, {})
    assert {key.split("/")[0] for key in found["rows"]} == {"card", "checks", "kernel", "one", "many", "others"}
    assert "others: 3 of 3 measured, 0 failed, 0 cannot be" in done.stdout
    assert {p.name for p in out.iterdir()} == {"cpu.json", "log.txt"}
    assert done.stdout in (out / "log.txt").read_text()
    told = found["rows"]["card/about"]
    assert (told["transformers"], told["triton"]) == ("5.17.0", "3.6.0")

    # what came back is put into the tree, one figure less; the machine is another, and its $OUT is empty
    lost = found["rows"].pop("card/ceilings")
    (tree / "bench" / "results" / "gpu" / "cpu.json").write_text(json.dumps(found))
    done = script("first", "--rehearse", "--seconds", "60", out=second)
    assert done.returncode == 0, done.stdout[-3000:]
    again = results(second)
    assert again["calls"] == found["calls"] + 1
    assert {key: row for key, row in again["rows"].items() if key != "card/ceilings"} == found["rows"]
    assert again["rows"]["card/ceilings"] != lost


def test_nano_is_trained_and_goes_on(script, tree, tmp_path):
    """With another $OUT, from what the tree has."""
    done = script("nano", "--rehearse", "--seconds", "100", out=tmp_path / "a")
    assert done.returncode == 0, done.stdout[-3000:]
    shutil.copytree(tmp_path / "a" / "nano", tree / "bench" / "results" / "gpu" / "nano")
    done = script("nano", "--rehearse", "--seconds", "100", out=tmp_path / "b")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "] 8 steps are done; " in done.stdout
    assert "] 8 of 8 steps are done" in done.stdout
    assert json.loads((tmp_path / "b" / "nano" / "checkpoint.json").read_text())["step"] == 8


def test_an_installation_without_a_network_does_as_well(tree, tmp_path):
    site = tmp_path / "site"
    how = ["--no-index", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *how, tree], check=True, capture_output=True, timeout=600
    )
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(site)}
    asked = [environment(), "-m", "decoders.cli", "bench", "latency", "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, env=env, timeout=600)
    assert "--shape" in done.stdout, done.stderr


def test_nano_latent_is_trained_in_the_time_that_there_is(script, tmp_path):
    """The model is written in any case; called again, it goes on."""
    for _ in range(2):
        done = script("nano-latent", "--rehearse", "--seconds", "45", out=tmp_path)
        assert done.returncode in (0, TIME_IS_UP), done.stdout[-3000:]
    made = tmp_path / "nano-latent"
    curve = json.loads((made / "curve.json").read_text())
    assert curve[-1]["loss"]["denoiser"] < curve[0]["loss"]["denoiser"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in (made / "model").iterdir()}
