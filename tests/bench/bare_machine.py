"""An environment that holds the packages of the machine with a GPU that is waited for, and nothing else: neither ours
nor pip."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
WHERE = ROOT / "build" / "bare-gpu"
FETCHED = (
    "transformers==5.17.0", "triton==3.6.0", "huggingface-hub==1.33.0", "httpx==0.28.1", "httpcore==1.0.9",
    "h11==0.16.0", "anyio==4.16.0",
    "idna==3.20", "certifi",
)  # fmt: skip
"""At that machine's versions, with what they need and the newer ones here do not."""
OURS = (
    "torch",
    "transformers",
    "click",
    "rich",
    "tokenizers",
    "safetensors",
    "numpy",
    "pytest",
    "pytest-benchmark",
    "setuptools",
)
"""From this environment, with what they need: of torch, other builds are gigabytes."""


def closure(names: tuple[str, ...]) -> set[str]:
    """The distributions that these need, themselves included."""
    found, left = set(), list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        wanted = [Requirement(x) for x in needs]
        left += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def link(name: str, site: Path) -> None:
    """The top-level files and folders of a distribution, beside what is there."""
    for file in distribution(name).files or ():
        top, source = file.parts[0], Path(str(distribution(name).locate_file(file.parts[0])))
        if top not in ("..", "__pycache__") and source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)


def fetch(site: Path) -> bool:
    """Whether the registry had what was asked for."""
    asked = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--target",
        site,
        *FETCHED,
    ]
    return subprocess.run(asked, capture_output=True, timeout=600).returncode == 0


def environment() -> Path:
    """Its interpreter; made once, and again when what it is to hold has changed."""
    stamp, said = WHERE / "stamp", f"{FETCHED} {OURS} {sys.version} {distribution('torch').version}"
    if not stamp.exists() or stamp.read_text() != said:
        shutil.rmtree(WHERE, ignore_errors=True)
        venv.create(WHERE, with_pip=False)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(WHERE)}))
        whole = fetch(site)
        for name in closure(OURS) - ({x.partition("==")[0] for x in FETCHED} if whole else set()):
            link(name, site)
        stamp.write_text(said if whole else "")
    return WHERE / "bin" / "python3"
