"""A plugin of pytest that runs one share of the tests that have not passed yet, and writes each outcome at once.

Its input is JSON in the environment variable `GPU_CHECKS`: `{"share": [i, n], "passed": [ids], "out": file}`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ASKED = json.loads(os.environ["GPU_CHECKS"])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """This runs after the selection by marks."""
    number, shares = ASKED["share"]
    passed = set(ASKED["passed"])
    mine = [item for item in items if item.nodeid not in passed][number::shares]
    config.hook.pytest_deselected(items=[item for item in items if item not in mine])
    write({"chosen": len(mine)})
    items[:] = mine


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or not report.passed:
        text = "" if report.passed or report.skipped else report.longreprtext
        write({"id": report.nodeid, "outcome": report.outcome, "seconds": report.duration, "text": text})


def write(line: dict[str, Any]) -> None:
    with Path(ASKED["out"]).open("a") as out:
        out.write(json.dumps(line) + "\n")
