"""The pages are what their generators say, and name everything there is."""

from __future__ import annotations

import re
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
def test_the_generated_parts_of_the_pages_are_current():
    done = subprocess.run([sys.executable, "-m", "cogapp", "--check", *PAGES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_with_a_generated_part_is_checked_before_every_commit():
    generated = set(ROOT.glob("*.md")) | set((ROOT / "docs").glob("*.md"))
    assert {ROOT / page for page in PAGES} == {
        p for p in generated if "[[[end]]]" in p.read_text() and "[[[cog" in p.read_text()
    }
    for file in (".pre-commit-config.yaml", "Makefile"):
        assert "@docs/pages.txt" in (ROOT / file).read_text()


def test_every_built_in_stands_on_its_page():
    for kind in ("strategies", "caches"):
        page = (ROOT / "docs" / f"{kind}.md").read_text()
        for entry in entries(kind):
            if entry.distribution == DISTRIBUTION:
                assert f"| `{entry.name}` |" in page
                assert kind == "caches" or f"`{entry.name}`" in page[: page.index("## All of them")]


def test_the_examples_in_the_docs_are_those_that_are_tested():
    source = (ROOT / "plugins" / "example" / "decoders_zigzag.py").read_text()
    classes = source.split("\n\n\n")[1:]
    pages = [["README.md", "docs/write-a-decoder.md"], ["docs/write-a-decoder.md"], ["docs/write-a-cache.md"]]
    for each, where in zip(classes, pages, strict=True):
        for page in where:
            assert f"```python\n{each.strip()}\n```" in (ROOT / page).read_text()


def test_the_readme_is_short_and_its_links_lead_somewhere():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (ROOT / link).is_file(), link


def test_the_comparison_counts_what_is_built_in():
    readme = (ROOT / "README.md").read_text()
    for kind, title in (("strategies", "decoding strategies"), ("caches", "caches")):
        own = [e for e in entries(kind) if e.distribution == DISTRIBUTION and not e.problem]
        assert f"| {title} | {len(own)} |" in readme
