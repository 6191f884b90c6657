"""The pages for authors, followed literally in an empty directory: their files, then their commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from support.commands import DECODERS, shell

DOCS = Path(__file__).parents[2] / "docs"
FEWER = {" -n 30 ": " -n 2 "}
"""What is changed: there are two problems, so that it ends soon."""
UNTITLED = {
    "write-a-decoder.md": "zigzag.py", "write-a-cache.md": "beat.py", "write-a-task.md": "backwards.py",
    "write-a-family.md": "moon.py", "write-a-constraint.md": "letters.py",
}
"""The file into which a page has its untitled blocks written."""


def write_files(page: str, text: str, where: Path) -> None:
    """The blocks of a page that have a title, each under it, and its other Python blocks, one behind the other, in one
    file."""
    blocks = re.findall(r'```(python|json)(?: title="([^"]+)")?\n(.*?)```', text, re.S)
    (where / UNTITLED[page]).write_text("\n\n".join(code for _, title, code in blocks if not title))
    for _, title, code in blocks:
        if title:
            (where / title).write_text(code)


def commands(text: str) -> list[list[str]]:
    """The commands of its shell blocks."""
    lines = "".join(re.findall(r"```bash\n(.*?)```", text, re.S)).splitlines()
    assert all(line.startswith("decoders ") for line in lines)
    for given, here in FEWER.items():
        lines = [line.replace(given, here) for line in lines]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("page", UNTITLED)
def test_the_page_can_be_followed_literally(page, tmp_path):
    text = (DOCS / page).read_text()
    write_files(page, text, tmp_path)
    done = []
    for command in commands(text):
        result = shell(*command, cwd=tmp_path)
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        done.append(" ".join(command[:2]))
        if command[0] == "check":
            assert "broken" not in result.stdout
            assert re.search(rf"^{re.escape(command[-1])} keeps ", result.stdout, re.M)
    if page == "write-a-decoder.md":
        assert {"check zigzag:ZigZag", "new strategy", "bench duel", "bench report"} <= set(done)
        made = {"trace.jsonl", "my_rule", "run", "report.html"}
        assert made <= {p.name for p in tmp_path.iterdir()}
        [wrapper] = re.findall(r"`(at_most:AtMost:\S+)`", text)
        wrapped = shell("generate", "-d", wrapper, "Sort: d b a c", cwd=tmp_path)
        assert wrapped.returncode == 0, wrapped.stderr


@pytest.mark.slow
def test_the_failure_that_the_page_shows_is_that_of_its_file(tmp_path):
    text = (DOCS / "write-a-decoder.md").read_text()
    write_files("write-a-decoder.md", text, tmp_path)
    done = subprocess.run(
        [DECODERS, "check", "--fast", "hasty:Hasty"], cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )
    assert done.returncode == 1
    assert done.stdout.rstrip() in text


@pytest.mark.parametrize("page", UNTITLED)
def test_what_stands_on_a_page_can_be_imported(page, tmp_path):
    write_files(page, (DOCS / page).read_text(), tmp_path)
    exec(compile((tmp_path / UNTITLED[page]).read_text(), UNTITLED[page], "exec"), {"__name__": "__main__"})


def test_every_example_stands_on_a_page_as_it_is():
    pages = "".join((DOCS / name).read_text() for name in UNTITLED)
    for file in (p for p in (DOCS / "examples").rglob("*.*") if p.suffix in (".py", ".jsonl")):
        language = "python" if file.suffix == ".py" else "json"
        assert f'```{language} title="{file.name}"\n{file.read_text()}```' in pages, file
