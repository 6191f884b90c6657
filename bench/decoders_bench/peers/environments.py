"""The environments of the peers: one for each, so that the requirements of one affect neither another one nor this
library."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from decoders import UsageError

PEERS: Mapping[str, tuple[str, ...]] = {
    "diffusers": (
        "diffusers==0.42.1", "transformers==5.23.0", "importlib-metadata==8.7.0", "zipp==3.23.0", "Pillow==12.0.0",
    ),  # its DiffusionGemma calls the cache by the name that transformers had before 5.24
    "transformers": (),
    "dllm-reason": ("dllm-reason==1.6.1",),
    "dlmserve": (
        "dlmserve==0.1.1", "transformers==4.57.6", "tokenizers==0.22.1", "huggingface-hub==0.36.0",
        "prometheus-client==0.23.1",
    ),
    "llada": (),
    "fast-dllm": ("einops==0.8.2",),
}
"""The packages that are installed for each peer. Its environment also sees torch and the other packages of this
environment, as separate installations of torch would take gigabytes; its own packages take precedence. `--no-deps`:
packages that a peer requires but does not import here (servers, data sets, CUDA kernels) are not installed."""

FETCHED: Mapping[str, tuple[str, str]] = {
    "llada": ("https://github.com/ML-GSAI/LLaDA", "generate.py"),
    "fast-dllm": ("https://github.com/NVlabs/Fast-dLLM", "llada/generate.py"),
}
"""Peers that are not on an index: the repository, and a file by which a checkout of it is recognised. This library
contains none of their code; the user gives the directory."""


def checked_code(name: str, directory: Path) -> Path:
    """The directory of a fetched peer. Raises `UsageError` if its code is not in it."""
    where, file = FETCHED[name]
    if not (directory / file).is_file():
        raise UsageError(f"--{name} {directory}: there is no {file} in it; give a checkout of {where}")
    return directory.absolute()


def prepare(name: str, root: Path) -> Path:
    """The interpreter of the environment of a peer, which is made under `root` if it is missing or outdated. Raises
    `UsageError` with pip's own message if it cannot be installed."""
    if not PEERS[name]:
        return Path(sys.executable)
    home, shared = root / name, sysconfig.get_paths()["purelib"]
    python, stamp = home / "bin" / "python", home / "built"
    wanted = hashlib.sha256(json.dumps([PEERS[name], shared, sys.version]).encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    install(sys.executable, "-m", "venv", "--without-pip", str(home))
    own = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], text=True
        ).strip()
    )
    install(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", *PEERS[name])
    # written after the installation, for which the environment has to look empty
    (own / "shared.pth").write_text(f"{shared}\n")
    stamp.write_text(wanted)
    return python


def install(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(last_line(done.stderr) or f"{command[:3]} failed")


def last_line(text: str) -> str:
    """The last non-empty line of a text, which is the error message of pip and Python."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
