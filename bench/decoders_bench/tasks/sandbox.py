"""Python that a model wrote, run where it can do no harm: in bubblewrap's namespaces, with limits of time, memory,
files and processes.

What is held, each by a test (tests/bench/test_sandbox.py): a program sees Python's own files, which it cannot change,
and an empty directory in memory, of 16 MB, which is gone afterwards; no file of the user's, no environment, no network,
no other process. It starts no process and no thread, has so many seconds and so much memory, and nothing of it is left
when its time is over. Under root it runs as nobody. Its tests run in a sandbox of their own beside it
(`decoders_bench.tasks.guest`), so it cannot pass but by what it answers.

Where a machine cannot hold that (`problem`), nothing is run, unless `unsafely` says so: then only the limits of one
process are there. The kernel itself is the wall, as with any container: what is meant to break out belongs into a
virtual machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import Pipe
from pathlib import Path

from decoders import UsageError

GUEST = Path(__file__).with_name("guest.py")
NOBODY = 65534
SPACE = 16 << 20
"""Bytes that a program may write, in all."""
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_unsafe = False


@contextlib.contextmanager
def unsafely(allowed: bool = True) -> Iterator[None]:
    """Let programs run without a sandbox, for as long as this lasts, where the machine has none that holds."""
    global _unsafe
    before, _unsafe = _unsafe, allowed
    try:
        yield
    finally:
        _unsafe = before


def walls() -> list[str]:
    """The command that runs another in a sandbox. Python is where it is outside."""
    root = os.geteuid() == 0  # who makes no namespace of users, and can then take the rights of another one
    rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if root else ["--unshare-user"]
    apart = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
    python = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)} - {"/usr"}
    seen = [*SYSTEM, *sorted(python)]
    above = {str(d): None for path in seen for d in reversed(Path(path).parents)}  # else bubblewrap's for itself alone
    return [
        shutil.which("bwrap") or "bwrap", *apart, "--die-with-parent", "--new-session", "--cap-drop", "ALL", *rights,
        *(x for directory in above for x in ("--perms", "0755", "--dir", directory)),
        *(x for path in seen for x in ("--ro-bind-try", path, path)),
        *(x for device in ("null", "urandom") for x in ("--dev-bind", f"/dev/{device}", f"/dev/{device}")),
        "--perms", "0777", "--size", str(SPACE), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp",
    ]


@cache
def problem() -> str | None:
    """Why programs cannot be held here; none if they can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (the package bubblewrap, the command bwrap)"
    with tempfile.TemporaryFile() as said:
        status = run("import statistics\n", "import statistics\n", inside=walls(), said=said.fileno())
        said.seek(0)
        told = said.read(2000).decode(errors="replace").strip().partition("\n")[0]
    return None if status == 0 else f"bubblewrap cannot hold a program here: {told or 'it does not start'}"


def passes(program: str, tests: str = "", *, own: Sequence[str] = (), seconds: int = 10, memory: int = 1 << 30) -> bool:
    """Whether a program runs to its end and then passes its tests, within `seconds` of wall and of CPU time and
    `memory` bytes of address space, each of the two. Names that the tests do not have are the program's, and those in
    `own` even if Python has them too.

    Raises `UsageError` where programs cannot be held and nobody said `unsafely`."""
    check(_unsafe)
    return run(program, tests, own, seconds, memory, inside=[] if problem() else walls()) == 0


def check(unsafe: bool) -> None:
    """Raises `UsageError` where programs cannot be held, unless that is said to be `unsafe` and wanted."""
    if not unsafe and (why := problem()):
        raise UsageError(f"{why}; code that a model wrote is run without a sandbox only with --unsafe")


def run(
    program: str, tests: str, own: Sequence[str] = (), seconds: int = 10, memory: int = 1 << 30, *, inside: list[str],
    said: int = subprocess.DEVNULL,
) -> int | None:
    """The exit status of the tests; none if they took too long. `inside`: the command that both sides are run by;
    nothing: as processes of their own. `said`: where both may complain."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(link) for link in Pipe()]
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="decoders-"))
        sides = []
        for link, text, role in zip(links, (program, tests), (("program",), ("judge", *own)), strict=True):
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(text.encode("utf-8", errors="surrogatepass"))
            source.seek(0)
            user = str(NOBODY) if inside and os.geteuid() == 0 else ""
            given = (role[0], str(seconds), str(memory), user, str(link.fileno()), str(source.fileno()), *role[1:])
            side = subprocess.Popen(
                [*inside, sys.executable, "-I", "-c", GUEST.read_text(encoding="utf-8"), *given], cwd=directory,
                env={"PYTHONHASHSEED": "0"}, pass_fds=(link.fileno(), source.fileno()), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
            )  # fmt: skip
            sides.append(side)
            stack.callback(end, side)
            link.close()
        try:
            return sides[1].wait(timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            return None


def end(side: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(side.pid, signal.SIGKILL)
    side.wait()
