"""The blocks of docs/python.md, run one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.slow
def test_the_page_runs_as_it_stands(tmp_path):
    pytest.importorskip("matplotlib")
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" a b c 1 3.0\n c b a ")
    assert {p.name for p in tmp_path.iterdir()} == {"canvas.pdf", "order.pdf"}
