"""The README is what its generators say, and names everything there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from decoders.registry import entries
from decoders.tree import DISTRIBUTION

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "pages.txt").read_text().split()
"""What cog writes."""


@pytest.mark.slow
def test_the_generated_parts_of_the_readme_are_current():
    done = subprocess.run([sys.executable, "-m", "cogapp", "--check", *PAGES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_with_a_generated_part_is_checked_before_every_commit():
    generated = set(ROOT.glob("*.md")) | set((ROOT / "docs").glob("*.md"))
    assert {ROOT / page for page in PAGES} == {
        p for p in generated if "[[[end]]]" in p.read_text() and "[[[cog" in p.read_text()
    }
    for file in (".pre-commit-config.yaml", "Makefile"):
        assert "@docs/pages.txt" in (ROOT / file).read_text()


def test_every_built_in_stands_in_the_readme_and_on_its_page():
    readme, shelf = (ROOT / "README.md").read_text(), (ROOT / "docs" / "strategies.md").read_text()
    for kind, page in (("strategies", shelf), ("caches", readme)):
        for entry in entries(kind):
            if entry.distribution == DISTRIBUTION:
                assert f"`{entry.name}`" in readme
                assert f"| `{entry.name}` |" in page


def test_the_example_in_the_readme_is_the_one_that_is_tested():
    source = (ROOT / "plugins" / "example" / "decoders_zigzag.py").read_text()
    readme, classes = (ROOT / "README.md").read_text(), source.split("\n\n\n")[1:]
    assert len(classes) == 3
    for each in classes:
        assert f"```python\n{each.strip()}\n```" in readme
