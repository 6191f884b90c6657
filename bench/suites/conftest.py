"""The device of the suites, and how they wait for it."""

from __future__ import annotations

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--on", default="cpu", metavar="DEVICE", help="the device to measure on")


@pytest.fixture(scope="session")
def device(request):
    torch.set_num_threads(1)
    return request.config.getoption("--on")


@pytest.fixture
def timed(benchmark, device):
    """`benchmark`, of work that has ended on the device when its time is taken."""

    def run(work):
        def whole():
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)

        whole()
        benchmark(whole)

    return run
