"""What a step launches besides the network: counts, which depend on no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decoders_bench.latency.launches import STORE, Launches
from decoders_bench.latency.measure import Bench
from decoders_bench.latency.recordings import Recordings
from decoders_bench.latency.rows import Case
from decoders_bench.latency.split import CACHE, FORWARD, REGIONS
from decoders_bench.latency.tables import latency_table

CASE = Case("llada-8b-tiny", "cpu", "float32", 2, 8, 16, 8, "threshold:tau=0.9", "dual")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Bench(CASE, Recordings(tmp_path_factory.mktemp("recordings") / "r.json"), steps=4)


def counted(f):
    with Launches() as counter:
        f()
    return counter.count


@torch.inference_mode()
def test_what_only_looks_or_only_asks_for_memory_launches_nothing():
    x, where = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    assert counted(lambda: (x[0], x.T, x.view(3, 2), x.expand(4, 2, 3), x.unflatten(1, (3, 1)), x.to(x.dtype))) == 0
    assert counted(lambda: (torch.empty(5), torch.empty_like(x), x[:0] + 1)) == 0
    assert counted(lambda: x + 1) == 1
    assert counted(lambda: x.copy_(x + 1)) == 2
    assert counted(lambda: x.sum().item()) == 2
    assert counted(lambda: torch.where(where, x, x)) == 1
    assert counted(lambda: torch.where(where, 1.0, x)) == 2, "the number becomes a tensor first"
    assert counted(lambda: x.masked_fill(where, 1.0)) == 2, "a copy is made, and then written to"
    assert counted(lambda: x.masked_fill_(where, 1.0)) == 1


BOUND = {"none": 95, "prefix": 133, "dual": 132, "entropycache": 153}
"""Operations a step, besides the network and its store, of which most decide nothing: they keep the books."""


@pytest.mark.parametrize("decoder", ["threshold:tau=0.9", "llada"])
@pytest.mark.parametrize("cache", BOUND)
def test_a_step_launches_no_more_than_it_did(tiny, cache, decoder):
    case = replace(CASE, decoder=decoder, cache=cache)
    found = tiny.launches(case, replace(tiny.work(case), forwards=6))
    assert set(found) == {*REGIONS, STORE} - ({CACHE, STORE} if cache == "none" else set()), "nothing kept, no policy"
    assert sum(n for name, n in found.items() if name not in (FORWARD, STORE)) <= BOUND[cache]


def test_the_table_shows_the_launches(tiny):
    found = tiny.measure(CASE, 1)
    assert found.launches_beside == sum(found.launches.values()) - found.launches[FORWARD] - found.launches[STORE]
    assert f"| {found.launches_beside:.0f} | {found.launches[FORWARD]:.0f} | " in latency_table([found])
    assert "launched a step" not in latency_table([replace(found, launches={})])
    assert replace(found, launches={}).launches_beside is None
