"""What is told of plugs without importing them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from decoders import UsageError, catalogue, get, specs
from decoders.tree import DISTRIBUTION

WITHOUT = """
import sys
from decoders.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as e:
    print("code", e.code or 0, [m for m in ("torch", "transformers", "numpy") if m in sys.modules])
"""


@pytest.mark.parametrize("kind", catalogue.KINDS)
def test_what_is_written_down_is_what_the_plugs_say(kind):
    """Where it is not: `python -m decoders.catalogue`."""
    own = {name: e for name, (e, *more) in specs.table(kind).items() if specs.owner(e) == DISTRIBUTION and not more}
    assert catalogue.written_down()[kind] == {
        f"{name} = {e.value}": catalogue.imported(kind, name) for name, e in own.items()
    }


def test_so_are_the_families():
    assert catalogue.written_down()["families"] == catalogue.families()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--help", 0), ("--version", 0), ("", 2), ("list", 0), ("list strategies --json", 0), ("models", 0),
        ("list tasks", 0), ("list tasks --json", 0), ("list families", 0), ("list families --json", 0),
        ("bench --help", 0), ("generate --help", 0), ("serve --help", 0), ("nosuch", 2), ("generate", 2),
        ("generate --nosuch", 2), ("generate -d nosuch a", 2), ("generate -d threshold:taw=1 a", 2),
        ("generate -d threshold: a", 2), ("compare a", 2), ("compare a -d nosuch", 2), ("bench nosuch", 2),
        ("bench quality --nosuch", 2),
    ],
)  # fmt: skip
def test_help_lists_and_mistakes_import_nothing_heavy(command, code):
    asked = [sys.executable, "-c", WITHOUT, *command.split()]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"code {code} []", done.stderr


@pytest.mark.parametrize(
    "spec",
    ["nosuch", "tresholt:tau=1", "threshold:taw=0.9", "llada:", ":tau=1", "threshold:tau=1,tau=2", "threshold:x=("],
)
def test_a_mistake_is_told_as_whoever_makes_the_plug_tells_it(spec):
    with pytest.raises(UsageError) as early:
        catalogue.check("strategies", spec)
    with pytest.raises(UsageError) as late:
        get(spec)
    assert str(early.value) == str(late.value)


def test_specs_that_are_right_and_older_ones_pass():
    older = [p["name"] for p in catalogue.plugs("strategies") if p["older"]]
    assert older
    right = "threshold:tau=0.9", "fast-dllm:tau=0.5", "no.such:Thing:x=1"
    for spec in (*right, *(f"{name}:nosuch=1" for name in older)):
        catalogue.check("strategies", spec)
