"""Metadata of a source tree that is imported (`PYTHONPATH=.:bench`) without being installed."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

DISTRIBUTION = "dllm-decoders"
FILE = Path(__file__).parents[1] / "pyproject.toml"


@cache
def project() -> dict[str, Any]:
    """The table `project` of the tree's pyproject.toml; empty if the distribution is installed, because its metadata is
    used then."""
    try:
        distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return dict(tomllib.loads(FILE.read_text())["project"]) if FILE.exists() else {}
    return {}


def entry_points_of(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group that an installation of the tree would have, without a distribution."""
    named: dict[str, str] = project().get("entry-points", {}).get(group, {})
    return tuple(EntryPoint(name, value, group) for name, value in named.items())


def version() -> str:
    """The version of the distribution, or of the source tree. Raises `PackageNotFoundError` if there is neither."""
    return str(project().get("version") or distribution(DISTRIBUTION).version)
