"""The Triton kernels against float64 and against the torch reference: under Triton's interpreter on a CPU, natively on
a GPU.

tests/conftest.py turns the interpreter on where there is no CUDA device; where there is one, these tests are marked
`gpu`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from decoders import stats
from decoders.core import Pred, UsageError
from decoders.stats import reference
from support.logits import KINDS, rows_of
from support.marks import slow

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)
CUDA = torch.cuda.is_available()
from decoders.stats.triton_kernel import Cut, one_pass  # noqa: E402

DEVICE = "cuda" if CUDA else "cpu"
# numpy, which the interpreter computes with, warns of what is meant: infinities that meet, and rows of NaN
pytestmark = [
    *([pytest.mark.gpu] if CUDA else []),
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning", "ignore:All-NaN:RuntimeWarning"),
]
INF = float("inf")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SIZES = [1000, *([64, 5003, 32_000, 126_464, 151_936, 262_144] if CUDA else slow(64, 5003))]
"""Vocabularies; the interpreter is slow, and sees a large one in a single test."""


def rows(kind: str, V: int, dtype: torch.dtype, R: int = 6) -> torch.Tensor:
    """(R, V) logits."""
    return rows_of(kind, V, dtype, R).to(DEVICE)


def exact(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """float64 probabilities, entropies and margins; 0 in rows of -inf."""
    p = x.double().softmax(-1).nan_to_num(0.0)
    two = p.topk(2, -1).values
    return p, torch.special.entr(p).sum(-1), two[:, 0] - two[:, 1]


@pytest.mark.parametrize("V", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_float64(kind: str, V: int) -> None:
    for dtype in DTYPES if V < 5000 or CUDA else DTYPES[1:2]:
        x = rows(kind, V, dtype)
        p, entropy, margin = exact(x)
        found = one_pass(x)
        assert found.token.tolist() == [row.index(max(row)) for row in x.tolist()]  # ties to the left
        assert torch.equal(found.logit, x.amax(-1).float())
        torch.testing.assert_close(found.share.double(), p.amax(-1), rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(found.margin.double(), margin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("V", SIZES)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_sample_is_where_the_number_falls(V: int, temperature: float) -> None:
    for kind in KINDS if V < 5000 or CUDA else KINDS[3:]:
        x = rows(kind, V, torch.float32)
        u = torch.rand(len(x), dtype=torch.double, generator=torch.Generator().manual_seed(1)).to(DEVICE)
        u[:2] = torch.tensor([0.0, 1 - 2**-53], dtype=torch.double)
        found = one_pass(x, u=u, temperature=temperature)
        p = (x.double() / temperature).softmax(-1).nan_to_num(0.0)
        mass = p.cumsum(-1)
        above = mass.gather(1, found.sample[:, None])[:, 0]
        share = p.gather(1, found.sample[:, None])[:, 0]
        dead = p.sum(-1) == 0
        assert (found.sample[dead] == 0).all()
        assert (found.chance[dead] == 0).all()
        live = ~dead
        assert (share[live] > 0).all()
        assert ((above - share - 1e-6 <= u) & (u <= above + 1e-6))[live].all()
        raw = exact(x)[0].gather(1, found.sample[:, None])[:, 0]
        torch.testing.assert_close(found.chance.double(), raw, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("V", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_race_has_the_bits_of_the_reference(kind: str, V: int) -> None:
    x = rows(kind, V, torch.float32, 6)
    h = torch.tensor([0, 1, -1, 2**62 + 12345, -(2**63), 987654321], device=DEVICE)
    for temperature in (1.0, 0.7) if V < 5000 or CUDA else (0.7,):
        assert torch.equal(one_pass(x, h=h, temperature=temperature).race, reference.race(x, h, temperature))


def test_a_large_vocabulary() -> None:
    V = 262_144 if CUDA else 126_464
    x, banned = rows("ties", V, torch.bfloat16, 1), (5, V - 1)
    u, h = torch.tensor([0.37], dtype=torch.double, device=DEVICE), torch.tensor([12345], device=DEVICE)
    found = one_pass(x, banned, u=u, h=h, temperature=0.9)
    plain = x.index_fill(1, torch.tensor(banned, device=DEVICE), -INF)
    p, entropy, _ = exact(plain)
    assert found.token.tolist() == [row.index(max(row)) for row in plain.tolist()]
    torch.testing.assert_close(found.share.double(), p.amax(-1), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-5, atol=0)
    assert found.margin.item() == 0
    assert torch.equal(found.race, reference.race(plain, h, 0.9))
    mass = (plain.double() / 0.9).softmax(-1).cumsum(-1)[0]
    token = int(found.sample)
    assert mass[token - 1] - 1e-6 <= u.item() <= mass[token] + 1e-6


def test_suppressed_tokens_are_impossible() -> None:
    x = rows("peaked", 5003, torch.bfloat16)
    banned = (0, 17, 4099, int(x[0].argmax()), 5002)
    h, u = torch.arange(6, device=DEVICE) * 7919, torch.full((6,), 0.999999, dtype=torch.double, device=DEVICE)
    found, plain = one_pass(x, banned, u=u, h=h), x.index_fill(1, torch.tensor(banned, device=DEVICE), -INF)
    same = one_pass(plain, u=u, h=h)
    for name in vars(same):
        assert torch.equal(getattr(found, name), getattr(same, name)), name
    s = stats.triton_kernel.OnePass(x, banned)
    assert torch.equal(s.allowed, plain)
    assert (s.prob(torch.full((6,), 17, device=DEVICE)) == 0).all()
    torch.testing.assert_close(
        s.prob(torch.full((6,), 18, device=DEVICE)).double(), exact(plain)[0][:, 18], rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize(
    "banned",
    [(3, *range(990, 1003)), *slow(*((tuple(x),) for x in (range(700, 1003), range(0, 1003, 7), range(1002))))],
)
def test_a_head_that_is_wider_than_its_tokenizer(banned: tuple[int, ...]) -> None:
    """Hundreds of tokens at the end of the vocabulary, or all over it, are impossible and cost no comparison each."""
    x = rows("peaked", 1003, torch.float32)
    plain = x.index_fill(1, torch.tensor(banned, device=DEVICE), -INF)
    s, same = stats.triton_kernel.OnePass(x, banned), stats.reference.InTorch(x, banned)
    assert len(s.sought) <= 8
    assert torch.equal(s.allowed, plain)
    assert torch.equal(s.best()[0], same.best()[0])
    h, u = torch.arange(6, device=DEVICE) * 7919, torch.full((6,), 0.999, dtype=torch.double, device=DEVICE)
    assert torch.equal(s.race(h, 1.0), same.race(h, 1.0))
    for made in (s.sample(u, 1.0)[0], s.race(h, 0.5), s.best()[0]):
        assert not set(made.tolist()) & set(banned)
    for asked in (banned[:6], [t for t in range(1003) if t not in banned][:6] * 6):
        tokens = torch.tensor(asked[:6], device=DEVICE)
        torch.testing.assert_close(s.prob(tokens), same.prob(tokens), rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(s.entropy(), same.entropy(), rtol=1e-4, atol=1e-6)


def test_rows_and_columns_of_any_stride() -> None:
    x = rows("random", 1000, torch.float32, 8)
    wide = torch.zeros(8, 3, 1000, device=DEVICE)
    wide[:, 1] = x
    for view in (wide[:, 1], x.t().contiguous().t(), x.flip(0)[::2].flip(0), x[:1].expand(5, -1)):
        found, same = one_pass(view), one_pass(view.contiguous())
        for name in ("token", "logit", "share", "entropy", "margin"):
            assert torch.equal(getattr(found, name), getattr(same, name)), name
    assert one_pass(x[:0]).token.shape == (0,)


def test_a_view_whose_rows_the_compiler_would_read_otherwise_is_copied() -> None:
    """On a CPU as well: only a GPU shows what comes of it."""
    laid, x = stats.triton_kernel.laid, torch.zeros(8, 1000, device=DEVICE)
    assert laid(x) == (x, 1000)
    for view in (x[::2], x.t().contiguous().t()):
        copy, apart = laid(view)
        assert (copy.stride(), apart) == ((1000, 1), 1000)
    even = torch.zeros(8, 1024, device=DEVICE)
    for view in (even, even[::2], even[3:4], torch.zeros(8, 3, 1024, device=DEVICE)[:, 1]):
        assert laid(view)[0] is view


def test_columns_that_are_not_asked_for_are_not_read() -> None:
    x = rows("random", 1000, torch.float32, 8)
    found, same = one_pass(x, columns=900), one_pass(x[:, :900].contiguous())
    for name in ("token", "logit", "share", "entropy", "margin"):
        torch.testing.assert_close(getattr(found, name), getattr(same, name))


def test_a_row_has_the_same_bits_in_any_batch() -> None:
    x = rows("random", 5003, torch.bfloat16, 9)
    u, h = torch.rand(9, dtype=torch.double).to(DEVICE), torch.arange(9, device=DEVICE)
    together = one_pass(x, u=u, h=h, temperature=0.8)
    for i in (0, 5, 8):
        alone = one_pass(x[i : i + 1], u=u[i : i + 1], h=h[i : i + 1], temperature=0.8)
        for name in vars(alone):
            assert torch.equal(getattr(together, name)[i : i + 1], getattr(alone, name)), name


@pytest.mark.parametrize("bad", [float("nan"), INF])
def test_a_row_without_a_distribution_has_probability_0(bad: float) -> None:
    x = rows("random", 5003, torch.float32, 4)
    x[1, 4100] = bad
    u = torch.full((4,), 0.5, dtype=torch.double, device=DEVICE)
    found, before = one_pass(x, u=u), one_pass(x.index_fill(0, torch.tensor([1], device=DEVICE), 0.0), u=u)
    for name in ("share", "entropy", "margin", "sample", "chance"):
        assert getattr(found, name)[1] == 0, name
    assert found.log_share[1] == -INF
    assert 0 <= int(found.token[1]) < 5003
    rest = torch.tensor([0, 2, 3], device=DEVICE)
    for name in ("token", "share", "entropy", "sample"):
        assert torch.equal(getattr(found, name)[rest], getattr(before, name)[rest])


def test_a_cut_covers_every_vocabulary() -> None:
    for V in (2, 63, 64, 65, 4096, 4097, 126_464, 262_144):
        c = Cut.of(V)
        assert c.stretch % (c.lanes * c.depth) == 0
        assert c.stretch * 32 >= V
        x = torch.zeros(1, V, device=DEVICE)
        x[0, -1] = 1
        if V < 10_000:
            assert one_pass(x).token.item() == V - 1


def test_pred_asks_the_kernels_where_they_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same interface, the same answers; in one pass for all that is asked after a draw."""
    at = torch.tensor([[0, 2, 4], [1, 4, 4]], device=DEVICE)
    logits = rows("random", 100, torch.float32).view(2, 3, 100)
    passes = []
    monkeypatch.setattr(stats.triton_kernel, "one_pass", lambda *a, **k: passes.append(1) or one_pass(*a, **k))

    def ask(p: Pred) -> list[torch.Tensor]:
        q = p.without((3, 4))
        u = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], dtype=torch.double, device=DEVICE)
        drawn, best = q.statistics.sample(u, 0.9), q.best()
        return [
            *drawn,
            *best,
            q.entropy(),
            q.margin(),
            q.prob(best[0]),
            q.top(3)[0],
            q.statistics.race(at.flatten(), 1.0),
        ]

    with stats.using("triton"):
        fast = ask(Pred(logits, at, 4))
    assert len(passes) == 2  # the draw with all that follows it, and the race
    with stats.using("torch"):
        plain = ask(Pred(logits, at, 4))
    assert len(passes) == 2
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b)


def test_who_answers() -> None:
    x = torch.zeros(1, 8)
    assert not stats.fused(x)
    with stats.using("triton"):
        assert stats.fused(x)
        assert not stats.fused(x.double())  # the kernels accumulate in float32
    assert stats.fused(x.to("meta")) is False
    with pytest.raises(UsageError, match="DECODERS_STATS must be one of auto, torch, triton, compiled, not 'cuda'"):
        stats.checked("cuda")
    if CUDA:
        assert stats.fused(x.cuda())
        with stats.using("torch"):
            assert not stats.fused(x.cuda())


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from decoders.stats import triton_kernel as k

types = {"row_stride": "i32", "vocab": "i32", "stretches": "i32"}
types |= dict.fromkeys(("banned", "keys", "token", "sample", "race"), "*i64")
types |= dict.fromkeys(("tiles", "racer"), "*i32")
types |= dict.fromkeys(("temperature", "uniform", "raced"), "*fp64")
types |= dict.fromkeys(("part", "logit", "share", "log_share", "entropy", "margin", "chance"), "*fp32")
c = k.Cut.of(126_464)
for arch in (80, 90):
    for logits, tempered, race, banned in (("*bf16", True, False, 2), ("*fp32", False, True, 0)):
        fixed = {"LANES": c.lanes, "DEPTH": c.depth, "STRETCH": c.stretch, "TEMPERED": tempered, "RACE": race,
        "N_BANNED": banned,
                 "column_stride": 1, "STRETCHES": 16, "SAMPLE": tempered}
        for kernel in (k.scan, k.finish):
            own = {n: v for n, v in fixed.items() if n in kernel.arg_names}
            named = {n: logits if n == "logits" else "constexpr" if n in own else types[n] for n in kernel.arg_names}
            made = triton.compile(ASTSource(kernel, named, own),
                target=GPUTarget("cuda", arch, 32), options={"num_warps": c.warps})
            assert made.asm["cubin"], kernel
            print(kernel.__name__, arch)
"""


@pytest.mark.slow
def test_the_kernels_compile_for_gpus_that_are_not_here() -> None:
    """Triton brings the assembler along; what the interpreter lets pass, the compiler may not."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(done.stdout.split()) == 16
