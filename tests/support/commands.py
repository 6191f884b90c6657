"""The command line, in this process and as it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from decoders.cli import main

DECODERS = str(Path(sys.executable).parent / "decoders")


def call(*args: object) -> Result:
    """Run in this process; a traceback is a failure, whatever was expected."""
    done = CliRunner().invoke(main, [str(a) for a in args])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def shell(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([DECODERS, *args], capture_output=True, text=True, env=env, **more)
