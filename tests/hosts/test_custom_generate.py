"""`model.generate(..., custom_generate=decoders.generate)` of transformers."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from threading import Thread

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    TextIteratorStreamer,
)

import decoders
from decoders import Blocks, Generator, Suppress, UsageError, decode
from decoders.errors import OldSpelling
from decoders.models.adapter import TransformersModel
from decoders.models.scatter import store_argument
from decoders.models.source import load_model
from support.checkpoints import MASK as MASK_OF_TINY
from support.checkpoints import write
from support.hosted import EOS, KINDS, MASK, PAD, PROMPTS, SIZES, SPECIAL, At, Recorder, batch, characters, run, tiny
from support.marks import turns


@pytest.fixture(scope="module")
def model():
    return tiny()


def direct(model, prompts=PROMPTS, spec="threshold", cache="exact", block=None, seeds=None, rules=(), length=16, **how):
    """The same by `decode`, without transformers' generate: what follows each prompt, with its stop token."""
    how = {"mask_id": MASK, "stop_ids": (EOS,), **how}
    rows = decode(
        TransformersModel(model, **how), decoders.get(spec), prompts, length=length, windows=block and Blocks(block),
        cache=decoders.get_cache(cache), rules=[Suppress((MASK,)), *rules], seeds=seeds,
    )
    return [list(r.canvas[len(p) :][: len(r.tokens) + 1]) for r, p in zip(rows, prompts, strict=True)], rows


def check(out, expected, prompts=PROMPTS):
    """Each prompt as it was given, what was generated, padding."""
    given = batch(prompts)["input_ids"]
    longest = max(map(len, expected))
    assert out.tolist() == [g + e + [PAD] * (longest - len(e)) for g, e in zip(given.tolist(), expected, strict=True)]


@pytest.mark.parametrize(
    ("spec", "kind", "cache"),
    turns(
        ["threshold:tau=0.7", "llada:steps=4", "dream:by=origin,temperature=0.7", "left_to_right"], KINDS,
        ["exact", "none"],
    ),
)
def test_it_is_what_decode_gives(spec, kind, cache):
    model = tiny(kind)
    expected, rows = direct(model, spec=spec, cache=cache, block=8, seeds=[5] * 3)
    out = run(model, decoder=spec, kv_policy=cache, block=8, seed=5, return_dict_in_generate=True)
    check(out.sequences, expected)
    assert out.nfe.tolist() == [r.nfe for r in rows]
    assert out.finish_reason == tuple(r.finish_reason for r in rows)
    assert out.generated_tokens.tolist() == [len(r.tokens) for r in rows]
    assert out.positions_computed.tolist() == [r.positions_computed for r in rows]
    assert (out[0] == out["sequences"]).all()


def test_shift_blocks_guidance_rules_and_objects(model):
    check(run(model, shifted=True), direct(model, shifted=True)[0])
    check(run(model, attention="block", block=4), direct(model, block_causal=True, block=4)[0])
    check(run(model, rules=[Suppress((5, 6))]), direct(model, rules=[Suppress((5, 6))])[0])
    check(run(model, decoder=decoders.get("threshold"), kv_policy=decoders.get_cache("none")), direct(model)[0])
    assert run(model, guidance=1.5).tolist() != run(model).tolist()
    assert run(model, decoder="llada:steps=16", max_steps=2, return_dict_in_generate=True).nfe.tolist() == [2] * 3


def test_a_preset_brings_its_cache(model):
    preset = run(model, decoder="fast-dllm:tau=0.7", block=8, return_dict_in_generate=True)
    pair = run(model, decoder="threshold:tau=0.7", kv_policy="dual", block=8, return_dict_in_generate=True)
    assert (preset.sequences == pair.sequences).all()
    assert preset.positions_reused.tolist() == pair.positions_reused.tolist() != [0] * 3
    assert (
        run(
            model, decoder="fast-dllm", block=8, use_cache=False, return_dict_in_generate=True
        ).positions_reused.tolist()
        == [0] * 3
    )


@pytest.mark.parametrize("side", ["left", "right", "middle"])
def test_a_row_is_in_a_batch_what_it_is_alone(model, side):
    ids, mask = batch().values()
    if side == "right":
        ids, mask = (torch.stack([x.roll(len(p)) for x, p in zip(t, PROMPTS, strict=True)]) for t in (ids, mask))
    if side == "middle":
        ids, mask = (t[:, [1, 0, 2, 3, 4]] for t in (ids, mask))
        ids[0] = torch.tensor(PROMPTS[0])
    together = model.generate(
        ids, attention_mask=mask, custom_generate=decoders.generate, mask_id=MASK, max_new_tokens=16, seed=1
    )
    for row, prompt in zip(together, PROMPTS, strict=True):
        alone = model.generate(
            torch.tensor([prompt]), custom_generate=decoders.generate, mask_id=MASK, max_new_tokens=16, seed=1
        )[0]
        new = alone[len(prompt) :]
        assert row[5 : 5 + len(new)].tolist() == new.tolist()
        assert set(row[5 + len(new) :].tolist()) <= {PAD}


def test_a_stop_token_ends_a_row_and_stays(model):
    whole = direct(model, spec="left_to_right", stop_ids=())[0]
    stop = whole[1][3]
    expected = [w[: w.index(stop) + 1] if stop in w else w for w in whole]
    out = run(model, decoder="left_to_right", eos_token_id=[stop, 63], return_dict_in_generate=True)
    check(out.sequences, expected)
    assert out.finish_reason[1] == "stop"
    assert out.generated_tokens[1] == 3 or stop in whole[1][:3]
    only = run(model, PROMPTS[1:2], decoder="left_to_right", eos_token_id=stop, pad_token_id=None)
    assert only.tolist() == [PROMPTS[1] + expected[1]]


def test_lengths(model):
    assert run(model, max_new_tokens=4).shape == (3, 9)
    assert run(model, max_new_tokens=None, max_length=9).shape == (3, 9)
    config = deepcopy(model.generation_config)
    config.max_new_tokens = 6
    out = model.generate(
        **batch(), custom_generate=decoders.generate, mask_id=MASK, generation_config=config, eos_token_id=63
    )
    assert out.shape == (3, 11)


def test_no_mask_and_no_batch(model):
    ids = torch.tensor(PROMPTS[:1])
    out = model.generate(ids, custom_generate=decoders.generate, mask_id=MASK, max_new_tokens=16, use_cache=False)
    check(out, direct(model, PROMPTS[:1], cache="none")[0], PROMPTS[:1])


def test_sampling_is_the_decoders(model):
    asked = {"do_sample": True, "temperature": 0.8, "top_k": 9, "top_p": 0.9, "seed": 3}
    check(
        run(model, decoder="dream:by=entropy", **asked),
        direct(model, spec="dream:by=entropy,temperature=0.8,top_k=9,top_p=0.9", seeds=[3] * 3)[0],
    )
    check(
        run(model, decoder="dream:top_k=2", **asked),
        direct(model, spec="dream:temperature=0.8,top_k=2,top_p=0.9", seeds=[3] * 3)[0],
    )
    made = decoders.get("dream", top_k=2)
    check(
        run(model, decoder=made, **asked),
        direct(model, spec="dream:temperature=0.8,top_k=2,top_p=0.9", seeds=[3] * 3)[0],
    )
    plain = {**asked, "top_k": 0, "top_p": 1.0}
    check(run(model, decoder="threshold", **plain), direct(model, spec="threshold:temperature=0.8", seeds=[3] * 3)[0])


def test_a_nucleus_for_decoders_without_one(model):
    """A decoder that has the options and one that has a nucleus around it draw the same tokens."""
    nucleus = "nucleus:base=({}:temperature=0.8),top_k=5,top_p=0.7"
    own = direct(model, spec="left_to_right:temperature=0.8,top_k=5,top_p=0.7", seeds=[3] * 3)[0]
    assert direct(model, spec=nucleus.format("left_to_right"), seeds=[3] * 3)[0] == own
    out = run(model, decoder="threshold", do_sample=True, temperature=0.8, top_k=5, top_p=0.7, seed=3)
    check(out, direct(model, spec=nucleus.format("threshold"), seeds=[3] * 3)[0])


@pytest.mark.parametrize("more", [{}, {"top_k": 7}, {"top_k": 7, "top_p": 0.9}])
def test_the_least_probability_is_honoured(model, more):
    out = run(
        model, decoder="ancestral", do_sample=True, top_k=more.get("top_k", 0), top_p=more.get("top_p"), min_p=0.3,
        seed=3,
    )
    cut = "".join(f",{k}={v}" for k, v in more.items())
    check(out, direct(model, spec=f"nucleus:base=(ancestral:temperature=1.0){cut},min_p=0.3", seeds=[3] * 3)[0])


@pytest.mark.parametrize(
    "how", [{"typical_p": 0.3}, {"epsilon_cutoff": 0.02}, {"eta_cutoff": 0.9}, {"typical_p": 0.3, "top_k": 5}]
)
def test_warpers_of_transformers_cut_as_they_do_there(model, how):
    """One position of one row is the whole text: what can be drawn is what transformers' own processors leave."""
    prompt = [PROMPTS[0]]
    seen = []
    run(model, prompt, max_new_tokens=1, rules=[lambda s, p: seen.append(p.rows) or p])
    scores = seen[0] / 5
    how = {"top_k": 0, "top_p": None, **how}
    for warper in processors_of(model, temperature=5.0, **how):
        scores = warper(None, scores) if "Temperature" not in type(warper).__name__ else scores
    allowed = set(scores.isfinite().nonzero()[:, 1].tolist())
    assert 1 < len(allowed) < 40
    drawn = {
        run(model, prompt, decoder="llada:steps=1", do_sample=True, temperature=5.0, max_new_tokens=1, seed=s, **how)[
            0, -1
        ].item()
        for s in range(60)
    }
    assert drawn <= allowed
    assert len(drawn) > 1


def processors_of(model, **how):
    from transformers import GenerationConfig

    return model._get_logits_processor(GenerationConfig(do_sample=True, **how), input_ids_seq_length=5, device="cpu")


def test_single_bad_words_and_biases_are_honoured(model):
    seen = sorted({t for r in direct(model)[0] for t in r if t != EOS})
    out = run(model, bad_words_ids=[[t] for t in seen[:3]])
    assert not set(out[:, 5:].flatten().tolist()) & set(seen[:3])
    check(out, direct(model, rules=[Suppress(tuple(seen[:3]))])[0])
    out = run(model, sequence_bias={(seen[0],): -1e9, (7,): 1e9}, eos_token_id=None)
    assert set(out[:, 5:].flatten().tolist()) == {7}
    assert run(model, renormalize_logits=True).tolist() == run(model).tolist()


def test_a_text_can_be_kept_from_ending_early(model):
    how = {"decoder": "ancestral", "do_sample": True, "temperature": 3.0, "max_new_tokens": 12}

    def ends(seed, **more):
        """Whether a text ends within four tokens, and whether one does later."""
        out = run(model, **how, seed=seed, **more)
        return EOS in out[:, 5:9], EOS in out[:, 9:]

    seed = next(s for s in range(80) if ends(s)[0] and ends(s, min_new_tokens=4)[1])
    how["seed"] = seed
    out = run(model, **how, min_new_tokens=4)
    assert EOS not in out[:, 5:9]
    assert EOS in out[:, 9:]
    assert run(model, **how, min_length=9).tolist() == out.tolist()
    first = run(model)[0, 5].item()
    assert run(model, begin_suppress_tokens=[first])[0, 5].item() != first


def test_what_is_suppressed_is_not_generated(model):
    seen = sorted({t for r in direct(model)[0] for t in r})
    out = run(model, suppress_tokens=seen[:3])
    assert not set(out[:, 5:].flatten().tolist()) & set(seen[:3])
    assert MASK not in out[:, 5:]


def test_seeds(model):
    sample = {"decoder": "left_to_right:temperature=1.0", "prompts": [PROMPTS[1]] * 3, "eos_token_id": None}
    a, b, c = run(model, seed=[1, 2, 1], **sample)
    assert a.tolist() == c.tolist() != b.tolist()
    torch.manual_seed(0)
    drawn = run(model, **sample)
    assert len({tuple(r.tolist()) for r in drawn}) == 3
    torch.manual_seed(0)
    assert run(model, **sample).tolist() == drawn.tolist()
    copies = run(
        model, PROMPTS[:2], decoder="left_to_right", do_sample=True, temperature=1.0, top_k=0, num_return_sequences=2,
        seed=1,
    )
    assert len(copies) == 4
    assert copies[0].tolist() != copies[1].tolist()
    first = run(model, PROMPTS[:1], decoder="left_to_right:temperature=1.0", seed=2)[0]
    assert copies[1].tolist()[: len(first)] == first.tolist()


def test_nano_needs_no_words():
    nano = load_model("nano")
    tokens = [nano.tokenizer.encode(p) for p in ("Sort: c a b", "Copy: a")]
    made = Generator(nano, "threshold", cache="none")(["Sort: c a b", "Copy: a"], length=24)
    out = nano.model.model.generate(
        **batch(tokens), custom_generate=decoders.generate, kv_policy="none", max_new_tokens=24
    )
    width = max(map(len, tokens))
    for row, m in zip(out, made, strict=True):
        assert row[width : width + len(m.tokens)].tolist() == list(m.tokens)
        assert row[width + len(m.tokens)].item() in nano.model.stop_ids


class Words:
    """A tokenizer for streamers: a token is its number."""

    def decode(self, tokens, **_):
        return "".join(f"{t} " for t in tokens)


@pytest.mark.parametrize("spec", ["left_to_right", "llada:steps=16", "threshold"])
def test_a_streamer_gets_the_tokens_as_they_settle(model, spec):
    prompt = PROMPTS[:1]
    streamer = TextIteratorStreamer(Words(), skip_prompt=True, timeout=30)
    worker = Thread(target=run, args=(model, prompt), kwargs={"decoder": spec, "streamer": streamer, "seed": 1})
    worker.start()
    text = "".join(streamer)
    worker.join()
    assert [int(t) for t in text.split()] == run(model, prompt, decoder=spec, seed=1)[0, 5:].tolist()


def test_a_streamer_hears_the_prompt_every_token_once_and_the_end(model):
    streamer = Recorder()
    out = run(model, PROMPTS[:1], decoder="left_to_right", streamer=streamer)
    prompt, *tokens, end = streamer.heard
    assert (prompt, end) == (PROMPTS[:1], "end")
    assert [t for part in tokens for t in part] == out[0, 5:].tolist()
    assert len(tokens) == out.shape[1] - 5  # one by one, as they are decoded


@pytest.mark.parametrize("spec", ["left_to_right", "llada:steps=16", "threshold"])
def test_criteria_stop_a_row_where_they_would_have_stopped_it(model, spec):
    whole = direct(model, spec=spec)[0]
    token = whole[0][6]
    expected = [w[: w.index(token) + 1] if token in w else w for w in whole]
    out = run(model, decoder=spec, stopping_criteria=[At(token)], return_dict_in_generate=True)
    check(out.sequences, expected)
    assert out.finish_reason[0] == "stop"
    streamer = Recorder()
    run(model, PROMPTS[:1], decoder=spec, stopping_criteria=[At(token)], streamer=streamer)
    assert [t for part in streamer.heard[1:-1] for t in part] == expected[0]


@pytest.mark.parametrize("spec", ["threshold:tau=0.3", "left_to_right"])
def test_stop_strings_are_those_of_transformers(spec, model):
    """As transformers has it, the text ends with the stop string; each row by itself."""
    tokenizer = characters()
    whole, _ = direct(model, spec=spec, stop_ids=())
    letter = chr(whole[0][5] + 59)
    out = run(
        model, decoder=spec, stop_strings=[letter], tokenizer=tokenizer, eos_token_id=None,
        return_dict_in_generate=True,
    )
    cut = [row[: row.index(whole[0][5]) + 1] if whole[0][5] in row else row for row in whole]
    check(out.sequences, cut)
    assert [r == "stop" for r in out.finish_reason] == [whole[0][5] in row for row in whole]
    two = chr(whole[0][3] + 59) + chr(whole[0][4] + 59)
    out = run(model, PROMPTS[:1], decoder=spec, stop_strings=[two], tokenizer=tokenizer, eos_token_id=None)
    assert len(out[0]) <= 5 + 5
    with pytest.raises(ValueError, match="you must pass the model's tokenizer"):
        run(model, stop_strings=["c"])


def test_texts_among_the_options_of_a_decoder_are_token_ids(model):
    """`hybrid` ends its reasoning at a text, which the tokenizer says the ids of; without one there is nothing to
    compare."""
    spec = "hybrid:boundary=B,answer=(left_to_right)"
    asked = run(model, decoder=spec, tokenizer=characters())
    assert asked.tolist() == run(model, decoder=spec.replace("=B", f"={ord('B') - 59}")).tolist()


def test_ids_without_text_are_never_generated(model):
    """Of 64 rows of the head the tokenizer knows 20."""
    asked = {
        "decoder": "ancestral", "do_sample": True, "temperature": 4.0, "seed": 1, "eos_token_id": None,
        "max_new_tokens": 40,
    }
    assert run(model, **asked)[:, 5:].max() >= 20
    assert run(model, tokenizer=characters(20), **asked)[:, 5:].max() < 20


def test_the_tokenizer_of_a_checkpoint_is_found_where_it_was_loaded(tmp_path):
    loaded = write(tmp_path / "c", "dream")
    loaded.name_or_path = str(tmp_path / "c")
    known = set(characters_of(tmp_path / "c"))
    asked = {
        "do_sample": True, "temperature": 9.0, "seed": 1, "eos_token_id": None, "max_new_tokens": 60,
        "decoder": "ancestral",
    }
    assert not set(run(loaded, shifted=True, mask_id=MASK_OF_TINY, **asked)[:, 5:].flatten().tolist()) - known
    loaded.name_or_path = ""
    assert set(run(loaded, shifted=True, mask_id=MASK_OF_TINY, **asked)[:, 5:].flatten().tolist()) - known


def characters_of(directory):
    from decoders.models.tokenizer import tokenizer_in

    return tokenizer_in(directory).core.get_vocab().values()


def test_a_tokenizer_that_disagrees_about_the_mask_is_refused():
    nano = load_model("nano")
    other = characters(mask_token="B")
    with pytest.raises(UsageError, match="the model's mask token is 1 and the tokenizer's 7"):
        run(nano.model.model, mask_id=None, tokenizer=other)
    run(nano.model.model, mask_id=1, tokenizer=other, max_new_tokens=2)


def test_a_model_that_says_nothing_is_an_error():
    broken = tiny()
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    for spec in ("threshold", "left_to_right", "ancestral"):
        with pytest.raises(
            UsageError, match=r"row 0: the logits of the model are not finite .NaN or infinity. in forward 1"
        ):
            run(broken, decoder=spec)


def test_the_model_comes_back_as_it_was(model):
    model.train()
    model.lm_head.eval()
    before = {name: m.training for name, m in model.named_modules()}
    try:
        check(run(model), direct(tiny())[0])
        assert {name: m.training for name, m in model.named_modules()} == before
    finally:
        model.eval()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"num_beams": 2}, "beam search cannot be honoured"),
        ({"assistant_model": "itself"}, "assisted generation cannot be honoured"),
        ({"prompt_lookup_num_tokens": 3}, "assisted generation cannot be honoured"),
        ({"synced_gpus": True}, "synced_gpus"),
        ({"repetition_penalty": 1.2}, "RepetitionPenaltyLogitsProcessor cannot be honoured"),
        (
            {"bad_words_ids": [[4], [5, 6]]},
            "NoBadWordsLogitsProcessor cannot be honoured: of more than one token, it reads the text",
        ),
        ({"remove_invalid_values": True}, "logits that are not finite are an error here"),
        ({"guidance_scale": 2.0}, "use guidance=..."),
        ({"exponential_decay_length_penalty": (3, 1.1)}, "it is unknown, and may be one that reads the text"),
        ({"eos_token_id": MASK}, "the id 3 is that of the mask token and of one that ends a text"),
        ({"no_repeat_ngram_size": 2}, "NoRepeatNGramLogitsProcessor"),
        ({"prefix_allowed_tokens_fn": lambda b, s: [4]}, "PrefixConstrainedLogitsProcessor"),
        ({"return_dict_in_generate": True, "output_scores": True}, "output_scores"),
        ({"return_dict_in_generate": True, "output_hidden_states": True}, "output_hidden_states"),
        ({"position_ids": torch.tensor([[3, 4, 5, 6, 7]] * 3)}, "position_ids"),
        ({"inputs_embeds": torch.zeros(3, 5, 32).double()}, "inputs_embeds"),
        ({"attention_mask": torch.tensor([[1] * 5, [1] * 5, [0] * 5])}, "row 2 is padding only"),
        ({"streamer": Recorder()}, "a streamer shows one row"),
        ({"mask_id": None}, "no known diffusion family: give mask_id="),
        ({"mask_id": 64}, "mask_id must be the id of one of 64 tokens"),
        ({"attention": "none"}, "knows the attention bidirectional or block"),
        ({"decoder": "treshold"}, "did you mean 'threshold'"),
        ({"kv_policy": "exactly"}, "did you mean 'exact'"),
        ({"decoder": "llada:steps=5", "block": 4}, "5 steps cannot be split"),
        ({"seed": [1]}, "3 prompts need 3 seeds, not 1"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"pad_token_id": None, "eos_token_id": None, "stopping_criteria": ["one"]}, "pad_token_id is needed"),
    ],
)
def test_what_cannot_be_honoured_is_one_clear_line(model, how, message):
    if "assistant_model" in how:
        how = {"assistant_model": model, "prompts": PROMPTS[:1]}
    if how.get("stopping_criteria") == ["one"]:
        how = {**how, "stopping_criteria": [At(direct(model, stop_ids=())[0][0][2])]}
        model = tiny(pad_token_id=None, eos_token_id=None)
    with pytest.raises(UsageError, match=message) as e:
        run(model, **how)
    assert "\n" not in str(e.value)


def test_a_decoder_without_a_temperature_does_not_sample(model):
    @dataclass(frozen=True)
    class All(decoders.Decoder):
        def step(self, s, p):
            return s.commit(s.open, *p.best())

    with pytest.raises(UsageError, match="All has no option temperature"):
        run(model, decoder=All(), do_sample=True)
    assert run(model, decoder=All(), return_dict_in_generate=True).nfe.tolist() == [1, 1, 1]


def test_keys_and_values_from_elsewhere_are_refused(model):
    name = store_argument(model)
    past = getattr(model(torch.tensor([[5]]), use_cache=True), name)
    with pytest.raises(UsageError, match=f"{name} cannot be honoured"):
        run(model, PROMPTS[:1], **{name: past})


def test_the_policy_has_an_old_name(model):
    """Which transformers took for the store of keys and values, as of 5.24."""
    with pytest.warns(OldSpelling, match="kv_policy"):
        old = run(model, decoder="threshold:tau=0.7", cache="dual", block=8)
    assert old.tolist() == run(model, decoder="threshold:tau=0.7", kv_policy="dual", block=8).tolist()
    with pytest.raises(UsageError, match="cache is the old name of kv_policy, and both are given"):
        run(model, cache="dual", kv_policy="dual")


def test_other_networks_are_refused():
    t5 = T5ForConditionalGeneration(
        T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0, **SPECIAL)
    )
    with pytest.raises(UsageError, match=r"T5ForConditionalGeneration cannot be told.* another kind of network"):
        run(t5)
    window = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"], "use_sliding_window": True}
    with pytest.raises(UsageError, match="it has sliding_attention"):
        run(tiny("qwen2", **window))
    mistral = MistralForCausalLM(MistralConfig(**{**SIZES, "sliding_window": 4}))
    with pytest.raises(UsageError, match="a sliding window of 4"):
        run(mistral)
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, **SPECIAL)).double().eval()
    check(run(gpt2), direct(gpt2)[0])


def test_code_of_a_checkpoints_own_is_refused(model):
    from transformers import GenerationMixin, LlamaModel, PreTrainedModel

    class Own(PreTrainedModel, GenerationMixin):
        config_class = LlamaConfig

        def __init__(self, config):
            super().__init__(config)
            self.model = LlamaModel(config)

        def forward(self, input_ids=None, attention_mask=None, position_ids=None, **_):
            raise AssertionError

    with pytest.raises(UsageError, match="Own is no class of transformers' own"):
        run(Own(LlamaConfig(**SIZES)))


def test_it_is_not_called_alone(model):
    with pytest.raises(UsageError, match="cannot be called alone"):
        decoders.generate(model, torch.tensor([[5]]))


def test_a_typo_is_found_by_transformers(model):
    with pytest.raises(ValueError, match="decodr"):
        run(model, decodr="threshold")


@pytest.mark.slow
def test_it_is_there_without_importing_transformers():
    code = (
        "import sys, decoders; early = 'transformers' in sys.modules; decoders.generate; print(early, 'transformers' "
        "in sys.modules)\n"
        "try: decoders.generat\nexcept AttributeError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False True\nmodule 'decoders' has no attribute 'generat'\n"
