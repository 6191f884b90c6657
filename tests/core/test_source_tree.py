"""A tree that is imported where nothing is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from decoders import tree
from decoders.specs import table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def python(tmp_path):
    """An interpreter to which nothing of ours is installed, and which sees the packages of this one."""
    venv.create(tmp_path, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path)}))
    for found in {Path(p) for p in sys.path if p.endswith("site-packages")}:
        for package in found.iterdir():
            if "dllm" not in package.name and not package.name.endswith(".pth") and not (site / package.name).exists():
                (site / package.name).symlink_to(package)
    return tmp_path / "bin" / "python"


def said(python, *command):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"
    }
    done = subprocess.run([python, *command], capture_output=True, text=True, cwd="/", env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_built_in_plugs_are_found_without_an_installation(python):
    asked = "from decoders import specs; print([(k, *specs.table(k)) for k in specs.KINDS])"
    every = "for k in r.KINDS for found in r.table(k).values() for e in found"
    own = f"from decoders import specs as r; print({{r.owner(e) {every}}})"
    assert said(python, "-c", asked).strip() == said(sys.executable, "-c", asked).strip()
    assert said(python, "-c", own).strip() == "{'dllm-decoders'}"
    assert "latency" in said(python, "-m", "decoders.cli", "bench", "--help")


def test_what_is_installed_speaks_for_itself():
    assert tree.project() == {}
    assert tree.entry_points_of("decoders.strategies") == ()
    assert table("strategies")["llada"][0].dist is not None
    assert tree.version() in tree.FILE.read_text()
