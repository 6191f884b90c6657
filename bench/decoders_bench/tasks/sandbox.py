"""Python that a model wrote, run where it can do little harm: another process with limits of time, memory, file size and processes,
an empty directory and environment, and, where the kernel lets an ordinary user have them, its own network and process namespaces.

This keeps mistakes of a model's from the machine. It is no wall against somebody who wants to break out: the files of the user who
runs it can be read. Run what you do not trust at all in a container.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache

LIMITED = """\
import os, resource, sys
seconds, memory, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for what, most in (
    (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(what, (most, most))
os.execv(sys.executable, [sys.executable, "-I", path])
"""
NAMESPACES = ("unshare", "--user", "--net", "--pid", "--fork", "--kill-child")


@cache
def apart() -> tuple[str, ...]:
    """What runs a command in namespaces of its own; empty if that cannot be had here."""
    if shutil.which(NAMESPACES[0]) is None:
        return ()
    return NAMESPACES if subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode == 0 else ()


def passes(program: str, *, seconds: int = 10, memory: int = 1 << 30) -> bool:
    """Whether a program runs to its end: without an exception, without leaving early, within `seconds` of wall and of CPU time and
    `memory` bytes of address space."""
    end = secrets.token_hex(16)  # printed behind the program, which may not reach it
    with tempfile.TemporaryDirectory(prefix="decoders-") as directory, tempfile.TemporaryFile() as out:
        path = os.path.join(directory, "program.py")
        with open(path, "w", encoding="utf-8", errors="surrogatepass") as f:
            f.write(f"{program}\n\nprint({end!r})\n")
        run = subprocess.Popen(
            [*apart(), sys.executable, "-I", "-c", LIMITED, str(seconds), str(memory), path], cwd=directory, env={"PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        try:
            run.wait(timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with_group(run)
        out.seek(0)
        return run.returncode == 0 and out.read().endswith(f"{end}\n".encode())


def with_group(run: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
