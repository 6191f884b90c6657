"""Schedules of noise levels."""

from __future__ import annotations

import pytest
import torch

from decoders.core import Space, UsageError, decode
from decoders.registry import get, spec_of
from decoders.strategies.latent.schedules import Cosine, Even, Karras, Learned, Linear, Schedule, Sqrt
from decoders.testing.latent import ToyLatent, solved

SPACE = Space(2, (4.0, 3.0, -1.0, -6.0))
NAMES = ("learned", "even", "karras", "sqrt", "cosine", "linear", "trunc_cos", "trunc_lin", "pw_lin")


def levels(schedule, count, space=SPACE):
    return schedule(space, torch.arange(count), count)


def test_these_are_known():
    assert set(NAMES) <= set(Schedule.known())


@pytest.mark.parametrize("name", NAMES)
def test_levels_fall_from_noise_to_text_and_every_sampler_takes_them(name):
    found = levels(Schedule.known()[name](), 20)
    assert found.dtype == torch.float64
    assert bool((found.diff() < 0).all())
    for sampler in ("ddim", "dpmpp_2m"):
        spec = f"{sampler}:steps=6,schedule={name}"
        decoder = get(spec)
        assert get(spec_of(decoder)) == decoder
        seen = []
        watch = lambda f, p, c, seen=seen: seen.append(float(f.level[0]))
        decode(ToyLatent(), decoder, [[1]], length=3, watch=watch)
        assert seen == levels(decoder.schedule, 6, ToyLatent().space).tolist()


def test_between_what_a_model_learnt_levels_are_on_a_line():
    assert levels(Learned(), 4).tolist() == list(SPACE.levels)
    assert levels(Learned(), 3).tolist() == [4.0, 1.0, -6.0]
    assert levels(Even(), 3).tolist() == [4.0, -1.0, -6.0]


def test_a_model_that_learnt_no_level_between_is_asked_at_its_own():
    own = Space(2, (4.0, 3.0, -1.0, -6.0), discrete=True)
    assert levels(Learned(), 3, own).tolist() == [4.0, 3.0, -6.0]
    with pytest.raises(UsageError, match="has 4 noise levels, and 5 forwards"):
        levels(Learned(), 5, own)


def test_a_root_of_the_noise_is_evenly_spaced():
    found = levels(Karras(rho=3.0), 5)
    assert torch.allclose((found / 6).exp().diff(), (found / 6).exp().diff().mean())
    assert torch.allclose(found[[0, -1]], torch.tensor([4.0, -6.0], dtype=torch.float64))


def test_discrete_schedules_are_those_of_the_papers():
    signal = (-levels(Sqrt(trained=100), 100)).sigmoid().flip(0)
    t = torch.arange(1, 101, dtype=torch.float64) / 100
    assert torch.allclose(signal[:90], ((1 - (t + 1e-4).sqrt()) / (1 - 0.01))[:90])
    whole = (-levels(Cosine(trained=100), 100)).sigmoid().flip(0)
    start = torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2)) ** 2
    assert torch.allclose(whole[:90], (torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2 / start)[:90].double())
    assert abs(float((-levels(Linear(trained=1000), 1000)).sigmoid()[-1]) - (1 - 1e-4)) < 1e-12


def test_what_cannot_be_kept_is_refused_in_a_line():
    assert len(levels(Sqrt(trained=300, sections=(10, 15, 20)), 45)) == 45
    for schedule, count in ((Sqrt(trained=20), 21), (Sqrt(trained=20, kept="stride"), 6), (Sqrt(sections=(1, 2)), 5)):
        with pytest.raises(UsageError, match=f"the schedule sqrt cannot give {count} levels"):
            levels(schedule, count)
    with pytest.raises(UsageError, match="sections must be numbers of at least 1"):
        get("ddim:schedule=(sqrt:sections=0+3)")
    with pytest.raises(UsageError, match="unknown schedule 'cosin'"):
        get("ddim:schedule=cosin")


def test_the_clean_latent_of_the_last_forward_is_told_unless_it_is_not_to_be():
    def told(spec):
        seen = []
        decode(ToyLatent(), get(spec), [[1]], length=3, watch=lambda f, p, c: seen.append(f.latents.said.abs().sum()))
        return [bool(x) for x in seen]

    assert told("ddim:steps=3") == [False, True, True]
    assert told("ddim:steps=3,self_conditioning=false") == [False, False, False]


def test_euler_is_ddim():
    assert get("euler:steps=9") == get("ddim:steps=9")
    assert torch.equal(solved(get("euler:steps=9")), solved(get("ddim:steps=9")))
