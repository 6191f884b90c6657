"""Samplers of latents: the contract, their orders of convergence, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from decoders.constraints.automaton import Automaton
from decoders.constraints.constrained import Constrained
from decoders.core import Blocks, Plan, State, Suppress, UsageError, decode, mapped, view
from decoders.engine import Engine, Request
from decoders.registry import get, get_cache
from decoders.strategies.latent.samplers import DDIM, DDPM, DPMpp2M, DPMpp3M, Heun
from decoders.testing.latent import ToyLatent, gain, solved
from decoders.testing.toy import ToyModel

MODEL = ToyLatent()
FEW = 11
"""Forwards."""
SPECS = [
    f"{spec}{',' if ':' in spec else ':'}steps={FEW}" for spec in (
        "ddim", "ddim:eta=0.5", "ddpm", "ddpm:variance=large", "dpmpp_2m", "dpmpp_2m:eta=1.0,solver=heun", "heun",
        "dpmpp_3m", "renoise", "bridge", "ddpm:clamp=1.0,last=table", "ddim:schedule=even,temperature=0.9,clamp=0.5",
    )
]
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 0, 1]]


def run(spec, prompts=PROMPTS, model=MODEL, **how):
    return decode(model, get(spec), prompts, length=6, **{"seeds": [sum(p) for p in prompts], **how})


@pytest.mark.parametrize("spec", SPECS)
def test_a_row_has_the_same_tokens_alone_and_in_any_batch(spec):
    rows = run(spec)
    assert [list(r.canvas[: len(p)]) for r, p in zip(rows, PROMPTS, strict=True)] == PROMPTS
    assert [r.nfe for r in rows] == [FEW] * 3
    assert all(len(r.tokens) == 6 for r in rows)
    assert run(spec, PROMPTS[::-1])[::-1] == rows
    assert [run(spec, [p])[0] for p in PROMPTS] == rows


@pytest.mark.parametrize("spec", SPECS[:6])
def test_rows_that_come_and_go_are_the_same(spec):
    plan = Plan(get(spec), Blocks(1 << 40), get_cache("exact"))
    requests = [Request(tuple(p), 6, plan, sum(p)) for p in PROMPTS]
    list(Engine(MODEL, slots=2).run(requests))
    assert [r.result.row for r in requests] == run(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_steps_read_nothing_on_the_host(spec):
    """A step on tensors without values."""
    decoder, seen = get(spec), []
    decode(MODEL, decoder, PROMPTS, length=6, watch=lambda f, p, c: seen.append((p, c)))
    p, c = seen[1]
    on = lambda x: mapped(lambda t: t.to("meta"), x)
    after = decoder.step(on(view(c)), replace(on(p), table=p.table.to("meta")))
    assert after.memo.z.shape == view(c).memo.z.shape


def test_bridge_has_no_option_that_it_does_not_read():
    with pytest.raises(UsageError, match="bridge has no option 'clamp'"):
        get("bridge:clamp=1.0")
    assert get("bridge:steps=4,last=table").clamp == 0


def test_a_draft_is_shown_until_the_end_and_nothing_of_it_is_final():
    events = []
    (row,) = run("ddpm", PROMPTS[:1], on_event=events.append)
    *drafts, whole, rest = events
    assert {e.kind for e in drafts} == {"provisional"}
    assert (whole.kind, whole.tokens) == ("committed", row.tokens)
    assert rest.tokens == ()


def test_the_exact_cache_trusts_nothing_that_saw_latents():
    """The tokens may stay as they are while the latents move, and then what saw them is out of date all the same."""
    exact, none = run("ddim:steps=8", cache=get_cache("exact")), run("ddim:steps=8", cache=get_cache("none"))
    assert exact == none
    assert [r.positions_reused for r in exact] == [0, 0, 0]


def test_samples_have_the_distribution_of_the_model():
    """One position whose tokens have known probabilities, in as many rows as samples."""
    model, count = ToyLatent(seed=3, spread=1.0), 1500
    rows = decode(model, get("ddpm:steps=64"), [[1]] * count, length=1, seeds=list(range(count)))
    found = torch.bincount(torch.tensor([r.tokens[0] for r in rows]), minlength=model.vocab) / count
    prior = model.prior(torch.tensor([[1, 0, 0]]), torch.tensor([[True, False, False]]), torch.tensor([[1]]))
    assert (found - prior.softmax(-1)[0, 0]).abs().sum() / 2 < 0.05


@pytest.fixture(scope="module")
def truth():
    return solved(DPMpp2M(steps=2048))


def test_ddim_is_of_first_order(truth):
    assert 1.9 <= gain(lambda n: DDIM(steps=n + 1), truth, 256) <= 2.1


@pytest.mark.parametrize(
    "solver",
    [lambda n: DPMpp2M(steps=n + 1), lambda n: Heun(steps=2 * n + 1), lambda n: DPMpp3M(eta=0.0, steps=n + 1)],
    ids=["2m", "heun", "3m"],
)
def test_solvers_of_second_order_are(solver, truth):
    """The third-order one begins with a step of first order, and is no better as a whole."""
    assert 3.5 <= gain(solver, truth) <= 4.5


@dataclass(frozen=True)
class Dead(DPMpp2M):
    """Forgets what it went by before, as a reference does that never stores it."""

    def move(self, s: State, x, here, ahead):
        return super().move(replace(s, memo=s.memo._replace(x=x)), x, here, ahead)


def test_a_dead_second_order_branch_is_found_out(truth):
    assert not 3.5 <= gain(lambda n: Dead(steps=n + 1), truth) <= 4.5


def test_ddim_with_all_its_noise_is_ancestral_sampling():
    """The same normal numbers, the same mean and variance: the same points."""
    assert torch.allclose(solved(DDIM(eta=1.0, steps=32)), solved(DDPM(steps=32)), atol=1e-6)


def test_rounding_in_every_forward_leaves_x_among_the_tokens():
    seen = []
    decode(MODEL, get("ddim:clamp=1.0,steps=8"), PROMPTS, length=6, watch=lambda f, p, c: seen.append(c.memo.x))
    x = torch.stack(seen[:-1])[:, 0, :6]
    assert bool((torch.cdist(x, MODEL.table).amin(-1) < 1e-6).all())


@pytest.mark.parametrize("last", ["forward", "table"])
def test_what_is_never_generated_is_not_read_either(last):
    (row,) = run(f"ddim:steps=8,last={last}", PROMPTS[:1])
    (other,) = run(f"ddim:steps=8,last={last}", PROMPTS[:1], rules=[Suppress(row.tokens[:1])])
    assert row.tokens[0] not in other.tokens


def test_renoising_forgets_the_latents_and_not_what_they_said():
    decoder = get("renoise:steps=4")
    state = {}

    def watch(f, p, c):
        state.setdefault("before", (p, c))

    decode(MODEL, decoder, PROMPTS, length=6, watch=watch)
    p, c = state["before"]
    s = view(c)
    other = replace(s, memo=s.memo._replace(z=s.memo.z + 1))
    assert torch.equal(decoder.step(s, p).memo.z, decoder.step(other, p).memo.z)


@pytest.mark.parametrize(
    ("model", "spec", "cache", "message"),
    [
        (MODEL, "threshold", "exact", "Threshold decides tokens, and this model denoises latents; take ddim"),
        (ToyModel(), "ddim", "exact", "DDIM denoises latents, and this model has none"),
        (replace(MODEL), "ddim", "entropycache", "EntropyCache"),
        (replace(MODEL), "ddim", "dkv", "goes by tokens"),
    ],
)
def test_what_does_not_go_together_is_refused(model, spec, cache, message):
    with pytest.raises(UsageError, match=message):
        decode(model, get(spec), [[1]], length=4, cache=get_cache(cache))


def test_a_constraint_is_refused():
    with pytest.raises(UsageError, match="denoises latents"):
        Constrained(get("ddim"), Automaton.__new__(Automaton), 4)
