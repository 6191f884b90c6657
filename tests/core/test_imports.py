"""Which modules import which: one way, and what only checkpoints need not before there is a checkpoint."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import decoders
import decoders_bench

FOR_CHECKPOINTS = {"transformers", "tokenizers", "safetensors", "huggingface_hub"}
OF_CHECKPOINTS = {
    "decoders.hf", "decoders.models.checkpoint", "decoders.models.tokenizer", "decoders.models.families",
    "decoders.models.adapter", "decoders.processors",
}


def graph(package: Path) -> dict[str, set[str]]:
    """Each module of a package and those of the package that it imports, inside functions and for types too."""
    parts = {p.relative_to(package.parent).with_suffix("").parts: p for p in package.rglob("*.py")}
    files = {".".join(x).removesuffix(".__init__"): p for x, p in parts.items()}
    out = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{x.name}" for x in node.names}
                found |= {x if x in files else node.module for x in whole}
            elif isinstance(node, ast.Import):
                found |= {x.name for x in node.names}
        out[name] = (found & files.keys()) - {name}
    return out


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """What is left of a graph after all that leads nowhere is taken away: empty if it has no circle."""
    left = {a: set(b) for a, b in edges.items()}
    while ends := [a for a, b in left.items() if not b & left.keys()]:
        for a in ends:
            del left[a]
    return sorted(left)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize("package", [decoders, decoders_bench], ids=lambda p: p.__name__)
def test_no_module_imports_itself_by_way_of_others(package):
    edges = graph(Path(package.__file__).parent)
    assert len(edges) > 50
    assert circle(edges) == []


@pytest.mark.parametrize(
    ("package", "some"),
    [(decoders, {"core", "models", "text", "cli"}), (decoders_bench, {"common", "caches", "step_time", "cli"})],
    ids=["decoders", "decoders_bench"],
)
def test_rooms_import_one_another_one_way(package, some):
    edges: dict[str, set[str]] = {}
    for module, others in graph(Path(package.__file__).parent).items():
        for name in (module, *others):
            edges.setdefault(room(name), set())
        edges[room(module)] |= {room(x) for x in others} - {room(module)}
    assert some <= edges.keys()
    assert circle(edges) == []


def room(module: str) -> str:
    return (*module.split("."), "the package itself")[1]


@pytest.mark.slow
def test_what_only_checkpoints_need_is_imported_when_one_is_loaded():
    """Importing the package, decoding with a model of one's own, and the commands that load none."""
    code = """
import contextlib, io, json, sys
said = {}
def note(what):
    said[what] = sorted(m for m in sys.modules if m.partition(".")[0] == "decoders" or "." not in m)
import decoders
note("import decoders")
from decoders.testing.toy import ToyModel
decoders.decode(ToyModel(), decoders.get("threshold"), [[1, 2]], length=4)
note("decode")
from decoders.cli import main
for command in (["list"], ["generate", "--help"], ["compare", "--help"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(command)
    note(command[0])
decoders.load("nano")
note("nano")
from pathlib import Path
decoders.load(str(Path(decoders.__file__).parent / "models" / "nano"))
note("load")
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = {what: set(modules) for what, modules in json.loads(done.stdout).items()}
    nano, loaded = said.pop("nano"), said.pop("load")
    assert not nano & {"transformers", "huggingface_hub", "decoders.hf", "decoders.processors"}
    assert loaded >= FOR_CHECKPOINTS | OF_CHECKPOINTS - {"decoders.hf", "decoders.processors"}
    early = {what: sorted(modules & (FOR_CHECKPOINTS | OF_CHECKPOINTS)) for what, modules in said.items()}
    assert early == {what: [] for what in said}
    assert len(said) == 5


@pytest.mark.slow
def test_generating_on_nano_imports_nothing_large_but_torch():
    """Neither transformers nor the parts of torch that `import torch` leaves out, such as torch._dynamo."""
    code = """
import contextlib, io, json, sys
import torch
def there():
    return {m.partition(".")[0] for m in sys.modules} | {m for m in sys.modules if m.startswith("torch.")}
before = there()
from decoders.cli import main
quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
with quiet[0], quiet[1], contextlib.suppress(SystemExit):
    main(["generate", "-n", "16", "Sort: b a"])
print(json.dumps(sorted(there() - before - sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = set(json.loads(done.stdout))
    assert {"decoders", "tokenizers"} <= found <= {"decoders", "click", "tokenizers", "safetensors"}
