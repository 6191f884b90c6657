"""The sandbox of code that a model wrote: what it holds, attack by attack, and that nothing is run where it cannot
hold."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders.cli import main
from decoders_bench.tasks import sandbox
from decoders_bench.tasks.sandbox import passes, problem, unsafely

held = pytest.mark.skipif(problem() is not None, reason=f"no sandbox: {problem()}")
WRONG = "assert f(1) == 2\nassert f(2) == 5"
"""Tests that the programs here do not deserve to pass."""


@pytest.fixture(
    params=[pytest.param(True, marks=held), pytest.param(False, marks=pytest.mark.slow)], ids=["sandbox", "unsafe"]
)
def _either(request, monkeypatch):
    """What has to hold with a sandbox and without one."""
    if not request.param:
        monkeypatch.setattr(sandbox, "problem", lambda: "none here")
    with unsafely(not request.param):
        yield


@pytest.mark.usefixtures("_either")
def test_a_program_passes_if_it_runs_to_its_end_and_answers_right():
    assert passes("assert 1 + 1 == 2")
    assert not passes("assert 1 + 1 == 3")
    assert not passes("def f(:")
    assert passes("def f(x): return x + 1", "assert f(1) == 2")
    assert not passes("def f(x): return x + 1", WRONG)
    assert not passes("def f(x): return x + 1", "assert g(1) == 2")
    assert not passes("def f(x): return x + 1\nraise ValueError", "assert f(1) == 2")


VALUES = {
    "plain": ("def f(): return [1, (2.5, {'a': {3}}, None), b'x', 1 + 2j, float('inf')]",
              "assert f() == [1, (2.5, {'a': {3}}, None), b'x', 1 + 2j, float('inf')]"),
    "subclasses": ((
        "from collections import *\nP = namedtuple('P', 'x y')\ndef f(): return [P(1, 2), Counter('aa'), "
        "True]"
    ),
                   "assert f() == [(1, 2), {'a': 2}, True] and f()[2] is True"),
    "of the library": ((
        "from decimal import *\nfrom datetime import *\ndef f(): return Decimal('1.5'), date(2020, 1, 2), "
        "range(3)"
    ),
                       (
                           "from decimal import *\nimport datetime as d\nassert f() == (Decimal('1.5'), d.date(2020, "
                           "1, 2), range(3))"
                       )),
    "changed in place": ("def f(x, y): x.sort(); y['a'] = 1",
                         "x, y = [2, 1], {}\nf(x, y)\nassert x == [1, 2] and y == {'a': 1}"),
    "named": ("def f(x, *, y): return x - y", "assert f(3, y=1) == 2"),
    "errors": ("class Own(Exception): pass\ndef f(x):\n    raise ValueError('no') if x else Own('own')",
               (
                   "try: f(1)\nexcept ValueError as e: assert str(e) == 'no'\ntry: f(0)\nexcept Exception as e: "
                   "assert 'own' in str(e)"
               )),
    "lazy": ("def f(n): yield from range(n)", "assert list(f(3)) == [0, 1, 2] and tuple(f(2)) == (0, 1)"),
    "functions": ("def f(a): return lambda b: a + b", "assert f(1)(2) == 3 and (f if f else 0)(1)"),
    "classes": ("class P:\n    def __init__(self, a): self.a = a\n    def __len__(self): return 0\n"
                "    def __getitem__(self, i): return i\ndef f(p): return p.a",
                "p = P(1)\np.a = 7\nassert f(p) == p.a == 7 and not p and len(p) == 0 and p[4] == 4 and P(1).a == 1"),
    "types": ("def f(x, kind): return isinstance(x, kind)", "assert f(1, int) and not f('1', int)"),
    "constants": ("N = 3", "def check(x):\n    assert x == N\ncheck(3)"),
    "as a script": ((
        "from dataclasses import *\n@dataclass\nclass A:\n    x: 'int'\nif __name__ == '__main__':\n    N = "
        "1"
    ),
                    "assert N == 1 and A(2).x == 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.usefixtures("_either")
def test_what_tests_may_ask(name):
    assert passes(*VALUES[name])


FRAME = (
    "import pickle, struct\ndef frame(x):\n    x = pickle.dumps((None, x))\n    return struct.pack('!i', len(x)) + x\n"
)
FORGERIES = {
    "leaving": "import os\nos._exit(0)",
    "leaving at the test": "import os\ndef f(x): os._exit(0)",
    "sys.exit": "import sys\ndef f(x): sys.exit(0)",
    "printing": "import sys\nprint('passed', sys.argv, sys.orig_argv)\ndef f(x): print('passed'); return 2",
    "printing everything": (
        "import gc\nfor x in gc.get_objects():\n    if isinstance(x, str): print(x)\ndef f(x): return "
        "2"
    ),
    "equal to everything": (
        "class E:\n    def __eq__(self, x): return True\n    def __ne__(self, x): return False\ndef f(x): return "
        "E()"
    ),
    "a number equal to everything": "class E(int):\n    def __eq__(self, x): return True\ndef f(x): return E()",
    "other builtins": (
        "import builtins as b\nb.AssertionError = None\nb.all = b.bool = lambda *a: True\ndef f(x): return "
        "2"
    ),
    "an assertion": "def f(x): raise AssertionError",
    "an exception that ends": "def f(x): raise SystemExit(0)",
    "answers in advance": FRAME + "import os\nfor fd in range(3, 64):\n"
                                  "    try: os.write(fd, frame(True) + frame(True) + frame(2) * 9)\n"
                                  "    except OSError: pass\nos._exit(0)",
    "code in an answer": "import os, pickle, struct\nx = pickle.dumps(os._exit)[:-1] + b'K\\x00\\x85R.'\n"
                         "for fd in range(3, 64):\n    try: os.write(fd, struct.pack('!i', len(x)) + x)\n    except "
                         "OSError: pass\n"
                         "os._exit(0)",
    "the test's frames": "import sys\ndef f(x):\n    g = sys._getframe()\n"
                         "    while g:\n        g.f_locals['status'] = 0\n        g = g.f_back\n    return 2",
    "killing": "import os, signal\ndef f(x):\n    os.kill(os.getppid(), signal.SIGTERM); return 2",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
@held
def test_a_program_cannot_say_that_it_passed(name):
    assert not passes(FORGERIES[name], WRONG)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FORGERIES if n != "killing"])
def test_nor_can_it_without_a_sandbox(name, monkeypatch):
    monkeypatch.setattr(sandbox, "problem", lambda: "none here")
    with unsafely():
        assert not passes(FORGERIES[name], WRONG)


@held
def test_a_program_writes_nothing_outside_its_directory_and_little_in_it(tmp_path):
    tmp_path.chmod(0o777)
    for place in (Path(p) / "x" for p in (tmp_path, sys.prefix, sys.base_prefix, "/", "/dev", "/etc")):
        assert not passes(f"open({str(place)!r}, 'w').write('x')"), place
        assert not place.exists()
    assert not passes(f"import os\nos.remove({os.__file__!r})")
    assert Path(os.__file__).exists()
    assert passes("import os\nassert os.listdir() == []\nopen('x', 'w').write('1')\nassert open('x').read() == '1'")
    assert not passes("open('x', 'wb').write(bytes(2_000_000))")
    assert not passes("for i in range(40): open(str(i), 'wb').write(bytes(1_000_000))")
    assert passes("import os\nassert os.listdir() == []")  # nothing is left


@held
def test_a_program_sees_no_file_of_the_user_and_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    for path in (tmp_path / "secret", Path("/etc/passwd"), Path("/proc/self"), Path(__file__)):
        assert passes(f"import os\nassert not os.path.exists({str(path)!r})"), path
    assert passes("import os\nassert 'SECRET' not in os.environ and 'HOME' not in os.environ")
    assert passes("import sys\nassert not sys.stdin.read()")


@held
def test_a_program_is_nobody_and_gets_no_rights_back():
    assert passes("import os\nassert os.getresuid().count(0) == 0")
    mount = "import ctypes\nassert not ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None)"
    for deed in ("os.setuid(0)", "os.chroot('.')", mount):
        assert not passes(f"import os\n{deed}")
    assert not passes("import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (9, 9))")


@pytest.mark.slow
@pytest.mark.usefixtures("_either")
def test_a_program_is_ended_when_it_takes_too_long():
    began = time.monotonic()
    assert not passes("import time\nwhile True: time.sleep(1)", seconds=1)
    assert not passes("while True: pass", seconds=1)
    assert not passes("def f(x):\n    while True: pass", WRONG, seconds=1)
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("_either")
def test_a_program_has_only_so_much_memory():
    assert passes("x = bytearray(50_000_000)")
    assert not passes("x = bytearray(2_000_000_000)")


FORK = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


@held
@pytest.mark.parametrize("deed", [
    "os.fork()", "import subprocess; subprocess.run(['/bin/true'])", "os.posix_spawn('/bin/true', ['true'], {})",
    "import threading; threading.Thread(target=print).start()",
])
def test_a_program_starts_no_process(deed):
    assert not passes(FORK + deed)


@held
def test_nothing_of_a_program_outlives_its_time():
    memory = (1 << 30) + os.getpid()  # stands in the command of both sides
    daemon = f"{FORK}try:\n    os.fork() or os.setsid()\nexcept OSError: pass\ntime.sleep(987)"
    assert not passes(daemon, seconds=1, memory=memory)
    until = time.monotonic() + 5  # the kernel takes a moment to end what was in the namespace
    while any(str(memory).encode() in line(p) for p in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() < until
        time.sleep(0.05)


def line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone
        return b""


@held
def test_a_program_reaches_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0decoders-test")
        local.listen()
        port = server.getsockname()[1]
        assert not passes(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
        assert not passes("import socket\nsocket.socket(socket.AF_UNIX).connect('\\0decoders-test')")
    away = "socket.create_connection(('192.0.2.1', 80), 2)"
    assert passes(f"import socket\ntry: {away}\nexcept OSError as e: assert e.errno == 101")


@held
def test_a_program_sees_and_ends_no_other_process():
    assert not passes(f"import os\nos.kill({os.getpid()}, 0)") or os.getpid() < 8
    assert passes("import os\nassert os.getpid() < 8")


# Where there is no sandbox


def fake(directory: Path, script: str) -> None:
    (directory / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "bwrap").chmod(0o755)


@pytest.mark.parametrize(("script", "said"), [
    (None, "bubblewrap is not installed"),
    ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "a program here: bwrap: No permissions"),
    ("exit 1", "it does not start"),
], ids=["none", "no namespaces", "silent"])  # fmt: skip
def test_where_it_cannot_hold_nothing_is_run_unless_that_is_said(tmp_path, monkeypatch, script, said):
    if script:
        fake(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sandbox, "problem", problem.__wrapped__)
    marker = tmp_path / "ran"
    with pytest.raises(UsageError, match=said) as e:
        passes(f"open({str(marker)!r}, 'w')")
    assert "--unsafe" in str(e.value)
    assert "\n" not in str(e.value)
    assert not marker.exists()
    with unsafely():
        assert passes(f"open({str(marker)!r}, 'w')")
    assert marker.exists()
    with unsafely(), unsafely(False), pytest.raises(UsageError):
        passes("")


def test_the_command_refuses_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "problem", lambda: "bubblewrap is not installed")
    row = '{"task_id": 1, "text": "Add.", "code": "", "test_list": ["assert add(1, 2) == 3"]}\n'
    (tmp_path / "set.jsonl").write_text(row)
    tasks = f"mbpp:{tmp_path / 'set.jsonl'}"
    args = ["bench", "quality", "-d", "threshold:tau=0.0", "-t", tasks, "-n", "1", "--workers", "1", "--length", "8",
            "--templates", "0", "-o", str(tmp_path / "run"), "--execute-code"]  # fmt: skip
    refused = CliRunner().invoke(main, args)
    assert refused.exit_code == 2
    assert "bubblewrap is not installed; code that a model wrote is run without a sandbox only with" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert CliRunner().invoke(main, [*args, "--unsafe"]).exit_code == 0


@held
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="for root")
def test_root_that_cannot_become_another_user_is_refused():
    """In a namespace that has root alone, as in some containers."""
    ask = "from decoders_bench.tasks.sandbox import problem; print(problem())"
    lone = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*lone, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of users here")
    said = subprocess.run([*lone, sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert said.startswith("bubblewrap cannot hold a program here: PermissionError: root cannot become the user 65534")
