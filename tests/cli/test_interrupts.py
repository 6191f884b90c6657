"""Ctrl-C: one line and exit code 130, whenever it comes, and whatever swallows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from decoders.cli import interrupts
from support.commands import DECODERS

LONG = "generate", "-d", "left_to_right", "-n", "200", "--ignore-eos", *["Sort: b a c"] * 1000
"""At least a minute of work on the fastest machine."""


def interrupted(*command: str, after: float | None, again: float | None = None) -> tuple[int, list[str], float]:
    """The exit code of a command, its lines on stderr, and how long it took to obey. It is interrupted after so many
    seconds, or once it has said that it works."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    if after is None:
        assert run.stdout.readline() == "working\n"
    time.sleep(after or 0.5)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    if again is not None:
        time.sleep(again)
        run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=120)
    return run.returncode, [line for line in told.splitlines() if not line.startswith("[")], time.monotonic() - began


@pytest.mark.parametrize(
    "after", [0.5, 1.0, 2.0, pytest.param(4.0, marks=pytest.mark.slow), pytest.param(8.0, marks=pytest.mark.slow)]
)
def test_at_any_moment(after):
    code, told, _ = interrupted(DECODERS, *LONG, after=after)
    assert (code, told) == (130, ["Interrupted."])


def script(body: str) -> tuple[str, str, str]:
    """A process that works in some way of its own once it has said so; interrupts are listened for first."""
    code = (
        "from decoders.cli import interrupts\ninterrupts.PATIENCE = 0.5\ni = interrupts.Interrupts()\nimport time, "
        f"gc\n{body}"
    )
    return sys.executable, "-c", code


SWALLOWED = """
i.working = True
print("working", flush=True)
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        pass
"""
FORGOTTEN = """
i.working = True
class Finaliser:
    def __del__(self):
        time.sleep(0.05)
print("working", flush=True)
while True:
    Finaliser()
"""
OBEYED = """
i.working = True
try:
    print("working", flush=True)
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    raise SystemExit(7)
"""
AFTERWARDS = """
print("working", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("body", "code", "lines"), [
    (SWALLOWED, 130, 1), (FORGOTTEN, 130, None), (OBEYED, 7, 0), (AFTERWARDS, 130, 1),
])  # fmt: skip
def test_what_forgets_an_interrupt_is_left_behind(body, code, lines):
    """Python forgets an exception in a finaliser, after words of its own."""
    found, told, seconds = interrupted(*script(body), after=None)
    assert found == code
    assert lines is None or len(told) == lines
    assert told[-1:] == (["Interrupted."] if code == 130 else [])
    assert seconds < 10


def test_a_second_one_does_not_wait():
    code, told, seconds = interrupted(
        *script(SWALLOWED.replace("i.working", "interrupts.PATIENCE = 60; i.working")), after=None, again=0.2
    )
    assert (code, told) == (130, ["Interrupted."])
    assert seconds < 10


def test_one_during_an_import_does_not_wait(tmp_path):
    """Where an exception would come out of code that is called from C++, which aborts the process."""
    (tmp_path / "working.py").write_text(SWALLOWED.replace("i.working = True\n", "import time\n"))
    body = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\ninterrupts.PATIENCE = 60\ni.working = True\n"
    code, told, seconds = interrupted(*script(f"{body}import working"), after=None)
    assert (code, told) == (130, ["Interrupted."])
    assert seconds < 10


def test_importing_the_command_line_changes_no_handler():
    code = (
        "import signal as s, decoders.cli.app, decoders.__main__; print(s.getsignal(s.SIGINT) is s.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert interrupts.PATIENCE >= 5
