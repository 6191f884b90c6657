"""`decoders.wrap`: models that somebody else has loaded, by their plain forward or with their own store."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import decoders
from decoders import Generator, UsageError
from decoders.models.adapter import TransformersModel
from decoders.models.held import PlainModel
from decoders.models.native import adapt
from decoders.models.scatter import store_argument
from support.checkpoints import MASK, write
from support.hosted import characters

TEXTS = ["ab", "a longer one", "cd"]


class Foreign(nn.Module):
    """As code that a checkpoint brings along: no class of transformers', every position sees every other."""

    def __init__(self, inner, config=None, both=True):
        super().__init__()
        self.inner, self.both = inner, both
        if config is not None:
            self.config = SimpleNamespace(to_dict=lambda: config)

    def forward(self, input_ids):
        B, L = input_ids.shape
        mask = torch.zeros(B, 1, L, L, dtype=self.inner.dtype) if self.both else None
        return self.inner(input_ids=input_ids, attention_mask=mask)


class Bare(Foreign):
    """Whose forward gives the logits themselves."""

    def forward(self, input_ids):
        return super().forward(input_ids).logits


@pytest.fixture(scope="module", params=["llada", "dream"])
def loaded(request, tmp_path_factory):
    """A checkpoint as it is loaded; the second one's outputs are shifted."""
    place = tmp_path_factory.mktemp("held") / request.param
    write(place, request.param)
    return decoders.load(str(place), dtype="float32")


@pytest.mark.parametrize("kind", [Foreign, Bare])
@pytest.mark.parametrize("spec", ["threshold:tau=0.3", "llada:steps=4", "dream:by=entropy,steps=4", "remdm"])
def test_a_plain_forward_gives_what_a_loaded_checkpoint_does(loaded, kind, spec):
    held = decoders.wrap(
        kind(loaded.model.model), loaded.tokenizer.fast, mask_id=MASK, shifted=loaded.model.shifted
    )
    assert isinstance(held.model, PlainModel)
    assert set(held.never) == set(loaded.never)
    assert held.model.stop_ids == loaded.model.stop_ids
    expected = Generator(loaded, spec, cache="none")(TEXTS, length=12, seeds=[1, 2, 3])
    made = Generator(held, spec)(TEXTS, length=12, seeds=[1, 2, 3])
    assert [(m.tokens, m.nfe, m.finish_reason) for m in made] == [
        (m.tokens, m.nfe, m.finish_reason) for m in expected
    ]


def test_a_class_of_transformers_keeps_its_store(loaded):
    held = decoders.wrap(loaded.model.model, loaded.tokenizer.fast, mask_id=MASK, shifted=loaded.model.shifted, block=4)
    assert isinstance(held.model, TransformersModel)
    expected = Generator(loaded, "threshold", cache="dual")(TEXTS, length=12, block=4)
    made = Generator(held, "threshold", cache="dual")(TEXTS, length=12)
    assert [m.tokens for m in made] == [m.tokens for m in expected]
    assert [m.cache_hit_rate for m in made] == [m.cache_hit_rate for m in expected]
    assert all(m.cache_hit_rate > 0 for m in made)


def test_a_llama_that_says_no_more_is_no_family(loaded):
    """A config without architectures is known by its type, and `llama` is also that of a family of diffusion."""
    with pytest.raises(UsageError, match=r"say what its mask token is, mask_id=\.\.\., or attention='causal'"):
        adapt(loaded.model.model, None, None, None, None, ())


class Adapted(nn.Module):
    """As peft has it: what it wraps holds the adapters, unless they are learned prompts."""

    def __init__(self, inner, prompts=False):
        super().__init__()
        self.inner, self.active_peft_config = inner, SimpleNamespace(is_prompt_learning=prompts)

    def get_base_model(self):
        return self.inner


def test_adapters_inside_a_class_of_transformers(loaded):
    net, fast = loaded.model.model, loaded.tokenizer.fast
    assert decoders.wrap(Adapted(net), fast, mask_id=MASK).model.model is net
    with pytest.raises(UsageError, match="prompt learning"):
        decoders.wrap(Adapted(net, prompts=True), fast, mask_id=MASK)


def test_the_config_says_the_family(loaded):
    family = "Dream" if loaded.model.shifted else "llada"
    config = {"model_type": family, "mask_token_id": MASK}
    held = decoders.wrap(Foreign(loaded.model.model, config), loaded.tokenizer.fast)
    assert (held.model.mask_id, held.model.shifted) == (MASK, loaded.model.shifted)


def test_the_tokenizer_that_is_given_stays_as_it_was(loaded):
    fast = loaded.tokenizer.fast
    fast.backend_tokenizer.enable_truncation(3)
    try:
        decoders.wrap(Foreign(loaded.model.model), fast, mask_id=MASK)
        assert fast.backend_tokenizer.truncation is not None
    finally:
        fast.backend_tokenizer.no_truncation()


def test_what_cannot_be_wrapped_is_one_line(loaded):
    net, fast = loaded.model.model, loaded.tokenizer.fast
    with pytest.raises(UsageError, match="Foreign is causal in its plain forward"):
        decoders.wrap(Foreign(net, both=False), fast, mask_id=MASK)
    with pytest.raises(UsageError, match="object is no fast tokenizer of transformers"):
        decoders.wrap(net, object(), mask_id=MASK)
    with pytest.raises(UsageError, match="mask_id must be the id of one of 112 tokens, not 400"):
        decoders.wrap(Foreign(net), fast, mask_id=400)
    with pytest.raises(UsageError, match="Foreign attends in blocks"):
        decoders.wrap(Foreign(net, {"model_type": "sdar"}), fast, mask_id=MASK)
    with pytest.raises(UsageError, match=r"Linear cannot be run by its plain forward, model\(input_ids=...\)"):
        decoders.wrap(nn.Linear(2, 2), fast, mask_id=MASK)
    with pytest.raises(UsageError, match="the mask token of Foreign is unknown"):
        decoders.wrap(Foreign(net), characters())


class New(nn.Module):
    def forward(self, input_ids, cache=None):
        raise AssertionError


class Old(nn.Module):
    def forward(self, input_ids, past_key_values=None):
        raise AssertionError


@pytest.mark.parametrize(("kind", "name"), [(New, "cache"), (Old, "past_key_values")])
def test_a_store_goes_by_the_name_that_the_class_has(kind, name):
    """Whatever somebody has put around the forward of the object."""
    model = kind()
    model.forward = lambda *args, **how: None
    assert store_argument(model) == name
