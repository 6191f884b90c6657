"""What runs inside a sandbox: a program that answers questions, and beside it, in a sandbox of its own, the tests that
ask them.

A test and what it tests share no process, so a program cannot end its test, read what it expects, or say that it
passed: all it can do is answer. Names that the tests do not have are the program's. Plain values travel between the two
as they are, anything else as a `Far` name for what stays on the program's side; what was sent is never run.

`decoders_bench.tasks.sandbox` starts this file by its text, so it knows nothing but the standard library.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import operator
import os
import pickle
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

BASES: tuple[Any, ...] = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
"""Values that travel; of their subclasses, what they hold."""
SAFE = {("builtins", kind.__name__): kind for kind in (*BASES, range, slice)}
"""What a message may make."""
for _module, _names in {
    "collections": "deque", "datetime": "date datetime time timedelta timezone", "decimal": "Decimal",
    "fractions": "Fraction",
}.items():  # fmt: skip
    for _name in _names.split():
        SAFE[_module, _name] = getattr(__import__(_module), _name)
TRAVEL = {type(None), *SAFE.values()}


def confine(seconds: int, memory: int, user: int | None) -> None:
    """Limits that cannot be raised again, and the rights of another user where this one has all of them. Raises
    `OSError`."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if user is not None:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError as e:
            raise PermissionError(f"root cannot become the user {user}: {e.strerror}") from e


class Out(pickle.Pickler):
    """Writes a message."""

    def __init__(self, file: io.BytesIO, far: Any) -> None:
        super().__init__(file, protocol=5)
        self.far = far

    def persistent_id(self, x: Any) -> Any:
        kind = x in TRAVEL if isinstance(x, type) else type(x) in TRAVEL or isinstance(x, BASES)
        return None if kind else self.far(x)

    def reducer_override(self, x: Any) -> Any:
        base = next((b for b in BASES if isinstance(x, b)), None)
        return NotImplemented if base is None or type(x) in TRAVEL else (base, (base(x),))


class In(pickle.Unpickler):
    """Reads a message, of which nothing is run."""

    def __init__(self, data: bytes, near: Any) -> None:
        super().__init__(io.BytesIO(data))
        self.near = near

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in SAFE:
            raise pickle.UnpicklingError(f"{module}.{name} does not travel")
        return SAFE[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return self.near(pid)


def written(message: Any, far: Any) -> bytes:
    file = io.BytesIO()
    Out(file, far).dump(message)
    return file.getvalue()


# The program


def answer(link: Connection, program: str) -> None:
    """Run a program, and then do what is asked of what it has defined, until nobody asks any more. Raises what the
    program raises."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(program, "program.py", "exec"), main.__dict__)
    held: list[Any] = []

    def far(x: Any) -> int:
        held.append(x)
        return len(held) - 1

    def call(f: Any, args: list[Any], named: dict[str, Any]) -> Any:
        return f(*args, **named), args  # lists and the like may have been changed

    deeds: dict[str, Callable[..., Any]] = {
        "name": main.__dict__.__getitem__, "call": call, "attribute": getattr, "set": setattr, "all": list,
        "true": bool, "size": len, "item": operator.getitem,
    }
    with contextlib.suppress(EOFError):
        while True:
            deed, *what = In(link.recv_bytes(), held.__getitem__).load()
            try:
                reply = written((None, deeds[deed](*what)), far)
            except Exception as e:
                reply = written((type(e).__name__, str(e)), far)
            link.send_bytes(reply)


# Its tests


class Asked:
    """Asks the program."""

    def __init__(self, link: Connection) -> None:
        self.link = link

    def __call__(self, *what: Any) -> Any:
        """Raises what the program raised, as far as it is an exception of Python's own."""
        self.link.send_bytes(written(what, lambda x: object.__getattribute__(x, "_at")))
        problem, value = In(self.link.recv_bytes(), lambda at: Far(self, at)).load()
        if problem is None:
            return value
        kind = getattr(builtins, problem, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind(value)
        raise RuntimeError(f"{problem}: {value}")


class Far:
    """Something on the program's side. It equals nothing but itself: what something equals is not for the program to
    say."""

    def __init__(self, asked: Asked, at: int) -> None:
        object.__setattr__(self, "_asked", asked)
        object.__setattr__(self, "_at", at)

    def __call__(self, *args: Any, **named: Any) -> Any:
        value, after = self._asked("call", self, list(args), named)
        for mine, theirs in zip(args, after, strict=True):
            if isinstance(mine, list | bytearray):
                mine[:] = theirs
            elif isinstance(mine, dict | set):
                mine.clear()
                mine.update(theirs)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._asked("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._asked("set", self, name, value)

    def __iter__(self) -> Any:
        return iter(self._asked("all", self))

    def __bool__(self) -> bool:
        return bool(self._asked("true", self))

    def __len__(self) -> int:
        return int(self._asked("size", self))

    def __getitem__(self, key: Any) -> Any:
        return self._asked("item", self, key)


class Names(dict[str, Any]):
    """The global names of the tests. What they lack, the program may have; what is Python's own only where it is among
    `own`."""

    def __init__(self, asked: Asked, own: list[str]) -> None:
        super().__init__(__name__="__main__")
        self.asked = asked
        for name in own:
            with contextlib.suppress(KeyError):
                self[name] = asked("name", name)

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return self.asked("name", name)


def judge(link: Connection, tests: str, own: list[str]) -> None:
    """Run tests of a program that has run to its end."""
    asked = Asked(link)
    asked("true", 1)
    exec(compile(tests, "tests.py", "exec"), Names(asked, own))


def main(role: str, seconds: str, memory: str, user: str, link: str, source: str, *own: str) -> None:
    """`user`: the number of the user whose rights are taken, or nothing. `link`, `source`: descriptors of the
    connection to the other side, and of the text of the program or of its tests. Exits with 0 if tests pass."""
    status = 1
    try:
        confine(int(seconds), int(memory), int(user) if user else None)
        with open(int(source), encoding="utf-8", errors="surrogatepass") as file:
            text = file.read()
        if role == "judge":
            judge(Connection(int(link)), text, list(own))
            status = 0
        else:
            answer(Connection(int(link)), text)
    except BaseException as e:  # SystemExit too: who leaves early has not passed
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
    finally:
        os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
