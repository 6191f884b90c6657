"""The Python `Generator` and the loading of models."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import decoders
from decoders import Decoder, Generator, UsageError
from decoders.core import Event
from decoders.models.loaded import Loaded
from decoders.models.source import Checkpoint, load_model
from decoders.text.records import KEYS
from decoders_bench.tasks import TASKS, items
from support.marks import slow

NANO = Path(decoders.__file__).parent / "models" / "nano"
PROMPTS = [items(TASKS[name], "easy", "test", 1)[0].prompt for name in ("chain", "list", "extract", "shuffle")]
GREEDY = ("llada:steps=32", "dream:by=entropy,steps=16", "threshold:tau=0.9", "factor:f=1.0", "left_to_right")
SAMPLED = ("ancestral:steps=64", "first_hitting", "threshold:temperature=1.0", "left_to_right:temperature=1.0")


@pytest.fixture(scope="module")
def nano() -> Loaded:
    return load_model("nano")


@pytest.mark.parametrize("spec", [*slow(*GREEDY[:2], *SAMPLED[:2]), *GREEDY[2:], *SAMPLED[2:]])
def test_a_text_is_the_same_alone_and_in_any_batch_and_order(nano, spec):
    run = Generator(nano, spec)
    seeds = [3, 1, 4, 1]
    together = run(PROMPTS, length=32, seeds=seeds)
    backwards = run(PROMPTS[::-1], length=32, seeds=seeds[::-1])[::-1]
    for prompt, seed, a, b in zip(PROMPTS, seeds, together, backwards, strict=True):
        alone = run(prompt, length=32, seed=seed)[0]
        assert (a.tokens, a.nfe, a.finish_reason, a.seed) == (b.tokens, b.nfe, b.finish_reason, b.seed)
        assert (a.tokens, a.nfe, a.finish_reason, a.seed) == (alone.tokens, alone.nfe, alone.finish_reason, alone.seed)


def test_the_seed_makes_the_sample(nano):
    run = Generator(nano, "left_to_right:temperature=3.0")
    a, b = run([PROMPTS[0]] * 2, length=32, seeds=[1, 2], ignore_eos=True)
    assert a.tokens != b.tokens
    assert run(PROMPTS[0], length=32, seed=2, ignore_eos=True)[0].tokens == b.tokens


@pytest.mark.parametrize(
    ("spec", "nfe"),
    [
        ("llada:steps=32", 32),
        ("llada:steps=8", 8),
        ("llada", 32),
        ("dream:by=entropy,steps=16", 16),
        ("left_to_right", 32),
        ("first_hitting", 32),
    ],
)
def test_without_stopping_the_budget_is_the_number_of_forwards(nano, spec, nfe):
    for made in Generator(nano, spec)(PROMPTS, length=32, ignore_eos=True):
        assert (made.nfe, made.finish_reason) == (nfe, "length")
        assert made.tokens_per_forward == made.generated_tokens / nfe == len(made.tokens) / nfe


def test_left_to_right_spends_a_forward_on_every_token_and_one_on_the_stop(nano):
    made = Generator(nano, "left_to_right")(PROMPTS, length=48)
    stopped = [m for m in made if m.finish_reason == "stop"]
    assert stopped
    for m in made:
        assert m.nfe == m.generated_tokens + (m in stopped)


def test_what_it_says_of_itself(nano):
    made = Generator(nano, "threshold:tau=0.9", "none")(PROMPTS[0], length=16, seed=7)[0]
    assert list(made.record()) == list(KEYS)
    assert json.loads(json.dumps(made.record())) == made.record()
    assert (made.decoder, made.cache, made.seed) == ("threshold:tau=0.9", "none", 7)
    assert made.text == nano.tokenizer.decode(made.tokens)
    assert Generator(nano, decoders.get("llada", steps=4), decoders.get_cache("none")).decoder_spec == "llada:steps=4"


def test_cut_at_a_stop_string(nano):
    run = Generator(nano, "left_to_right")
    for prompt in PROMPTS[:2]:
        whole = run(prompt, length=32, ignore_eos=True)[0]
        stop = whole.text[5:7]
        made = run(prompt, length=32, stop=["never seen", stop], ignore_eos=True)[0]
        assert made.text == whole.text[: whole.text.index(stop)]
        assert made.finish_reason == "stop"
        assert made.nfe < whole.nfe
        assert made.tokens == whole.tokens[: made.generated_tokens]
        assert nano.tokenizer.decode(made.tokens).startswith(made.text)
        assert not nano.tokenizer.decode(made.tokens[:-1]).startswith(made.text)


@pytest.mark.parametrize("spec", ["llada:steps=32", "threshold"])
def test_a_stop_string_cuts_the_same_text_whatever_the_batch(nano, spec):
    run = Generator(nano, spec)
    stop = [m.text[2:4] for m in run(PROMPTS, length=32)]
    together = run(PROMPTS, length=32, stop=stop)
    assert [m.tokens for m in together] == [run(p, length=32, stop=stop)[0].tokens for p in PROMPTS]
    assert not any(end in m.text for end in stop for m in together)


def test_without_infill_a_mask_token_in_a_prompt_is_data(nano):
    prompt = f"Copy: a {Generator(nano).mask} c"
    made = Generator(nano, "llada")(prompt, length=8, ignore_eos=True)[0]
    assert (made.nfe, nano.model.mask_id in made.tokens) == (8, False)


def test_infill_keeps_what_is_given_and_fills_the_rest(nano):
    run = Generator(nano, "llada")
    prompt = f"Sort:{run.mask} b a{run.mask}{run.mask} # a b c"
    before = run.encode(prompt, infill=True)
    made = run(prompt, infill=True)[0]
    assert (made.nfe, made.generated_tokens, len(made.tokens)) == (3, 3, len(before))
    for old, new in zip(before, made.tokens, strict=True):
        if old == nano.model.mask_id:
            assert new not in {*nano.never, *nano.model.stop_ids}
        else:
            assert new == old
    assert made.text == nano.tokenizer.decode(made.tokens)
    more = run(prompt, infill=True, length=5, ignore_eos=True)[0]
    assert more.nfe == 8
    assert more.generated_tokens == len(more.tokens) - len(before) + 3
    assert more.text.startswith("Sort:")


def test_an_interrupted_infill_shows_what_is_still_open(nano):
    run = Generator(nano, "left_to_right")
    made = run(f"Sort: b a{run.mask}{run.mask}{run.mask}", infill=True, max_steps=1)[0]
    assert (made.finish_reason, made.nfe, made.generated_tokens) == ("max_steps", 1, 1)
    assert made.text.endswith(run.mask * 2)


def test_guidance_of_zero_is_none_and_counts_a_doubled_forward_once(nano):
    plain, guided = Generator(nano, "llada:steps=4"), Generator(nano, "llada:steps=4", guidance=2.0)
    assert plain.model is nano.model
    assert [m.nfe for m in guided(PROMPTS, length=16, ignore_eos=True)] == [4] * len(PROMPTS)
    assert [m.tokens for m in guided(PROMPTS, length=16)] != [m.tokens for m in plain(PROMPTS, length=16)]


def test_committed_events_spell_the_text(nano):
    heard: dict[int, list[int]] = {}

    def listen(e: Event) -> None:
        if e.kind == "committed":
            assert e.start == len(heard.setdefault(e.row, []))
            heard[e.row] += e.tokens

    made = Generator(nano, "threshold")(PROMPTS, length=32, on_event=listen)
    assert [tuple(heard.get(b, [])) for b in range(len(PROMPTS))] == [m.tokens for m in made]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"prompts": [""]}, "empty"),
        ({"prompts": ["a" * 2000]}, "1024"),
        ({"prompts": ["\ud800"]}, "Unicode"),
        ({"length": 0}, "length"),
        ({"length": 2000}, "1024"),
        ({"block": 0}, "block"),
        ({"max_steps": 0}, "max_steps"),
        ({"seed": 2**63}, "64 bits"),
        ({"seeds": [1, 2]}, "seeds"),
        ({"stop": ["a", ""]}, "stop string is empty"),
        ({"infill": True}, "no hole"),
        ({"infill": True, "length": 4, "stop": "a"}, "infill"),
    ],
)
def test_mistakes_are_named(nano, how, message):
    run = Generator(nano)
    how = {"prompts": ["Sort: b a"], **({} if "infill" in how else {"length": 8}), **how}
    with pytest.raises(UsageError, match=message) as e:
        run(**how)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("guidance", [-1.0, float("nan"), float("inf")])
def test_guidance_has_a_range(nano, guidance):
    with pytest.raises(UsageError, match="guidance"):
        Generator(nano, guidance=guidance)


# models


def test_a_checkpoint_directory_is_the_same_model(nano, tmp_path):
    shutil.copytree(NANO, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    loaded = load_model(str(tmp_path / "copy"))
    assert (loaded.name, loaded.length, loaded.never) == (str(tmp_path / "copy"), nano.length, nano.never)
    a, b = (Generator(m, "threshold")(PROMPTS, length=24) for m in (nano, loaded))
    assert [m.tokens for m in a] == [m.tokens for m in b]


def test_block_attention_brings_its_own_windows(tmp_path):
    block = load_model("nano:attention=block")
    assert (block.model.block_causal, load_model("nano").model.block_causal) == (True, False)
    assert load_model(f"{NANO}:attention=block").model.block_causal
    run = Generator(block, "llada")
    made = run(PROMPTS[0], length=16, ignore_eos=True)[0]
    assert made.tokens == run(PROMPTS[0], length=16, block=block.block, ignore_eos=True)[0].tokens


def test_loading_leaves_the_settings_of_transformers_alone_and_is_quiet(capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model("nano")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def edit(**changes):
    def mend(directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text()) | changes
        (directory / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return mend


def cut(name):
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:500])


def without(name):
    return lambda directory: (directory / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(diffusion_family="nanno"), "did you mean 'nano'"),
        (edit(diffusion_family=None), "no diffusion_family"),
        (edit(mask_token_id=None), "no mask_token_id"),
        (edit(mask_token_id=10**6), "no mask token"),
        (edit(mask_token_id=300), "no mask token"),
        (edit(intermediate_size=8), "model.safetensors|weights"),
        (edit(num_hidden_layers=1), "weights"),
        (without("config.json"), "no config.json"),
        (without("tokenizer.json"), "no tokenizer.json"),
        (without("model.safetensors"), "safetensors"),
        (cut("config.json"), "cannot be read"),
        (cut("tokenizer.json"), "cannot be read"),
        (cut("model.safetensors"), "cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, damage, message):
    shutil.copytree(NANO, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(UsageError, match=message) as e:
        load_model(str(tmp_path / "copy"))
    assert "\n" not in str(e.value)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    shutil.copytree(NANO, tmp_path / "copy")
    witness = tmp_path / "ran"
    (tmp_path / "copy" / "evil.py").write_text(f"open({str(witness)!r}, 'w')\nclass Evil: pass\n")
    edit(auto_map={"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Evil", "AutoTokenizer": "evil.Evil"})(
        tmp_path / "copy"
    )
    load_model(str(tmp_path / "copy"))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nanno", "did you mean 'nano'"),
        ("nano:attention=none", "attention"),
        ("nano:device=abacus", "abacus"),
        (f"{NANO}:attend=block", "did you mean 'attention'"),
        ("./nowhere", "no checkpoint directory"),
        ("decoders.strategies.llada:LLaDA", "not a model"),
    ],
)
def test_models_that_are_none(spec, message):
    with pytest.raises(UsageError, match=message):
        load_model(spec)


def test_an_attention_that_the_family_was_not_trained_for(monkeypatch):
    from dataclasses import replace

    from decoders.models import families

    monkeypatch.setitem(families.FAMILIES, "nano", replace(families.FAMILIES["nano"], attentions=("bidirectional",)))
    with pytest.raises(UsageError, match="knows the attention bidirectional"):
        Checkpoint(str(NANO), attention="block").load()


@dataclass(frozen=True)
class NeedsMask(Decoder):
    needs_mask: ClassVar[bool] = True


def test_a_decoder_that_does_not_fit_is_refused_before_anything_is_decoded(nano):
    from dataclasses import replace

    class Maskless:
        mask_id = None

        def __getattr__(self, name):
            return getattr(nano.model, name)

    with pytest.raises(UsageError, match="mask token"):
        Generator(replace(nano, model=Maskless()), NeedsMask())


def test_memory_is_what_every_way_of_decoding_may_take(nano):
    run = Generator(nano, memory=1000)
    message = "and the memory budget is 1e\\+03 bytes"
    for decode in (run, lambda *x, **how: run.submit(*x, **how).result(), run.using("llada")):
        with pytest.raises(UsageError, match=message):
            decode("Sort: b a", length=8)


def test_the_likeliest_tokens_are_in_the_record(nano):
    (made,) = Generator(nano)("Sort: b a\n", length=8, top_logprobs=2)
    record = json.loads(json.dumps(made.record()))
    assert [len(x) for x in record["top_logprobs"]] == [2] * made.generated_tokens
    assert [x[0][0] for x in record["top_logprobs"]] == list(made.tokens)
    assert "top_logprobs" not in Generator(nano)("Sort: b a\n", length=8, logprobs=True)[0].record()
    with pytest.raises(UsageError, match="top_logprobs must be at least 0"):
        Generator(nano)("Sort: b a", top_logprobs=-1)
