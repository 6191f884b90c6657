"""What comes after a decision, traced and compiled, against the same operation by operation."""

from __future__ import annotations

import pytest
import torch

from decoders import Blocks, decode, get, get_cache
from decoders.core import Plan, Shape, layout, session_spec
from decoders.engine import Graph, Recorded
from decoders.engine.graph import Room
from decoders.models.adapter import TransformersModel
from decoders_bench.latency.launches import Launches
from support.marks import turns

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 2, 1], [9]]
MASK = 10


@pytest.fixture
def traced(monkeypatch):
    """Traced and not compiled, which takes seconds."""
    monkeypatch.setattr("decoders.engine.fused.torch.compile", lambda graph, **options: graph)


def rows(model, spec, cache, **options):
    return decode(
        model, get(spec), PROMPTS, length=8, windows=Blocks(4), cache=get_cache(cache), seed=3, **options
    )


def spent(found):
    return [(r.positions_computed, r.positions_reused, r.flops, r.forwards) for r in found]


SPECS = [("threshold:tau=0.2", "none"), ("llada", "exact"), ("dream:temperature=0.7", "dual"), ("wino", "prefix"),
         ("slow_fast", "interval"), ("remdm:steps=12", "none")]
SETTINGS = {"plain": {}, "shifted": {"shifted": True}, "blocks": {"block_causal": True}}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("pair", "setting"), turns(SPECS, SETTINGS))
def test_rows_become_the_same(net, pair, setting):
    model, (spec, cache) = TransformersModel(net, mask_id=MASK, **SETTINGS[setting]), pair
    graph = Graph(backend=Recorded(), columns=8, fuse=True)
    found, known = rows(model, spec, cache, runner=graph), rows(model, spec, cache)
    assert found == known
    assert spent(found) == spent(known)
    assert graph.report().replays > 0


@torch.inference_mode()
def test_nothing_that_is_traced_comes_from_the_host(net, monkeypatch):
    graphs = []
    monkeypatch.setattr("decoders.engine.fused.torch.compile", lambda graph, **options: graphs.append(graph) or graph)
    monkeypatch.setattr("decoders.stats.constants._MADE", {})
    monkeypatch.setattr("decoders.stats.constants._COUNTED", {})
    r = room(net, "dual")
    r.step((r.columns[-1], r.rows[-1]))
    assert not [n for n in graphs[0].graph.nodes if "lift_fresh" in str(n.target) or "arange" in str(n.target)]


@pytest.mark.usefixtures("traced")
def test_rows_that_wait_stand_as_they_stood(net):
    model = TransformersModel(net, mask_id=MASK)
    graph = Graph(backend=Recorded(), columns=8, fuse=True)
    assert rows(model, "llada", "dual", runner=graph, poll=3) == rows(model, "llada", "dual")
    assert graph.report().waits > 0


@pytest.mark.usefixtures("traced")
def test_a_policy_that_reads_a_prediction_is_run_one_operation_at_a_time(net):
    model, graph = TransformersModel(net, mask_id=MASK), Graph(backend=Recorded(), columns=8, fuse=True)
    with pytest.warns(RuntimeWarning, match="the cache policy reads entropy of a prediction"):
        found = rows(model, "threshold:tau=0.2", "entropycache", runner=graph)
    assert found == rows(model, "threshold:tau=0.2", "entropycache")


@torch.inference_mode()
def room(net, cache):
    model, plan = TransformersModel(net, mask_id=MASK), Plan(get("threshold:tau=0.2"), Blocks(4), get_cache(cache))
    c = layout(
        Shape.of(model), plan.decoder, PROMPTS, length=8, keys=[1, 2, 3], windows=plan.windows, cache=plan.cache,
        columns=17,
    )
    spec = session_spec(plan, c)
    return Room(plan, model.session(spec), c, spec, fuse=True)


@pytest.mark.slow
@pytest.mark.parametrize(("cache", "most"), [("none", 20), ("dual", 24)])
def test_a_compiled_step_is_the_same_in_few_kernels(net, cache, most):
    from torch._functorch import config as ahead
    from torch._inductor import config, metrics

    model = TransformersModel(net, mask_id=MASK)
    graph = Graph(backend=Recorded(), columns=8, fuse=True)
    metrics.reset()
    with config.patch(fx_graph_cache=False), ahead.patch(enable_autograd_cache=False):  # nothing is counted else
        found = rows(model, "threshold:tau=0.2", cache, runner=graph)
    assert found == rows(model, "threshold:tau=0.2", cache)
    assert 0 < metrics.generated_kernel_count <= most


@pytest.mark.usefixtures("traced")
@torch.inference_mode()
@pytest.mark.parametrize(("cache", "most"), [("none", 75), ("dual", 95)])
def test_what_is_not_compiled_is_little(net, cache, most):
    """Besides the network: a step with what is compiled taken as done, and without the layers."""
    r = room(net, cache)
    bucket = r.columns[-1], r.rows[-1]
    made = []
    r.step(bucket)
    real = r.fused.compiled
    r.fused.compiled = lambda *given: made.append(real(*given)) or made[-1]
    r.step(bucket)
    r.fused.compiled = lambda *given: made[-1]
    counter, inside = Launches(), []

    def hooked(module, args, kwargs):
        inside.append(counter.count)

    held = [
        r.session.owner.model.base_model.register_forward_pre_hook(hooked, with_kwargs=True),
        r.session.owner.model.base_model.register_forward_hook(lambda *_: inside.append(counter.count)),
    ]
    with counter:
        r.step(bucket)
    for hook in held:
        hook.remove()
    assert counter.count - (inside[1] - inside[0]) <= most
