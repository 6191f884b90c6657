"""The distribution: what it installs, what importing it costs, and that a third party's plugin is found."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench" / "decoders_bench"


def run(*command, **kwargs):
    return subprocess.run([str(x) for x in command], capture_output=True, text=True, timeout=600, **kwargs)


def test_importing_the_package_imports_nothing_heavy_but_torch():
    code = (
        "import sys, decoders; print([m for m in ('transformers', 'click', 'rich', 'tokenizers') if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


OPTIONAL = {
    "httpx2": "remote", "anyio": "remote", "matplotlib": "plots", "ray": "ray", "triton": "dev", "jsonschema": "dev",
    "pytest": "dev", "starlette": "serve", "uvicorn": "serve", "prometheus_client": "serve",
    "torchao": "quantize", "mkdocs": "docs",
}
"""What is imported where it is needed and told to be missing elsewhere, and the extra that brings it."""
ELSEWHERE = {
    "vllm", "decoders_vllm", "diffusers", "dllm_reason", "dlmserve", "networks", "serving", "generate", "model",
    "_typeshed",
}
"""In environments or checkouts of their own, or for type checkers alone."""
WITH = {"huggingface_hub": "transformers"}
"""What comes with a package that is asked for."""


def imported(package: Path) -> set[str]:
    """The top-level names of others that the modules of a package import, anywhere in them."""
    names = set()
    for node in (n for p in package.rglob("*.py") for n in ast.walk(ast.parse(p.read_text()))):
        if isinstance(node, ast.Import):
            names |= {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"decoders", "decoders_bench"}


def test_an_installation_has_what_is_imported_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {re.split(r"[<>=]", text)[0] for text in project["dependencies"]}
    used = {WITH.get(name, name) for name in (imported(ROOT / "decoders") | imported(BENCH)) - ELSEWHERE}
    assert used - set(OPTIONAL) == base
    assert set(OPTIONAL.values()) <= set(project["optional-dependencies"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", out, ROOT)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_owns_two_top_level_names_and_ships_the_model(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {"decoders", "decoders_bench"}
    assert {
        "decoders/py.typed",
        "decoders/stats/rows.cpp",
        "decoders/models/nano/model.safetensors",
        "decoders/models/nano/tokenizer.json",
    } <= set(names)
    templates = (ROOT / "decoders" / "templates").rglob("*.in")
    assert {str(p.relative_to(ROOT)) for p in templates} <= set(names)
    static = (BENCH / "report" / "static").iterdir()
    assert {f"decoders_bench/report/static/{p.name}" for p in static} <= set(names)
    assert all(
        f"decoders{suffix}" in names for suffix in ("/core/state.py", "/stats/reference.py", "/strategies/llada.py")
    )
    roots = {ROOT / "decoders": ROOT, BENCH: BENCH.parent}
    modules = {str(p.relative_to(top)) for root, top in roots.items() for p in root.rglob("*.py")}
    assert modules == {n for n in names if n.endswith(".py")}


def test_the_shipped_weights_are_small(wheel):
    size = zipfile.ZipFile(wheel).getinfo("decoders/models/nano/model.safetensors").file_size
    assert size <= 6_000_000


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh environment that sees this one's packages, with the example plugin installed."""
    where = tmp_path_factory.mktemp("env")
    venv.create(where, with_pip=False)
    python = where / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").stdout.strip()
    parent = sysconfig.get_paths()["purelib"]
    Path(site, "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    source = where / "source"
    source.mkdir()
    for f in ("pyproject.toml", "decoders_zigzag.py", "test_zigzag.py"):
        (source / f).write_text((ROOT / "plugins" / "example" / f).read_text())
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-build-isolation", source
    )
    assert done.returncode == 0, done.stderr
    return python, source


def test_an_installed_plugin_is_listed_with_its_distribution(environment):
    python, _ = environment
    done = run(python, "-m", "decoders.cli", "list", "strategies", "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = [e for e in json.loads(done.stdout) if e["name"] == "zigzag"]
    assert entry["distribution"] == "decoders-zigzag"
    assert entry["options"] == [{"name": "block_steps", "type": "int", "default": 8, "min": 1, "max": None}]


@pytest.mark.slow
def test_an_installed_plugin_decodes_and_obeys_the_laws(environment):
    python, source = environment
    done = run(
        python, "-m", "decoders.cli", "generate", "-d", "zigzag:block_steps=4", "-n", "8", "--json", "Sort: d b a c e"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decoder"] == "zigzag:block_steps=4"
    laws = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", source / "test_zigzag.py")
    assert laws.returncode == 0, laws.stdout


def test_the_example_strategy_takes_at_most_fifteen_lines_and_the_others_ten():
    text = (ROOT / "plugins" / "example" / "decoders_zigzag.py").read_text()
    strategy, wrapper, cache = text.split("\n\n\n")[1:]
    for plug, most in ((strategy, 15), (wrapper, 10), (cache, 10)):
        assert len([line for line in plug.splitlines() if line.strip()]) <= most
