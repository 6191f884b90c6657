"""CoDAR: latents denoised, and then rounded from left to right."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
import torch

from decoders.core import UsageError, asks, decode
from decoders.registry import get, spec_of
from decoders.strategies.latent.codar import Codar
from decoders.strategies.latent.samplers import DDIM, Heun
from decoders.testing.latent import ToyLatent
from decoders.testing.rounding import rounded, verified
from decoders.testing.toy import ToyModel


@pytest.mark.parametrize(
    "spec",
    ["codar", "codar:denoiser=(ddim:steps=4,clamp=1.0)", "codar:denoiser=(heun:steps=5)", "codar:temperature=1.0"],
)
def test_verified_rounding_is_that_of_one_by_one_for_a_forward_and_one_more_for_each_correction(spec):
    assert verified(get(spec)) > 4


@dataclass(frozen=True)
class Hasty(Codar):
    """Lets stand whatever agrees, behind what does not too."""

    def stands(self, s, token):
        agrees = s.open & (token == s.memo.draft)
        return torch.where(agrees.any(-1)[:, None], agrees, super().stands(s, token))


@dataclass(frozen=True)
class Wasteful(Codar):
    """Lets nothing stand but the first position, so that it verifies in vain."""

    def stands(self, s, token):
        return super().stands(s, token) & (s.open.cumsum(-1) == 1)


@pytest.mark.parametrize(("broken", "why"), [(Hasty, "one by one"), (Wasteful, "forwards for")])
def test_the_law_finds_out_who_does_not_keep_it(broken, why):
    with pytest.raises(AssertionError, match=why):
        verified(broken())


def test_the_draft_is_the_text_of_its_sampler():
    alone = decode(ToyLatent(), DDIM(steps=6), [[1, 2]], length=9, seed=0, stop=False)[0]
    assert rounded(Codar(DDIM(steps=6)), (1, 2), length=9).draft == alone.tokens


def test_a_draft_that_the_rounder_agrees_with_costs_one_forward():
    found = rounded(replace(Codar(), denoiser=DDIM(steps=6)), (1,), length=1, seed=5)
    assert found.forwards == {"denoise": 6, "round": 1}
    assert (found.row.nfe, found.row.forwards) == (7, (6, 1))


def test_rows_turn_in_steps_of_their_own():
    """A row that needs corrections does not hold up another one."""
    prompts = [[1], [2, 3], [4, 5, 6]]
    for spec in ("codar:denoiser=(ddim:steps=5)", "codar:denoiser=(ddim:steps=5),verify=false"):
        together = decode(ToyLatent(), get(spec), prompts, length=12, seeds=[1, 2, 3])
        assert [decode(ToyLatent(), get(spec), [p], length=12, seeds=[i + 1])[0] for i, p in enumerate(prompts)] == (
            together
        )
        assert len({r.nfe for r in together}) > 1 or "false" in spec


def test_what_it_asks_is_refused_where_it_cannot_be():
    assert asks(Codar()) == {"latents", "causal", "ahead"}
    assert asks(Codar(verify=False)) == {"latents", "causal"}

    class Unrounded(ToyLatent):
        capabilities = frozenset({"movable"})

    with pytest.raises(UsageError, match="Codar makes causal forward passes, and this model cannot"):
        decode(Unrounded(), Codar(), [[1]], length=4)
    with pytest.raises(UsageError, match="Codar denoises latents, and this model has none"):
        decode(ToyModel(), Codar(), [[1]], length=4)
    with pytest.raises(UsageError, match="denoiser must be"):
        get("codar:denoiser=threshold")


def test_it_is_spelled_as_others_are():
    decoder = Codar(Heun(steps=9), verify=False)
    assert spec_of(decoder) == "codar:denoiser=(heun:steps=9),verify=false"
    assert get(spec_of(decoder)) == decoder
    assert json.dumps(spec_of(get("codar")))
