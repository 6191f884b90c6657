"""Autoregressive models of transformers: the same tokens as its own greedy search, from any decoder, and Jacobi
iterations that take fewer forwards."""

from __future__ import annotations

import json
import re

import pytest
import torch

import decoders
from decoders import Generator, UsageError, get
from decoders.core import Blocks, decode, is_causal
from decoders.models.loaded import Loaded
from decoders.models.source import load_model
from support.checkpoints import EOS, EXTRA, SIZES, VOCAB, write
from support.commands import call
from support.marks import turns

NAMES = ("llama", "qwen2", "qwen3", "causal", "idlm")
PROMPTS = [[3, 7, 30, 41, 5], [60, 61, 62, 2, 11, 12, 13, 9, 8, 1, 0], [4]]
LENGTH = 24


@pytest.fixture(scope="module", params=NAMES)
def pair(request, tmp_path_factory):
    """A model of transformers in float64, and its checkpoint as it is loaded here."""
    place = tmp_path_factory.mktemp("causal") / request.param
    original = write(place, request.param, shards=1 + 2 * (request.param == "qwen3"))
    loaded = load_model(str(place))
    loaded.model.model.double()
    return original.double(), loaded


def test_what_a_causal_model_is(pair):
    _, loaded = pair
    m = loaded.model
    assert isinstance(loaded, Loaded)
    assert (is_causal(m), m.shifted, loaded.block) == (True, True, 1)
    assert not {"candidates", "sight", "leave_one_out"} & m.capabilities


def made(loaded, spec, **how):
    rows = decode(loaded.model, get(spec), PROMPTS, length=LENGTH, stop=False, seeds=[1, 2, 3], **how)
    return [r.tokens for r in rows], rows


@pytest.fixture(scope="module")
def greedy(pair):
    """What transformers' own greedy search makes of each prompt."""
    return [
        pair[0].generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=LENGTH, eos_token_id=None, pad_token_id=0,
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        )[0, len(prompt) :].tolist()
        for prompt in PROMPTS
    ]


SPECS = ["left_to_right", "coupled", "coupled:ahead=5", "threshold:tau=0.5", "llada", "dream"]


@pytest.mark.parametrize(("spec", "cache"), turns(SPECS, ["exact", "none", "block"]))
def test_every_decoder_is_the_greedy_search_of_transformers(pair, greedy, spec, cache):
    tokens, rows = made(pair[1], spec, cache=decoders.get_cache(cache))
    for found, expected, row in zip(tokens, greedy, rows, strict=True):
        assert list(found) == expected
        assert row.nfe <= LENGTH


def test_the_store_is_exact_and_the_prefix_is_computed_once(pair):
    _, loaded = pair
    _, rows = made(loaded, "left_to_right")
    assert [r.positions_computed for r in rows] == [len(p) + LENGTH - 1 for p in PROMPTS]


def test_a_jacobi_iteration_takes_fewer_forwards(pair):
    _, loaded = pair
    for spec in ("coupled", "coupled:temperature=1.0", "coupled:temperature=0.7,top_k=5"):
        plain = spec.replace("coupled", "left_to_right") + (",race=true" if ":" in spec else "")
        (drafted, rows), (alone, others) = made(loaded, spec), made(loaded, plain)
        assert drafted == alone
        assert sum(r.nfe for r in rows) < sum(r.nfe for r in others) == LENGTH * len(PROMPTS)
        assert {row.forwards[0] for row in rows} == {0}  # none of them drafts


def test_windows_of_several_positions_are_for_decoders_that_look_left_alone(pair):
    _, loaded = pair
    windows = Blocks(8, within=1)
    assert made(loaded, "left_to_right", windows=windows)[0] == made(loaded, "left_to_right")[0]
    with pytest.raises(UsageError, match="Threshold reads its whole window, and this model is causal"):
        made(loaded, "threshold", windows=windows)
    with pytest.raises(UsageError, match=r"EOSStop reads its whole window"):
        made(loaded, "eos_stop:base=threshold", windows=windows)


@pytest.mark.parametrize("spec", ["ancestral", "s2d2", "wino"])
def test_a_decoder_of_masks_is_refused(pair, spec):
    _, loaded = pair
    if loaded.model.mask_id is not None:
        pytest.skip("this one has a mask token")
    with pytest.raises(UsageError, match="needs a model with a mask token"):
        made(loaded, spec)


def test_a_constraint_holds(tmp_path):
    pytest.importorskip("outlines_core")
    write(tmp_path / "c", "llama")
    for spec in ("left_to_right", "coupled"):
        g = Generator(str(tmp_path / "c"), spec)("ab", length=12, constraint="regex:[0-9]{3}-[a-f]{4}")
        assert re.fullmatch("[0-9]{3}-[a-f]{4}", g[0].text), (spec, g[0].text)


def test_one_who_holds_the_model_wraps_it(pair):
    original, loaded = pair
    held = decoders.wrap(original, loaded.tokenizer.fast, attention="causal")
    assert is_causal(held.model)
    assert made(held, "left_to_right")[0] == made(loaded, "left_to_right")[0]
    assert not is_causal(decoders.wrap(original, loaded.tokenizer.fast, mask_id=5).model)


def test_the_likelihood_is_exact(pair):
    from decoders.likelihood import likelihoods

    original, loaded = pair
    given, answer = PROMPTS[0], PROMPTS[1]
    with torch.inference_mode():
        log_p = original(input_ids=torch.tensor([given + answer])).logits[0].log_softmax(-1)
    expected = sum(float(log_p[len(given) + i - 1, t]) for i, t in enumerate(answer))
    (found,) = likelihoods(loaded.model, [(given, answer)])
    assert found.nats == pytest.approx(expected, abs=1e-9)
    assert found.error == 0


def refused(tmp_path, message, name="llama", **changes):
    write(tmp_path / "c", name, **changes)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "sliding"),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rotary embedding 'dynamic'"),
        ("llama", {"mask_token_id": 5}, "LlamaForCausalLM is none that is known"),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, "none that is known"),
        ("llama", {"model_type": "llama2"}, "none that is known"),
        ("llama", {"architectures": ["GalaxyForCausalLM"]}, "none that is known"),
    ],
)
def test_what_is_not_known_to_be_causal_is_refused(tmp_path, name, changes, message):
    refused(tmp_path, message, name, **changes)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        ("GraniteForCausalLM", {"logits_scaling": 4.0}, "gives other logits"),
        ("MistralForCausalLM", {"sliding_window": 8}, "sliding window of 8"),
        ("BloomForCausalLM", {}, "another kind of network"),
        ("MambaForCausalLM", {"state_size": 4}, "it has linear_attention"),
    ],
)
def test_a_network_that_does_otherwise_is_refused(tmp_path, cls, settings, message):
    """Scaled logits, windows, linear biases and recurrence, each in its own class."""
    import transformers

    made = getattr(transformers, cls)
    write(tmp_path / "c", "llama")
    sizes = SIZES if "Bloom" not in cls and "Mamba" not in cls else {"hidden_size": 32, "num_hidden_layers": 2}
    if cls == "BloomForCausalLM":
        sizes |= {"n_head": 4}
    ids = {"eos_token_id": EOS, "bos_token_id": EXTRA, "pad_token_id": EOS}
    config = made.config_class(vocab_size=VOCAB, **sizes, **settings, **ids)
    made(config).save_pretrained(tmp_path / "m")
    for file in ("config.json", "model.safetensors"):
        (tmp_path / "m" / file).replace(tmp_path / "c" / file)
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "c"))
    assert "\n" not in str(e.value)


def test_the_command_line(tmp_path):
    write(tmp_path / "c", "llama")
    done = call("info", "-m", tmp_path / "c", "--json")
    assert json.loads(done.stdout)["attention"] == "causal"
    done = call("info", "-m", tmp_path / "c")
    assert "autoregressive" in done.stdout
    assert "noise" not in done.stdout
    done = call("generate", "-m", tmp_path / "c", "-n", "8", "--block", "4", "ab")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "left_to_right" in done.stderr
    row = next(f for f in json.loads(call("models", "--json").stdout) if f["family"] == "causal_lm")
    assert (row["decoder"], row["block"]) == ("left_to_right", 1)
