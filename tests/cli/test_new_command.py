"""`decoders new`: what it writes is whole, and passes its own tests and `decoders check` as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import DECODERS, call


def made(kind: str, where: Path, monkeypatch: pytest.MonkeyPatch, name: str = "sure_first") -> Path:
    monkeypatch.chdir(where)
    done = call("new", kind, name)
    assert done.exit_code == 0, done.output
    return where / name


def run(*command: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, cwd=cwd)


KINDS = ("strategy", "cache", "task", "family")
OBJECT = dict.fromkeys(KINDS, "SureFirst") | {"family": "SURE_FIRST"}


@pytest.mark.parametrize("kind", KINDS)
def test_four_files_are_written_and_what_comes_next_is_said(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("new", kind, "sure_first")
    files = ["README.md", "decoders_sure_first.py", "pyproject.toml", "test_sure_first.py"]
    assert sorted(p.name for p in (tmp_path / "sure_first").iterdir()) == files
    written, following = done.output.split("\n\n")
    assert sorted(written.splitlines()) == [f"sure_first/{file}" for file in files]
    assert following == f"cd sure_first\ndecoders check decoders_sure_first:{OBJECT[kind]}\npytest\n"
    assert not any("$" in p.read_text() for p in (tmp_path / "sure_first").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_its_source_is_clean(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = made(kind, tmp_path, monkeypatch)
    for file in directory.glob("*.py"):
        compile(file.read_text(), str(file), "exec")
        assert all(len(line) <= 120 for line in file.read_text().splitlines())
    most = {"task": 22, "family": 18}.get(kind, 15)
    for part in re.split(r"\n\n\n", (directory / "decoders_sure_first.py").read_text())[1:]:
        assert len(part.splitlines()) <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "flag"), [("strategy", ""), ("cache", "--cache"), ("task", "--task"), ("family", "--family")]
)
def test_it_is_whole(kind: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its README says: checked with nothing installed, tested, installed, found by its name and checked again."""
    directory = made(kind, tmp_path, monkeypatch)
    done = run(DECODERS, "check", f"decoders_sure_first:{OBJECT[kind]}", cwd=directory)
    assert (done.returncode, "keeps all" in done.stdout) == (0, True), done.stdout + done.stderr
    tests = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=directory)
    assert tests.returncode == 0, tests.stdout
    site = str(tmp_path / "site")
    how = ["-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", site]
    done = run(sys.executable, "-m", "pip", "install", *how, str(directory), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(DECODERS, "check", "--fast", *filter(None, [flag, "sure_first"]), cwd=tmp_path, path=site)
    assert (done.returncode, "sure_first keeps the" in done.stdout) == (0, True), done.stdout + done.stderr
    told = run(DECODERS, *USED[kind], cwd=tmp_path, path=site)
    assert (told.returncode, TOLD[kind] in told.stdout) == (0, True), told.stdout + told.stderr


USED = {
    "strategy": ("list", "strategies"), "cache": ("list", "caches"), "family": ("models",),
    "task": ("bench", "quality", "-t", "sure_first", "-d", "threshold", "-n", "2", "-o", "run", "--workers", "1"),
}
"""How it is seen that it is known by its name."""
TOLD = dict.fromkeys(KINDS, "sure_first") | dict.fromkeys(("strategy", "cache"), "from decoders-sure-first")


BAD_NAME = "Error: a name is lower-case letters, digits and single _ between them, from a letter on, not "


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("strategy", "Sure"), f"{BAD_NAME}'Sure'"),
        (("strategy", "../sure"), f"{BAD_NAME}'../sure'"),
        (("strategy", "sure-first"), f"{BAD_NAME}'sure-first'"),
        (("strategy", "2fast"), f"{BAD_NAME}'2fast'"),
        (("cache", "class"), f"{BAD_NAME}'class'"),
        (("strategy", ""), f"{BAD_NAME}''"),
        (("strategy", "threshold"), "Error: there is a strategy 'threshold' already; choose another name"),
        (("cache", "dual"), "Error: there is a cache 'dual' already; choose another name"),
        (("task", "sudoku"), "Error: there is a task 'sudoku' already; choose another name"),
        (("family", "llada"), "Error: there is a family 'llada' already; choose another name"),
    ],
)
def test_a_bad_name_is_refused_in_a_line(
    args: tuple[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("new", *args)
    assert (done.exit_code, done.output) == (2, f"{told}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_there_is_left_alone(as_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = Path("sure")
    there.write_text("mine") if as_file else there.mkdir()
    done = call("new", "strategy", "sure")
    told = "Error: sure exists already; choose another name, or work in another directory\n"
    assert (done.exit_code, done.output) == (2, told)
    assert there.read_text() == "mine" if as_file else list(there.iterdir()) == []
