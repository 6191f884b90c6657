"""The families of the table against every law of such, and control families against the laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from decoders import Family, UsageError
from decoders.core import Forward, Session, SessionSpec
from decoders.models.adapter import TransformersModel
from decoders.models.families import FAMILIES
from decoders.models.loaded import Loaded
from decoders.models.recognition import family_of
from decoders.testing import FAMILY_LAWS, Tiny, check_family
from decoders.testing.family_laws import FAMILY_FAST
from decoders.testing.tiny import backwards, renamed
from decoders.testing.trial import tried
from support.checkpoints import RECIPES, VOCAB

by_name = {law.__name__: law for law in FAMILY_LAWS}
QUICK = ("llada", "sdar", "bert", "llama")
ALIKE = {"diffusion_gemma"}
"""What its adapter predicts stands in `tests/models/test_diffusion_gemma.py`: it has no forward of whole rows. The law
`padding` is tested in float64: every forward is conditioned on the logits of the one before, so that differences in
rounding grow up to tenfold a forward, and in float32 they pass the law's bound in the sixth."""


def tiny(name: str) -> Tiny:
    """A family of the table, with the config of its checkpoint in these tests as its sample."""
    recipe = RECIPES[name]
    settings = {} if recipe.own else {"vocab_size": VOCAB, **recipe.settings}
    if "rope_theta" in recipe.config:
        settings.pop("rope_parameters", None)  # as written by transformers 4
    return Tiny(replace(family_of(dict(recipe.config), name), sample={**settings, **recipe.config}))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n, r in RECIPES.items() if r.native and n not in ALIKE
    ],
)
def test_a_family_of_the_table_keeps_every_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = tiny(name)
    if name == "roberta":  # counts positions from behind the padding token, which a text may hold
        family = Tiny(replace(family.family, reference=with_places))
    monkeypatch.setitem(FAMILIES, family.family.name, family.family)
    trial = tried(FAMILY_LAWS, family)
    assert trial.findings == ()


@pytest.mark.slow
def test_a_family_whose_forwards_condition_the_next_keeps_padding_apart_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family, load = tiny("diffusion_gemma"), Tiny.load
    monkeypatch.setitem(FAMILIES, family.family.name, family.family)

    def precise(tiny: Tiny, attention: str) -> Loaded:
        loaded = load(tiny, attention)
        net: Any = getattr(loaded.model, "model")  # noqa: B009  # a `Model` need not have one
        net.double().set_experts_implementation("eager")  # the others have no float64
        return loaded

    monkeypatch.setattr(Tiny, "load", precise)
    by_name["padding"](family)


def with_places(config: Any, weights: Any, tokens: Tensor) -> Tensor:
    from transformers import RobertaConfig, RobertaForMaskedLM

    model = RobertaForMaskedLM(RobertaConfig(**config)).eval()
    model.load_state_dict(weights, strict=False)
    place = torch.arange(len(tokens))[None] + 2
    logits: Tensor = model(input_ids=tokens[None], position_ids=place).logits[0]
    return logits


LLAMA = {
    "vocab_size": 112, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
MINE = Family("mine", ("mine",), ("MineModel",), "LlamaForCausalLM", sample=LLAMA)


def forgetful(config: Any, known: Any) -> dict[str, Any]:
    """Leaves out the rotary base, which then is Llama's."""
    return {key: config[key] for key in LLAMA} | {"rms_norm_eps": config.get("rms_norm_eps", 1e-6)}


def of_llama(causal: bool = False) -> Any:
    """A forward of Llama's, with the rotary base of config.json, where everything sees everything or, with
    `causal=True`, what is left of it."""

    def reference(config: Any, weights: Any, tokens: Tensor) -> Tensor:
        from transformers import LlamaConfig, LlamaForCausalLM

        rope = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
        model = LlamaForCausalLM(LlamaConfig(**{k: config[k] for k in LLAMA}, rope_parameters=rope)).eval()
        model.load_state_dict(weights)
        n = len(tokens)
        sees = torch.ones(n, n, dtype=torch.bool)
        bias = torch.zeros(n, n).masked_fill(~(sees.tril() if causal else sees), torch.finfo(torch.float32).min)
        logits: Tensor = model(input_ids=tokens[None], attention_mask=bias[None, None]).logits[0]
        return logits

    return reference


class Spoilt:
    """A model whose sessions are asked something else than they are told."""

    def __init__(self, model: Any, spoil: Callable[[SessionSpec, Forward], Forward], **how: Any) -> None:
        self.inner, self.spoil = TransformersModel(model, **how), spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def session(self, spec: SessionSpec) -> Session:
        run = self.inner.session(spec)
        return lambda f: run(self.spoil(spec, f))


def spoilt(spoil: Callable[[SessionSpec, Forward], Forward], **how: Any) -> Family:
    """A family of Llama's layers whose adapter spoils every forward."""
    adapter = lambda model, mask, stops: Spoilt(model, spoil, mask_id=mask, stop_ids=stops, **how)
    attentions = ("block",) if how.get("block_causal") else ("bidirectional",)
    return replace(MINE, name="spoilt", types=("spoilt",), attentions=attentions, block=4, adapter=adapter)


def sees_padding(spec: SessionSpec, f: Forward) -> Forward:
    """Every row sees as far as the longest one."""
    return replace(f, until=f.until.amax().expand_as(f.until))


def sees_too_little(spec: SessionSpec, f: Forward) -> Forward:
    """The second token is another one."""
    return replace(f, tokens=f.tokens.index_fill(1, torch.tensor([1]), 0))


def stores_too_little(spec: SessionSpec, f: Forward) -> Forward:
    """Where something is stored, what is left of the window is never computed."""
    return f if spec.whole else replace(f, compute=f.compute & (torch.arange(f.tokens.shape[1]) >= f.at[:, :1]))


SWAPPED = {r"layers\.(\d+)\.self_attn\.q_proj": r"layers.\1.self_attn.k_proj"}
CONTROLS = {
    "its architecture is another family's": (replace(MINE, types=("llada",), architectures=("LLaDAModelLM",)), "known"),
    "its name is another family's": (replace(MINE, name="llada"), "known"),
    "its settings raise": (replace(MINE, settings=lambda config, known: config["nothing"]), "configured"),
    "its class is none": (replace(MINE, native="LlamaForEverything"), "configured"),
    "its vocabulary is too small": (replace(MINE, sample=LLAMA | {"vocab_size": 50}), "configured"),
    "two weights get one name": (replace(MINE, renames=SWAPPED), "round_trip"),
    "a rename makes no name": (replace(MINE, renames={r"^head\.": "lmhead."}), "round_trip"),
    "its settings forget a number": (
        replace(MINE, settings=forgetful, sample=LLAMA | {"rope_theta": 500.0}, reference=of_llama()), "plain"
    ),
    "its makers' code is causal": (replace(MINE, reference=of_llama(causal=True)), "plain"),
    "it sees padding": (spoilt(sees_padding), "padding"),
    "it does not see a token": (spoilt(sees_too_little), "sees"),
    "it forgets what it stored": (spoilt(stores_too_little, block_causal=True), "stores"),
    "it forgets what it stores anew": (spoilt(stores_too_little), "stores"),
}


@pytest.mark.parametrize("what", CONTROLS)
def test_the_law_that_is_meant_for_it_catches_a_bad_family(what: str) -> None:
    family, law = CONTROLS[what]
    (verdict,) = tried([by_name[law]], Tiny(family)).verdicts
    assert not verdict.passed


def test_every_law_has_a_control() -> None:
    assert {law for _, law in CONTROLS.values()} == set(by_name)


def test_the_control_of_the_controls_keeps_all() -> None:
    check_family(MINE)
    check_family(replace(MINE, reference=of_llama(), sample=LLAMA | {"rope_theta": 500.0}))
    check_family(replace(MINE, attentions=("block",), block=4))


def test_what_broke_is_told_with_the_line_of_the_family() -> None:
    (finding,) = tried(FAMILY_LAWS, Tiny(OFF)).findings
    assert finding.startswith("plain: bidirectional: prediction ")
    assert "is not that of the reference, output " in finding
    assert f"test_family_laws.py:{line_of('OFF = Family(')}, in OFF" in finding
    (finding,) = tried(FAMILY_LAWS, Tiny(RAISES)).findings
    assert f"test_family_laws.py:{line_of('# here')}, in needs" in finding
    assert finding.startswith("configured and 5 others: KeyError: 'rotary_base'")
    (finding,) = tried(FAMILY_FAST, Tiny(TWICE)).findings
    assert finding.startswith("round_trip: ")
    assert f"test_family_laws.py:{line_of('renames=SWAPPED,')}, in TWICE: renames=" in finding


def line_of(text: str) -> int:
    """Where a text begins a line of this file for the first time, but for its indentation."""
    lines = enumerate(Path(__file__).read_text().splitlines(), 1)
    return next(i for i, line in lines if line.strip().startswith(text) or line.endswith(text))


def needs(config: Any, known: Any) -> dict[str, Any]:
    return {"hidden_size": config["rotary_base"]}  # here


OFF = Family("off", ("off",), ("OffModel",), "LlamaForCausalLM", sample=LLAMA, reference=of_llama(causal=True))
RAISES = Family("raises", ("raises",), ("RaisesModel",), "LlamaForCausalLM", settings=needs, sample=LLAMA)
TWICE = Family(
    "twice", ("twice",), ("TwiceModel",), "LlamaForCausalLM", sample=LLAMA,
    renames=SWAPPED,
)


@pytest.mark.parametrize(
    ("pattern", "replacement", "name", "stored"),
    [
        (r"^encoder\.", "model.", "model.norm.weight", "encoder.norm.weight"),
        (r"blocks\.(\d+)\.q\.", r"layers.\1.q_proj.", "layers.12.q_proj.bias", "blocks.12.q.bias"),
        (r"^head\.weight$", "lm_head.weight", "lm_head.weight", "head.weight"),
        (r"^head\.weight$", "lm_head.weight", "lm_head.weight_scale", "lm_head.weight_scale"),
    ],
)
def test_a_rename_is_turned_round(pattern: str, replacement: str, name: str, stored: str) -> None:
    assert renamed(name, [backwards(pattern, replacement)]) == stored


@pytest.mark.parametrize(
    ("pattern", "replacement"), [(r"a.b", "c"), (r"(a)(b)", r"\1"), (r"(\d+)", "x"), (r"\d", "x"), (r"a|b", "c")]
)
def test_a_rename_that_loses_something_is_refused(pattern: str, replacement: str) -> None:
    with pytest.raises(UsageError, match="cannot be turned round"):
        backwards(pattern, replacement)


def test_a_family_without_a_sample_is_told_what_it_lacks() -> None:
    with pytest.raises(UsageError, match=r"the family llada has no sample: give it sample=\{"):
        check_family("llada")
