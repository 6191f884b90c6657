"""The pages for authors: their blocks can be imported as they stand, and the files are on them as they are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
UNTITLED = {"write-a-decoder.md": "zigzag.py", "write-a-cache.md": "beat.py"}
"""The file into which a page has its untitled blocks written."""


def write_files(page: str, text: str, where: Path) -> None:
    """The Python blocks of a page: those with a title under it, and the others, one behind the other, in one file."""
    blocks = re.findall(r'```python(?: title="([^"]+)")?\n(.*?)```', text, re.S)
    (where / UNTITLED[page]).write_text("\n\n".join(code for title, code in blocks if not title))
    for title, code in blocks:
        if title:
            (where / title).write_text(code)


@pytest.mark.parametrize("page", UNTITLED)
def test_what_stands_on_a_page_can_be_imported(page, tmp_path):
    write_files(page, (DOCS / page).read_text(), tmp_path)
    exec(compile((tmp_path / UNTITLED[page]).read_text(), UNTITLED[page], "exec"), {"__name__": "__main__"})


def test_every_example_stands_on_a_page_as_it_is():
    pages = "".join((DOCS / name).read_text() for name in UNTITLED)
    for file in (DOCS / "examples").rglob("*.py"):
        assert f'```python title="{file.name}"\n{file.read_text()}```' in pages, file
