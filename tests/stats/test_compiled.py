"""The kernel in C++ against the torch reference, and what happens where it cannot be compiled."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from decoders import stats
from decoders.stats import build, compiled, reference
from decoders.stats.compiled import Compiled
from support.logits import KINDS, rows_of
from support.marks import slow

DTYPES = [torch.float32, torch.bfloat16]
SIZES = [1, 2, 63, 64, 65, 756, 1024, 1025, 5003, 32_000]

needs_a_compiler = pytest.mark.skipif(bool(compiled.problem()), reason=f"no kernel: {compiled.problem()}")


def rows(kind: str, V: int, dtype: torch.dtype, R: int = 9) -> torch.Tensor:
    """(R, V) logits."""
    x = rows_of(kind, V, dtype, R)
    if kind == "adversarial":
        x[6] = torch.arange(V) * (300 / V)  # the largest is always yet to come
        x[7, V // 2] = torch.nan
        x[8, V // 3] = torch.inf
    return x


def numbers(R: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Uniform numbers and hashes, the outermost among them."""
    g = torch.Generator().manual_seed(R)
    u, h = torch.rand(R, dtype=torch.double, generator=g), torch.randint(-(2**63), 2**63 - 1, (R,), generator=g)
    u[-2:] = torch.tensor([0.0, 1 - 2**-53], dtype=torch.double)
    h[-3:] = torch.tensor([0, -1, -(2**63)])
    return u, h


def everything(s: stats.Statistics, R: int, temperature: float = 0.8) -> list[torch.Tensor]:
    u, h = numbers(R)
    return [*s.best(), s.entropy(), s.margin(), *s.sample(u, temperature), *s.sample(u, 1.0), s.race(h, temperature)]


def check(x: torch.Tensor, banned: tuple[int, ...] = ()) -> None:
    """Tokens are the same; numbers differ by what float32 sums of the reference are off by."""
    fast, plain = Compiled(x, banned), reference.InTorch(x, banned)
    assert torch.equal(fast.allowed.isnan(), plain.allowed.isnan())
    assert torch.equal(fast.allowed.nan_to_num(), plain.allowed.nan_to_num())
    for temperature in (1.0, 0.3):
        found = everything(fast, len(x), temperature), everything(plain, len(x), temperature)
        for a, b in zip(*found, strict=True):
            assert a.dtype == b.dtype
            if a.dtype == torch.long:
                assert torch.equal(a, b)
            else:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert torch.equal(fast.defined, plain.defined)
    tokens = torch.arange(len(x)) % x.shape[-1]
    torch.testing.assert_close(fast.prob(tokens), plain.prob(tokens), rtol=1e-5, atol=1e-6)


@needs_a_compiler
@pytest.mark.parametrize("V", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tokens_are_those_of_the_reference(V, dtype):
    for kind in KINDS:
        x = rows(kind, V, dtype)
        check(x)
        check(x, tuple(sorted({0, V // 2, V - 1}, reverse=True)))


@needs_a_compiler
def test_entropy_and_probabilities_against_float64():
    for kind in KINDS[:-1]:
        x = rows(kind, 32_000, torch.float32)
        p = x.double().softmax(-1)
        s = Compiled(x, ())
        two = p.topk(2, -1).values
        torch.testing.assert_close(s.entropy().double(), torch.special.entr(p).sum(-1), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(s.margin().double(), two[:, 0] - two[:, 1], rtol=1e-6, atol=2e-7)
        torch.testing.assert_close(s.best()[1].double(), two[:, 0], rtol=5e-6, atol=0)


@needs_a_compiler
def test_a_vocabulary_of_which_much_or_all_is_impossible():
    x = rows("random", 1003, torch.float32)
    for banned in (tuple(range(700, 1003)), tuple(range(0, 1003, 7)), tuple(range(1002)), tuple(range(1003))):
        check(x, banned)


@needs_a_compiler
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_many_samples_fall_where_those_of_the_reference_fall(temperature):
    """Numbers that lie on borders between tokens, to rounding, as well."""
    x = rows("flat", 5003, torch.float32, 1).expand(4000, -1)
    u = torch.rand(4000, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    borders = (x[0].double() / temperature).softmax(-1).cumsum(-1)[:2000]
    u[:2000] = borders + 1e-8 * (u[:2000] - 0.5)
    assert torch.equal(Compiled(x, ()).sample(u, temperature)[0], reference.sample(x, u, temperature))


@needs_a_compiler
def test_what_rounding_could_decide_is_asked_of_the_reference(monkeypatch):
    x, asked = rows("flat", 756, torch.float32, 4), []
    monkeypatch.setattr(reference, "sample", lambda x, u, t, f=reference.sample: asked.append(len(u)) or f(x, u, t))
    inside = (torch.arange(4).double() + 100.5) / 756  # in the midst of a share of a nearly flat distribution
    Compiled(x.zero_(), ()).sample(inside, 1.0)
    assert asked == []
    Compiled(x, ()).sample(torch.where(torch.arange(4) == 2, 100 / 756, inside), 1.0)
    assert asked == [1]


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_has_the_same_bits_in_any_batch_view_and_number_of_threads(dtype):
    x = rows("random", 40_001, dtype, 9)
    whole = Compiled(x, (5, 40_000)).passed(numbers(9)[0], 0.8)
    wide = torch.zeros(9, 3, 40_001, dtype=dtype)
    wide[:, 1] = x
    odd = torch.zeros(9 * 40_001 + 1, dtype=dtype)[1:].view(9, 40_001).copy_(x)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            for view in (x, wide[:, 1], x.t().contiguous().t(), x.flip(0).flip(0), odd):
                again = Compiled(view, (5, 40_000)).passed(numbers(9)[0], 0.8)
                assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    finally:
        torch.set_num_threads(before)
    for i in (0, 4, 8):
        alone = Compiled(x[i : i + 1], (5, 40_000)).passed(numbers(9)[0][i : i + 1], 0.8)
        assert all(torch.equal(a[:, i : i + 1], b) for a, b in zip(whole, alone, strict=True))
    same = Compiled(x[:1].expand(5, -1), ()).best()[0]
    assert torch.equal(same, reference.argmax(x[:1])[0].expand(5))
    assert Compiled(x[:0], ()).best()[0].shape == (0,)


@needs_a_compiler
def test_one_pass_brings_all_that_is_asked_after_a_draw(monkeypatch):
    passes = []
    plain = Compiled.passed
    monkeypatch.setattr(Compiled, "passed", lambda self, *a: passes.append(1) or plain(self, *a))
    s = Compiled(rows("random", 100, torch.float32), (3,))
    assert s.defined is None
    s.sample(numbers(9)[0], 0.9), s.best(), s.entropy(), s.margin(), s.prob(torch.arange(9))
    assert len(passes) == 1


@needs_a_compiler
def test_a_step_that_is_compiled_has_the_same_bits():
    x, (u, h) = rows("random", 756, torch.float32), numbers(9)

    def step(x):
        s = stats.of(x, (1, 2))
        return [*s.sample(u, 0.7), *s.best(), s.entropy(), s.race(h, 1.0)]

    torch._dynamo.reset()
    made = torch.compile(step, fullgraph=True, backend="eager")(x)
    assert all(torch.equal(a, b) for a, b in zip(step(x), made, strict=True))


@needs_a_compiler
def test_who_answers_on_a_cpu():
    x = torch.zeros(1, 8)
    assert isinstance(stats.of(x), Compiled)
    assert isinstance(stats.of(x.bfloat16()), Compiled)
    for other in (x.half(), x.double(), x.to("meta"), x.clone().requires_grad_()):
        assert not stats.native(other)
    with stats.using("torch"):
        assert isinstance(stats.of(x), reference.InTorch)
    with stats.using("compiled"):
        assert isinstance(stats.of(x), Compiled)


RUN = """
import torch
from decoders import stats
s = stats.of(torch.eye(3))
print(type(s).__name__, s.best()[0].tolist())
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | env, timeout=600
    )


@pytest.mark.parametrize("CXX", ["no-such-compiler", *slow(sys.executable)])
def test_without_a_compiler_plain_torch_answers(tmp_path, CXX):
    done = run(RUN, CXX=CXX, XDG_CACHE_HOME=str(tmp_path))
    assert (done.stdout, done.stderr) == ("InTorch [0, 1, 2]\n", "")
    assert list(tmp_path.rglob("*.part")) == []
    insisted = run(RUN, CXX=CXX, XDG_CACHE_HOME=str(tmp_path), DECODERS_STATS="compiled")
    assert "UsageError: DECODERS_STATS=compiled: " in insisted.stderr.splitlines()[-1]


def test_a_cache_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "decoders").mkdir()
    (tmp_path / "decoders").chmod(0o777)
    with pytest.raises(build.CannotBuildError, match="is not this user's alone"):
        build.cache()
    (tmp_path / "decoders").rmdir()
    assert stat.S_IMODE(build.cache().stat().st_mode) == 0o700
    somebody_else = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody_else)
    with pytest.raises(build.CannotBuildError, match="is not this user's alone"):
        build.cache()


@pytest.mark.slow
@needs_a_compiler
def test_the_library_is_made_once_and_by_two_at_a_time(tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "DECODERS_STATS": "compiled"}
    both = [subprocess.Popen([sys.executable, "-c", RUN], env=env, stdout=subprocess.PIPE) for _ in range(2)]
    assert [p.communicate(timeout=600)[0] for p in both] == [b"Compiled [0, 1, 2]\n"] * 2
    (made,) = (tmp_path / "decoders").iterdir()
    before = made.stat().st_mtime_ns
    assert run(RUN, **env).stdout == "Compiled [0, 1, 2]\n"
    assert made.stat().st_mtime_ns == before


def test_the_name_of_the_library_tells_all_that_it_is_made_of(monkeypatch, tmp_path):
    command = [sys.executable]
    names = {build.fingerprint(command), build.fingerprint([*command, "-m32"])}
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    names.add(build.fingerprint(command))
    monkeypatch.setattr(build, "SOURCE", tmp_path / "rows.cpp")
    Path(build.SOURCE).write_text("int other;")
    names.add(build.fingerprint(command))
    monkeypatch.setattr(build, "processor", lambda: "another")
    names.add(build.fingerprint(command))
    assert len(names) == 5


def test_importing_compiles_nothing(tmp_path):
    code = "import sys, decoders, decoders.stats; print('decoders.stats.build' in sys.modules)"
    assert run(code, XDG_CACHE_HOME=str(tmp_path)).stdout == "False\n"
    assert list(tmp_path.iterdir()) == []
