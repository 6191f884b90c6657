"""Steps captured once and replayed on static buffers. A recording of the operations (`Recorded`) stands in for CUDA
graphs on a CPU: what it replays is frozen in the same way. The same tests run on CUDA graphs with `-m gpu`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import Qwen3ForCausalLM

from decoders import Blocks, Decoder, Generator, Pred, State, decode, get, get_cache
from decoders.cli import main
from decoders.core import Fixed, Plan, SessionSpec, Shape, Whole, candidates, layout, prepare
from decoders.engine import CannotCapture, Graph, Recorded
from decoders.engine.buffers import assign, leaves, owned
from decoders.engine.graph import thinned
from decoders.models.adapter import TransformersModel
from decoders.models.guidance import Guided
from decoders.registry import entries
from decoders.testing.toy import ToyModel
from support.marks import slow

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
MASK = 23
SETTINGS: dict[str, dict[str, Any]] = {
    "aligned": {}, "shifted": {"shifted": True, "reordered": True}, "blocks": {"block_causal": True},
}
STRATEGIES = [e.name for e in entries("strategies") if not e.special]
FEW = ["threshold", "first_hitting", "llada2", "s2d2", "freedave"]
CACHES = [e.name for e in entries("caches") if e.name != "block"]
gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@dataclass(frozen=True)
class Place:
    """Where graphs are captured."""

    device: str
    backend: Callable[[], Any]

    def graph(self, **options: Any) -> Graph:
        return Graph(backend=self.backend(), **{"columns": 8} | options)


RECORDED, CUDA = Place("cpu", Recorded), Place("cuda", lambda: None)


@pytest.fixture(
    scope="module",
    params=[pytest.param(RECORDED, id="recorded"), pytest.param(CUDA, id="cuda", marks=[gpu, needs_cuda])],
)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture(scope="module")
def here(net: Qwen3ForCausalLM, place: Place) -> Qwen3ForCausalLM:
    return net.to(place.device)


def adapted(net: Qwen3ForCausalLM, setting: str) -> TransformersModel:
    return TransformersModel(net, mask_id=MASK, **SETTINGS[setting])


def rows(
    model: Any, decoder: str | Decoder, cache: str = "exact", prompts: list[list[int]] = PROMPTS, **options: Any
) -> Any:
    decoder = get(decoder) if isinstance(decoder, str) else decoder
    how = {
        "length": 12,
        "windows": Blocks(4, model.attention_block),
        "seeds": list(range(len(prompts))),
        "max_steps": 60,
    }
    return decode(model, decoder, prompts, cache=get_cache(cache), **how | options)


def same(a: Any, b: Any) -> None:
    """The same tokens, forwards, ends and costs."""
    assert a == b
    assert [(r.positions_computed, r.positions_reused) for r in a] == [
        (r.positions_computed, r.positions_reused) for r in b
    ]


def pairs() -> Any:
    """Every strategy with every cache, on models and under polls that take turns; by default a few strategies with a
    cache each."""
    for i, spec in enumerate(STRATEGIES):
        for j, cache in enumerate(CACHES):
            default = i % len(CACHES) == j and spec in FEW
            yield pytest.param(
                spec, cache, list(SETTINGS)[(i + j) % 3], 1 + 2 * (i % 2), marks=() if default else pytest.mark.slow
            )


@pytest.mark.parametrize(("spec", "cache", "setting", "poll"), list(pairs()))
def test_a_graph_decodes_what_the_loop_does(
    here: Qwen3ForCausalLM, place: Place, spec: str, cache: str, setting: str, poll: int
) -> None:
    decoder = get(spec)
    if decoder.padding:
        setting = "aligned"
    model, graph = adapted(here, "blocks" if decoder.needs_blocks else setting), place.graph()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = rows(model, decoder, cache, poll=poll, runner=graph)
    same(found, rows(model, decoder, cache))
    report = graph.report()
    if candidates(decoder):  # their session keeps count of candidates on the way
        assert list(report.eager) == ["TransformersModel has no forward of fixed shape for this"]
        assert len(told) == 1
    else:
        assert report.eager == {}
        assert report.replays >= max(row.nfe for row in found)


@pytest.mark.parametrize("cache", ["exact", "dual"])
def test_guidance_is_captured_too(here: Qwen3ForCausalLM, place: Place, cache: str) -> None:
    model, graph = Guided(adapted(here, "aligned"), 1.5), place.graph()
    same(rows(model, "threshold:tau=0.4", cache, runner=graph), rows(model, "threshold:tau=0.4", cache))
    assert graph.report().eager == {}


def test_graphs_are_captured_once_and_used_by_later_calls(here: Qwen3ForCausalLM, place: Place) -> None:
    """Other prompts, lengths and numbers of rows that fall into the same bucket."""
    model, graph = adapted(here, "aligned"), place.graph(columns=32)
    rows(model, "threshold:tau=0.4", "dual", runner=graph)
    first = graph.report()
    for prompts, length in (([[9, 8], [7, 6, 5, 4], [3], [2, 1]], 11), ([[1] * 9, [2], [3]], 13)):
        a, b = (rows(model, "threshold:tau=0.4", "dual", prompts, length=length, runner=g) for g in (graph, None))
        same(a, b)
    later = graph.report()
    assert later.replays > first.replays
    (room,) = graph.rooms.values()
    assert first.captures <= later.captures <= len(room.columns) * len(room.rows)
    before = graph.report().captures
    same(rows(model, "threshold:tau=0.4", "dual", runner=graph), rows(model, "threshold:tau=0.4", "dual"))
    assert graph.report().captures == before


def test_one_window_over_the_row_is_one_shape_whatever_its_length(here: Qwen3ForCausalLM, place: Place) -> None:
    model, graph = adapted(here, "aligned"), place.graph(columns=32)
    for length in (9, 12, 14):
        a, b = (rows(model, "llada", length=length, windows=None, runner=g) for g in (graph, None))
        same(a, b)
        same(a, rows(model, "llada", length=length, windows=Whole()))
    assert len(graph.rooms) == 1


def test_the_host_looks_once_in_so_many_steps(
    here: Qwen3ForCausalLM, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, looks = adapted(here, "aligned"), []
    tolist = torch.Tensor.tolist
    graph = place.graph()
    rows(model, "llada", runner=graph)  # captures
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: looks.append(tuple(x.shape)) or tolist(x))
    for poll in (1, 4, 12):
        looks.clear()
        replays = graph.report().replays
        rows(model, "llada", runner=graph, poll=poll)
        steps = graph.report().replays - replays
        assert looks.count((3,)) == 1 + steps // poll


def test_rows_that_do_not_fit_wait_and_become_what_they_are(here: Qwen3ForCausalLM, place: Place) -> None:
    """Under a rare look, rows enter windows, and need all columns, while the others run few."""
    model, graph = adapted(here, "aligned"), place.graph()
    plain = rows(model, "threshold:tau=0.4,temperature=1.0", "dual", length=16)
    same(rows(model, "threshold:tau=0.4,temperature=1.0", "dual", length=16, poll=5, runner=graph), plain)
    often, rarely = place.graph(), graph.report()
    same(rows(model, "threshold:tau=0.4,temperature=1.0", "dual", length=16, runner=often), plain)
    assert rarely.waits > 0 == often.report().waits
    assert rarely.replays > often.report().replays == max(row.nfe for row in plain)


def test_halts_and_events_reach_a_captured_run(here: Qwen3ForCausalLM, place: Place) -> None:
    model, stories = adapted(here, "aligned"), []
    for graph in (place.graph(), None):
        heard: list[Any] = []
        made = rows(
            model, "left_to_right", runner=graph, on_event=heard.append, halt=lambda row,
            tokens: row == 1 and len(tokens) >= 5
        )
        stories.append((made, heard))
    same(stories[0][0], stories[1][0])
    assert stories[0][1] == stories[1][1]
    assert [len(row.tokens) for row in stories[0][0]] == [12, 5, 12]


# --- bounds
# ------------------------------------------------------------------------------------------------------------------


def test_few_sizes_are_left_of_many() -> None:
    assert thinned((1, 2, 4, 8, 16, 32, 64, 96, 128, 512), 32) == (32, 64, 128, 512)
    assert thinned((4, 8, 12, 16, 20, 24, 28, 32), 8) == (8, 16, 32)
    assert thinned((7,), 1) == (7,)


def test_the_number_of_graphs_and_rooms_is_bounded(here: Qwen3ForCausalLM, place: Place) -> None:
    model, graph = adapted(here, "aligned"), place.graph(graphs=2, rooms=2)
    for spec in ("threshold:tau=0.4", "llada", "factor"):
        same(rows(model, spec, "dual", length=8, runner=graph), rows(model, spec, "dual", length=8))
        assert graph.report().graphs <= 2
        assert len(graph.rooms) <= 2
    assert graph.report().captures > 2
    assert len({id(room.session) for room in graph.rooms.values()}) == 1  # one store of keys and values


def test_the_pool_is_bounded(net: Qwen3ForCausalLM) -> None:
    """Beyond its limit all graphs are dropped; a step that alone is beyond it is not captured."""
    model, plain = adapted(net.to("cpu"), "aligned"), rows(adapted(net, "aligned"), "threshold:tau=0.4", "dual")
    free = RECORDED.graph()
    rows(model, "threshold:tau=0.4", "dual", runner=free)
    assert free.report().graphs > 2
    tight = RECORDED.graph(memory=free.report().bytes * 2 // 3)
    same(rows(model, "threshold:tau=0.4", "dual", runner=tight), plain)
    report = tight.report()
    assert report.resets > 0
    assert report.bytes <= report.limit
    assert report.graphs < free.report().graphs
    none = RECORDED.graph(memory=1000)
    with pytest.warns(
        RuntimeWarning, match=r"no graph, .*a step takes \d+ bytes of graph memory, more than the limit of 1000"
    ):
        same(rows(model, "threshold:tau=0.4", "dual", runner=none), plain)
    assert none.report().replays == 0


# --- what cannot be captured
# --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad(Decoder):
    """Commits everything, in a way of its own."""

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        return s.commit(s.open & self.odd(s), tokens, confidence)

    def odd(self, s: State) -> Any:
        raise NotImplementedError


class Item(Bad):
    def odd(self, s: State) -> Any:
        return torch.ones_like(s.open) if s.open.sum().item() else s.open


class Nonzero(Bad):
    def odd(self, s: State) -> Any:
        return torch.ones_like(s.open) & (s.open.nonzero().shape[0] > 0)


class Mask(Bad):
    def odd(self, s: State) -> Any:
        return torch.ones_like(s.open) & (s.tokens[s.open].shape[0] >= 0)


class Literal(Bad):
    def odd(self, s: State) -> Any:
        return torch.ones_like(s.open) & torch.tensor([True], device=s.open.device)


class If(Bad):
    def odd(self, s: State) -> Any:
        return torch.ones_like(s.open) if s.open.any() else s.open


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Item, "a value is read on the host"), (Mask, "the shape of a result depends on values"),
        (Literal, "a tensor is made from values of the host"),
        *slow((Nonzero, "the shape of a result depends on values"), (If, "a value is read on the host")),
    ],
)
def test_a_step_that_looks_at_the_host_is_run_eagerly_after_one_warning(
    net: Qwen3ForCausalLM, bad: Any, why: str
) -> None:
    model, graph = adapted(net.to("cpu"), "aligned"), RECORDED.graph()
    plain = rows(model, bad())
    with pytest.warns(RuntimeWarning, match="no graph, steps are run one operation at a time: " + why):
        same(rows(model, bad(), runner=graph), plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(rows(model, bad(), runner=graph), plain)
    report = graph.report()
    assert (report.replays, report.graphs, sum(report.eager.values())) == (0, 0, 2)
    same(rows(model, "threshold", runner=graph), rows(model, "threshold"))  # others are still captured
    assert graph.report().replays > 0


COUNT = [0]


class Counting(Bad):
    def odd(self, s: State) -> Any:
        COUNT[0] += 1
        return torch.ones_like(s.open) & (COUNT[0] > 3)


@pytest.mark.slow
def test_what_the_host_computes_is_frozen(net: Qwen3ForCausalLM) -> None:
    """The recording is no second run of the Python code: a counter of the host's stands still."""
    model, graph = adapted(net.to("cpu"), "aligned"), RECORDED.graph()
    COUNT[0] = 0
    assert [r.finish_reason for r in rows(model, Counting(), "none", max_steps=12)] == ["length"] * 3
    COUNT[0] = 0
    captured = rows(model, Counting(), "none", max_steps=12, runner=graph)
    assert [r.finish_reason for r in captured] == ["max_steps"] * 3  # frozen at the third run, which the recording is
    assert graph.report().replays == 12


def test_a_model_without_fixed_shapes_is_run_eagerly() -> None:
    model, graph = ToyModel(), RECORDED.graph()
    assert not isinstance(model.session(SessionSpec(1, 5, 4)), Fixed)
    with pytest.warns(RuntimeWarning, match="ToyModel has no forward of fixed shape"):
        same(rows(model, "threshold", runner=graph), rows(model, "threshold"))


def test_without_cuda_a_graph_says_so(net: Qwen3ForCausalLM) -> None:
    model = adapted(net.to("cpu"), "aligned")
    with pytest.warns(RuntimeWarning, match="the model is on cpu, and CUDA graphs are for CUDA"):
        same(rows(model, "threshold", runner=Graph()), rows(model, "threshold"))


# --- buffers
# -----------------------------------------------------------------------------------------------------------------


def test_buffers_take_values_that_are_made_from_them() -> None:
    @dataclass(frozen=True)
    class Pair:
        a: torch.Tensor
        b: torch.Tensor
        rest: Any = None

    start = Pair(torch.arange(3), torch.arange(3) + 10, {"x": (torch.zeros(2),), "y": None, "n": 3})
    own = owned(start)
    assert not {t.data_ptr() for t in leaves(own)} & {t.data_ptr() for t in leaves(start)}
    addresses = [t.data_ptr() for t in leaves(own)]
    assign(own, Pair(own.b, own.a.flip(0), {"x": (own.a[:2].float(),), "y": None, "n": 3}))
    assert (own.a.tolist(), own.b.tolist(), own.rest["x"][0].tolist()) == ([10, 11, 12], [2, 1, 0], [0, 1])
    assign(own, Pair(own.b, own.a, own.rest))  # exchanged
    assert (own.a.tolist(), own.b.tolist()) == ([2, 1, 0], [10, 11, 12])
    assert [t.data_ptr() for t in leaves(own)] == addresses
    with pytest.raises(CannotCapture, match="changes its structure"):
        assign(own, Pair(own.a, own.b.float(), own.rest))


def test_buffers_of_a_canvas_share_nothing() -> None:
    plan = Plan(get("llada2"), Blocks(4), get_cache("dual"))
    c = owned(
        layout(Shape(MASK, 24), plan.decoder, PROMPTS, length=8, keys=[0, 1, 2], windows=plan.windows, cache=plan.cache)
    )
    tensors = leaves((c, owned(prepare(plan, c))))
    assert len({t.untyped_storage().data_ptr() for t in tensors if t.numel()}) == len([t for t in tensors if t.numel()])
    assert all(t.is_contiguous() for t in tensors)


# --- the door
# ----------------------------------------------------------------------------------------------------------------


def test_a_generator_with_a_graph_writes_what_one_without_does() -> None:
    prompts = ["Reverse: a b c", "Sort: 3 1 2"]
    plain, graph = Generator("nano", "threshold:tau=0.9"), Graph(backend=Recorded())
    fast = Generator(plain.loaded, "threshold:tau=0.9", graph=graph, poll=2)
    keep = lambda made: [replace(g, seconds=0.0, kv_bytes=0) for g in made]
    assert keep(fast(prompts, length=24)) == keep(plain(prompts, length=24))
    assert graph.report().replays > 0
    heard: list[Any] = []
    assert keep(fast(prompts, length=24, watch=lambda f, p, c: heard.append(c))) == keep(plain(prompts, length=24))
    assert len(heard) >= 2  # whoever watches hears of every forward, of an eager run
    with pytest.warns(RuntimeWarning, match=r"a rule holds tensors that belong to one call|CUDA"):
        Generator(plain.loaded, "threshold", graph=True)("1 2 <|mask|> 4", infill=True)


@pytest.mark.slow
def test_a_compiled_model_decodes_the_same(net: Qwen3ForCausalLM) -> None:
    model = adapted(net.to("cpu"), "aligned")
    plain = rows(model, "threshold:tau=0.4", "dual")
    base = model.model.base_model
    model.compile(backend="eager")
    try:
        assert base._compiled_call_impl is not None
        same(rows(model, "threshold:tau=0.4", "dual"), plain)
        same(rows(model, "threshold:tau=0.4", "dual", runner=RECORDED.graph()), plain)
    finally:
        base._compiled_call_impl = None


def test_the_command_line_says_in_a_line_that_there_is_no_graph() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = CliRunner().invoke(main, ["generate", "-n", "8", "--poll", "3", "--graph", "Reverse: a b c"])
    assert done.exit_code == 0
    assert done.stderr.count("Warning: no graph, steps are run one operation at a time: the model is on cpu") == 1
    assert ".py:" not in done.stderr
    assert done.stdout == CliRunner().invoke(main, ["generate", "-n", "8", "Reverse: a b c"]).stdout
