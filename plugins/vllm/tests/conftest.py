"""Options of the tests, and prompts. plugins/vllm/test.sh sets what has to be set before Python starts."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--family", default="sdar", help="the tiny checkpoint of test_families.py")
    parser.addoption("--soak", type=int, default=50, help="requests of the soak")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise pytest.UsageError("run these tests with plugins/vllm/test.sh, which sets what vLLM needs on a CPU")


@pytest.fixture(scope="session")
def made() -> Callable[[int, int], list[int]]:
    """Prompts of random tokens: `made(length, seed)`."""
    return lambda length, seed: torch.randint(2, 90, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
