"""The engine in a thread of its own."""

from __future__ import annotations

import threading

import pytest

from decoders.core import Blocks, Plan, UsageError, decode
from decoders.engine import CancelledError, Engine, Request, Service
from decoders.registry import get, get_cache
from decoders.testing.toy import ToyModel

MODEL = ToyModel()
PLAN = Plan(get("left_to_right"), Blocks(1 << 40), get_cache("exact"))
SECONDS = 60.0


class Ends:
    """Who waits for requests."""

    def __init__(self):
        self.found, self.news = [], threading.Semaphore(0)

    def __call__(self, r):
        self.found.append(r)
        self.news.release()

    def wait(self, count):
        for _ in range(count):
            assert self.news.acquire(timeout=SECONDS)
        return self.found


def test_requests_of_many_threads_are_what_they_would_be_alone():
    service, ends = Service(Engine(MODEL, slots=3)), Ends()
    requests = [Request((i % 7, i % 5), 6 + i % 9, PLAN, key=i) for i in range(24)]
    threads = [
        threading.Thread(target=lambda part: [service.submit(r, ends) for r in part], args=(requests[i::4],))
        for i in range(4)
    ]
    for t in threads:
        t.start()
    ends.wait(24)
    for r in requests:
        assert r.result.row == decode(MODEL, PLAN.decoder, [r.prompt], length=r.length, seed=r.key)[0]
    service.close()
    assert service.join(SECONDS)


def test_a_cancelled_request_ends_and_the_others_go_on():
    service, ends = Service(Engine(MODEL, slots=2)), Ends()
    long, short = Request((1,), 400, PLAN), Request((1,), 8, PLAN)
    service.submit(long, ends)
    service.submit(short, ends)
    service.cancel(long)
    ends.wait(2)
    assert isinstance(long.error, CancelledError)
    assert short.error is None
    service.cancel(long)  # it has ended already
    service.close(drain=False)
    assert service.join(SECONDS)


def test_a_full_queue_and_a_closing_service_refuse():
    service, ends = Service(Engine(MODEL, slots=1), limit=1), Ends()
    held = [Request((1,), 300, PLAN) for _ in range(2)]
    for r in held:
        service.submit(r, ends)
    with pytest.raises(UsageError, match="wait already; try again later"):
        service.submit(Request((1,), 8, PLAN), ends)
    service.close()
    with pytest.raises(UsageError, match="closing"):
        service.submit(Request((1,), 8, PLAN), ends)
    ends.wait(2)
    assert all(r.error is None for r in held)  # it drains
    assert service.join(SECONDS)


def test_a_service_that_is_stopped_cancels_what_runs_and_what_waits():
    service, ends = Service(Engine(MODEL, slots=1)), Ends()
    for _ in range(3):
        service.submit(Request((1,), 400, PLAN), ends)
    service.close(drain=False)
    assert all(isinstance(r.error, CancelledError) for r in ends.wait(3))
    assert service.join(SECONDS)


def test_what_the_engine_refuses_is_told():
    service, ends = Service(Engine(MODEL, memory=100_000)), Ends()
    service.submit(Request((1,), 100_000, PLAN), ends)
    (r,) = ends.wait(1)
    assert "memory budget" in str(r.error)
    service.close()
    assert service.join(SECONDS)
