"""What holds on every device: no step looks at the host, a row is the same in any batch, and kernels and graphs change
no token. On a GPU with `-m gpu`; on a CPU the same where there is something that stands in for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decoders import Blocks, decode, get, get_cache, stats
from decoders.core import Canvas, Eager, Model, Plan, apply, candidates, prepare
from decoders.engine import Graph
from decoders.engine.backends import WARM_UPS, reason
from decoders.models.adapter import TransformersModel
from decoders.registry import entries
from support.marks import turns
from support.networks import network

MASK = 23
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [10, 11], [12]]
STRATEGIES = [e.name for e in entries("strategies") if not e.special]
FEW = ["threshold:tau=0.4,temperature=1.0", "llada", "left_to_right", "s2d2", "wino"]
needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])


def cuda(test: Callable[..., None]) -> Callable[..., None]:
    """For what has no meaning elsewhere."""
    for mark in needs_cuda:
        test = mark(test)
    return test


def model_on(device: str, dtype: torch.dtype, spec: str) -> TransformersModel:
    """A small transformer that sees what the strategy wants it to see."""
    return TransformersModel(network().to(device, dtype), mask_id=MASK, block_causal=get(spec).needs_blocks)


def rows(model: Model, spec: str, cache: str = "dual", prompts: list[list[int]] = PROMPTS, **options: Any) -> Any:
    how = {"length": 12, "windows": Blocks(4), "seeds": list(range(len(prompts))), "max_steps": 60}
    return decode(model, get(spec), prompts, cache=get_cache(cache), **how | options)


class Looks(TorchDispatchMode):
    """Fails at an operation that would make a host wait for a GPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        why = reason(func.overloadpacket, args)
        assert why is None, f"{func}: {why}"
        return func(*args, **kwargs or {})


@contextmanager
def unwatched(device: str) -> Iterator[None]:
    """Whatever makes the host wait for the device fails within it; on a CPU, what would."""
    if device == "cpu":
        with Looks():
            yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CUDA's own, that this is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Repeated:
    """A backend that captures nothing: a step runs as it is, without a look at the host."""

    bytes = 0

    def __init__(self, device: str) -> None:
        self.device, self.steps = device, 0

    def reset(self) -> None: ...

    def capture(self, body: Callable[[], None], restore: Callable[[], None]) -> Callable[[], None]:
        for _ in range(WARM_UPS):
            body()
            restore()

        def replay() -> None:
            with unwatched(self.device):
                body()
            self.steps += 1

        return replay


class Around(Eager):
    """Only what is before and after a forward, for strategies that no session of fixed shape can serve."""

    device = ""
    steps = 0

    def step(self) -> None:
        with unwatched(self.device) if self.steps >= WARM_UPS else warnings.catch_warnings():
            f = prepare(self.plan, self.canvas)
        p = self.forward(f)
        with unwatched(self.device) if self.steps >= WARM_UPS else warnings.catch_warnings():
            self.canvas = apply(self.plan, self.canvas, f, p)
        self.steps += 1


class Starts:
    """A runner of `Around`."""

    def __init__(self, device: str) -> None:
        self.device = device

    def start(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Around:
        self.run = Around(model, plan, lay())
        self.run.device = self.device
        return self.run


@devices
@pytest.mark.parametrize("spec", STRATEGIES)
def test_no_step_looks_at_the_host(device: str, spec: str) -> None:
    model = model_on(device, torch.float32, spec)
    if candidates(get(spec)):
        runner: Any = Starts(device)
        found = rows(model, spec, max_steps=WARM_UPS + 2, runner=runner)
        assert runner.run.steps == WARM_UPS + 2 or all(row.finish_reason != "max_steps" for row in found)
        return
    backend = Repeated(device)
    rows(model, spec, max_steps=2, runner=Graph(backend=backend, columns=8))
    assert backend.steps >= 1


@devices
@pytest.mark.parametrize(
    "bad", [lambda x: x.sum().item(), lambda x: x.nonzero(), lambda x: x[x > 0]], ids=["value", "shape", "mask"]
)
def test_a_look_at_the_host_is_noticed(device: str, bad: Callable[[torch.Tensor], object]) -> None:
    x = torch.arange(3, device=device)
    with pytest.raises((AssertionError, RuntimeError)), unwatched(device):
        bad(x)
    bad(x)


@devices
@pytest.mark.parametrize(("spec", "cache"), turns(FEW, ["dual", "none"]))
def test_a_row_is_the_same_in_any_batch(device: str, spec: str, cache: str) -> None:
    model = model_on(device, torch.float64, spec)
    together = rows(model, spec, cache)
    for i, prompt in enumerate(PROMPTS):
        assert rows(model, spec, cache, [prompt], seeds=[i]) == [together[i]]
    assert rows(model, spec, cache, PROMPTS[::-1], seeds=[4, 3, 2, 1, 0]) == together[::-1]


@cuda
@pytest.mark.parametrize("cache", ["dual", "none", "entropycache"])
@pytest.mark.parametrize("spec", FEW)
def test_graphs_of_the_kernels_take_the_steps_of_the_loop(spec: str, cache: str) -> None:
    """In float32, where the kernels answer, with nothing else on the way: the loop runs what the graph runs, with the
    same padding."""
    model, graph, repeated = (
        model_on("cuda", torch.float32, spec),
        Graph(columns=8),
        Graph(backend=Repeated("cuda"), columns=8),
    )
    found = rows(model, spec, cache, runner=graph)
    assert graph.report().eager == {}
    assert found == rows(model, spec, cache, runner=repeated)


@cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kernels_and_plain_torch_choose_alike(dtype: torch.dtype) -> None:
    """The likeliest token and the race to the bit, at LLaDA's vocabulary; sampled tokens but for a rounding of the
    number they fall on."""
    random = torch.Generator("cuda").manual_seed(0)
    logits = (3 * torch.randn(256, 126_464, generator=random, device="cuda")).to(dtype)
    h, u = (
        torch.arange(256, device="cuda") * 2**40,
        torch.rand(256, dtype=torch.double, generator=random, device="cuda"),
    )
    with stats.using("torch"):
        plain = stats.of(logits)
    fused = stats.of(logits)
    assert type(fused) is not type(plain)
    assert torch.equal(fused.best()[0], plain.best()[0])
    assert torch.equal(fused.race(h, 0.7), plain.race(h, 0.7))
    torch.testing.assert_close(fused.best()[1], plain.best()[1], rtol=1e-4, atol=0)
    assert (fused.sample(u, 1.0)[0] == plain.sample(u, 1.0)[0]).sum() >= 250


@cuda
@pytest.mark.parametrize("spec", FEW)
def test_tokens_are_those_of_a_cpu(spec: str) -> None:
    """From the same weights in float64."""
    here, there = (rows(model_on(device, torch.float64, spec), spec, "none") for device in ("cuda", "cpu"))
    assert here == there
