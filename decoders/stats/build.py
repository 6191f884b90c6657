"""The compiled kernel: one C++ file of this package, compiled to a library by the system's compiler when it is first
needed, and kept in the user's cache.

The library is in `$XDG_CACHE_HOME/decoders`, else `~/.cache/decoders`; its name contains a hash of the source, the
flags, the compiler and the processor. It is written under another name first and then renamed, so that two processes
may compile it at the same time.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

SOURCE = Path(__file__).with_name("rows.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wno-psabi")
COMPILERS = "c++", "g++", "clang++"
SECONDS = 120  # longer than any compiler takes
CPU_INFO = Path("/proc/cpuinfo")
TELLING = "model name", "flags", "Features", "CPU part"
"""The fields that distinguish processors with different instruction sets."""


class CannotBuildError(Exception):
    """Why there is no library, in a few words."""


def library() -> ctypes.CDLL:
    """The kernel, compiled now if it is not in the cache. Raises `CannotBuildError`."""
    if os.name != "posix":
        raise CannotBuildError("it is built on POSIX systems only")
    try:
        command = compiler()
        path = cache() / f"rows-{fingerprint(command)}.so"
        if not path.exists():
            build(command, path)
        own(path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as e:  # no home directory: RuntimeError
        raise CannotBuildError(str(e).splitlines()[0] if str(e) else type(e).__name__) from e


def compiler() -> list[str]:
    """The command that `$CXX` names, else the first C++ compiler on the path."""
    named = shlex.split(os.environ.get("CXX", ""))
    for name in named[:1] or COMPILERS:
        if found := shutil.which(name):
            return [found, *named[1:]]
    raise CannotBuildError("there is no C++ compiler")


def cache() -> Path:
    """The directory of libraries: the user's own, which nobody else can write to."""
    root = os.environ.get("XDG_CACHE_HOME")
    path = (Path(root) if root and Path(root).is_absolute() else Path.home() / ".cache") / "decoders"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    own(path)
    return path


def own(path: Path) -> None:
    """Raises `CannotBuildError` for a path of another user, or that another user can write to."""
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CannotBuildError(f"{path} is not this user's alone")


def fingerprint(command: list[str]) -> str:
    """A hash of everything that determines the library."""
    made = Path(command[0]).resolve().stat()
    what = (*command, *FLAGS, str(made.st_mtime_ns), str(made.st_size), platform.machine(), processor())
    return sha256(b"\0".join([SOURCE.read_bytes(), *map(os.fsencode, what)])).hexdigest()[:24]


def processor() -> str:
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(TELLING)}))


def build(command: list[str], path: Path) -> None:
    """Writes the library. Raises `CannotBuildError`."""
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, *FLAGS, "-o", made, str(SOURCE)], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise CannotBuildError(f"{command[0]} failed: {(done.stderr.strip() or '?').splitlines()[-1]}")
        os.chmod(made, 0o700)
        os.replace(made, path)
    finally:
        Path(made).unlink(missing_ok=True)
