"""The embedded model, trained, in vLLM's native path: token for token what the library's own loop decodes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from engines import NANO, Served, engine
from vllm.exceptions import VLLMValidationError

import decoders
from decoders.text.stopping import NoStopInHoles
from decoders_bench.tasks import TASKS

SPECS = (
    "threshold:tau=0.9", "threshold:tau=0.5,temperature=1.0", "factor", "llada", "ancestral:steps=240",
    "sdar:block_steps=3,temperature=0.7", "llada2", "left_to_right:temperature=1.0", "hybrid:budget=5",
    "hybrid:ar=wide,budget=13,temperature=0.7",
)
SHUFFLE, REVERSE, SORT = "Shuffle: x y z d l m g", "Reverse: x y z d l m g", "Sort: z d p k e h t y o b g j"
"""8 tokens, 8, and 13."""
SUM = "Q: Finn starts with 58 eggs: gives 8, gets 5, sells 6. Total?"
TEXTS = (SORT, SHUFFLE, SUM, "List: w j v b c f reverse?")


@pytest.fixture(scope="module")
def nano() -> Served:
    # pages of 32 and chunks of 48: longer prompts are read in parts, and whole pages of them are found again
    llm = engine(NANO, max_model_len=256, max_num_batched_tokens=48)
    return Served(llm, decoders.load("nano", attention="block"))


def prompts(nano: Served) -> list[list[int]]:
    """Of tasks that the model was trained for, in three lengths: within a block, at its end, and longer than a chunk
    and a page."""
    long = TASKS["ledger"].items("hard", "test", 1)[0].prompt
    return [nano.loaded.tokenizer.encode(t) for t in (SORT, REVERSE, long)]


@pytest.mark.parametrize("spec", SPECS)
def test_equals_the_librarys_loop(nano: Served, spec: str) -> None:
    """Alone and together, for lengths that are and are not whole blocks."""
    for length in (24, 19):
        expected = [nano.own(spec, p, length, seed=7) for p in prompts(nano)]
        asked = [(p, nano.params(spec, length, seed=7)) for p in prompts(nano)]
        assert nano.tokens(asked) == expected
        assert nano.tokens(asked[-1:]) == expected[-1:]
    assert all(len(set(x)) > 4 for x in expected[1:])


def test_a_canvas_that_the_budget_of_a_step_would_cut_waits(nano: Served) -> None:
    """Eight canvases of 8 do not go into a step of 48, least of all beside the rest of a prompt whose pages are there
    already."""
    p = nano.loaded.tokenizer.encode(SUM)
    specs = "threshold", "left_to_right:temperature=1.0", "sdar:block_steps=3,temperature=0.7", "hybrid:budget=9"
    prompts = [[*p, *nano.own(spec, p, n, stop=False), *p] for spec in specs for n in (32, 19)]
    expected = [nano.own("threshold", prompt, 20, stop=False) for prompt in prompts]
    for _ in range(2):
        asked = [(prompt, nano.params("threshold", 20, ignore_eos=True)) for prompt in prompts]
        assert nano.tokens(asked) == expected


def test_every_request_has_its_own_decoder_in_one_batch(nano: Served) -> None:
    mixed = [
        (p, spec, 17 + 3 * i, i) for i, spec in enumerate(SPECS) if spec != "ancestral:steps=240" for p in prompts(nano)
    ]
    asked = [(p, nano.params(spec, n, seed=seed)) for p, spec, n, seed in mixed]
    expected = [nano.own(spec, p, n, seed=seed) for p, spec, n, seed in mixed]
    assert nano.tokens(asked) == expected
    assert nano.tokens(asked[::-1]) == expected[::-1]


def test_answers_what_the_model_was_trained_for(nano: Served) -> None:
    """A task that the model can do; the text, and why it ended, are those of `Generator`."""
    g = decoders.Generator("nano:attention=block", "threshold")
    own = g(list(TEXTS), length=40)
    asked = [
        (nano.loaded.tokenizer.encode(t), nano.params("threshold", 40, detokenize=True, skip_special_tokens=False))
        for t in TEXTS
    ]
    found = nano.run(asked)
    assert [o.text for o in found] == [x.text for x in own]
    assert [o.finish_reason for o in found] == [x.finish_reason for x in own]
    assert "stop" in {o.finish_reason for o in found}


@pytest.mark.parametrize("spec", ["threshold", "llada", "left_to_right:temperature=1.0"])
def test_constraints_hold_and_give_the_librarys_text(nano: Served, spec: str) -> None:
    """Requests with and without a constraint, of several lengths, in one batch."""
    pattern = " [a-m]( [a-m]){2,9}"
    own = decoders.Generator("nano:attention=block", spec, constraint=f"regex:{pattern}", cache="block")
    texts = (SORT, SHUFFLE, SUM)
    asked = [
        (
            nano.loaded.tokenizer.encode(t),
            nano.params(spec, n, seed=5, constraint=held, detokenize=True, skip_special_tokens=False),
        )
        for t in texts for n in (24, 31) for held in (f"regex:{pattern}", None)
    ]
    found = [o.text for o in nano.run(asked)]
    expected = [g.text for n in (24, 31) for g in own(list(texts), length=n, seeds=[5] * len(texts))]
    assert found[::2] == [expected[i] for i in (0, 3, 1, 4, 2, 5)]
    assert all(re.fullmatch(pattern, text) for text in found[::2])
    assert found[1::2] != found[::2]


def test_a_schema_comes_with_the_request(nano: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    held = nano.params("threshold", 40, constraint=f"json:{json.dumps(schema)}", detokenize=True)
    (o,) = nano.run([(nano.loaded.tokenizer.encode(SORT), held)])
    assert isinstance(json.loads(o.text)["n"], int)


def test_a_seed_says_what_is_sampled(nano: Served) -> None:
    p, spec = nano.loaded.tokenizer.encode(SHUFFLE), "left_to_right:temperature=1.0"
    a, b, c = nano.tokens([(p, nano.params(spec, 24, seed=s, ignore_eos=True)) for s in (1, 2, 1)])
    assert a == c != b


def test_stop_tokens_and_none(nano: Served) -> None:
    """A stop token of the request ends it in the middle of a block, before what is right of it; ignore_eos goes on to
    the end."""
    p = nano.loaded.tokenizer.encode(SORT)
    whole = nano.own("threshold", p, 30, stop=False)
    (found,) = nano.run([(p, nano.params("threshold", 30, ignore_eos=True))])
    assert list(found.token_ids) == whole
    assert found.finish_reason == "length"
    token = whole[3]
    (found,) = nano.run([(p, nano.params("threshold", 30, ignore_eos=True, stop_token_ids=[token]))])
    assert list(found.token_ids) == whole[: whole.index(token) + 1]
    assert (found.finish_reason, found.stop_reason) == ("stop", token)


def test_stop_strings(nano: Served) -> None:
    p = nano.loaded.tokenizer.encode(SORT)
    (found,) = nano.run([(p, nano.params("threshold", 40, detokenize=True))])
    word = found.text.split()[1]
    (cut,) = nano.run([(p, nano.params("threshold", 40, detokenize=True, stop=[word]))])
    assert cut.text == found.text[: found.text.index(word)]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", word)


@pytest.mark.parametrize("spec", ["threshold", "left_to_right:temperature=1.0", "llada2", "hybrid:ar=wide,budget=6"])
def test_infill(nano: Served, made: Any, spec: str) -> None:
    """Holes among given tokens right of the prompt, over several blocks and with whole blocks given, and free text
    after them."""
    mask = nano.loaded.model.mask_id
    for prompt, holes in (
        (made(6, 6), [mask, mask, 40, 41, mask, 42]),
        (made(13, 7), [30, 31, 32, *made(17, 8), mask, 50, mask, *made(20, 9), mask, mask, 60]),
    ):
        row = [*prompt, *holes]
        rule = NoStopInHoles(11, nano.loaded.model.stop_ids)
        filled = nano.own(spec, row, 11, seed=3, infill=True, rules=[rule])
        it = iter(filled)
        expected = [next(it) if t == mask else t for t in holes] + list(it)
        assert nano.tokens([(prompt, nano.params(spec, len(holes) + 11, seed=3, infill=holes))]) == [expected]


def test_prefixes_are_found_again(nano: Served, made: Any) -> None:
    """A second turn reads the pages of the first, of prompt and answer, and what it decodes is the same."""
    first = made(70, 10)
    (answer,) = nano.tokens([(first, nano.params("threshold", 58, ignore_eos=True))])
    second = [*first, *answer, *made(9, 11)]
    done = nano.llm.generate([{"prompt_token_ids": second}], [nano.params("llada", 20)], use_tqdm=False)[0]
    assert done.num_cached_tokens >= 96
    ended = done.outputs[0].finish_reason == "stop"
    assert list(done.outputs[0].token_ids)[: len(done.outputs[0].token_ids) - ended] == nano.own("llada", second, 20)


def test_the_end_of_the_context(nano: Served, made: Any) -> None:
    """As many tokens as there is room for, and a prompt that ends in the last block gets an answer as well."""
    p = made(230, 12)
    assert nano.tokens([(p, nano.params("threshold", 40, ignore_eos=True))]) == [
        nano.own("threshold", p, 26, stop=False)
    ]
    (found,) = nano.run([(made(251, 13), nano.params("threshold", 40, ignore_eos=True))])
    assert (len(found.token_ids), found.finish_reason) == (5, "length")


BAD = {
    "unknown decoder": ({"decoder": "treshold"}, "unknown strategy 'treshold'; did you mean 'threshold'?"),
    "unknown option": ({"decoder": "threshold:tua=1"}, "threshold has no option 'tua'; did you mean 'tau'?"),
    "value out of range": ({"decoder": "threshold:tau=2"}, "tau must be between 0 and 1"),
    "malformed": ({"decoder": "threshold:tau"}, "cannot read 'tau'"),
    "no text": ({"decoder": 7}, "decoder must be a text"),
    "unknown extra": ({"decodr": "threshold"}, "did you mean 'decoder'?"),
    "vLLM's own": ({"diffusion_canvas_length": 4}, "there is no option 'diffusion_canvas_length'"),
    "code": ({"decoder": "os.path:join"}, "unknown strategy 'os.path:join'"),
    "code inside": ({"decoder": "hybrid:answer=(subprocess:Popen)"}, "unknown strategy 'subprocess:Popen'"),
    "code in a part": ({"decoder": "s2d2:route=(subprocess:Popen)"}, "unknown route 'subprocess:Popen'"),
    "code in an older spelling": (
        {"decoder": "s2d2:route=subprocess:Popen,cost=1"},
        "unknown route 'subprocess:Popen'",
    ),
    "seed": ({"seed": 2**63}, "seed must be an integer of 64 bits"),
    "temperature": ({"temperature": "hot"}, "temperature must be a number"),
    "no temperature": ({"decoder": "llada2", "temperature": 1.0}, "llada2 has no option 'temperature'"),
    "twice": ({"decoder": "threshold:temperature=1", "temperature": 1.0}, "leave one out"),
    "verifies": ({"decoder": "s2d2"}, "takes a doubled sequence"),
    "sight": ({"decoder": "planned"}, "hides parts of the text"),
    "reasoner": ({"decoder": "after_reasoning:reasoner=nano"}, "put it into the prompt"),
    "preset": ({"decoder": "fast-dllm"}, "a preset with a cache"),
    "budget": ({"decoder": "llada:steps=7"}, "7 steps cannot be split evenly over 2 or 3 blocks"),
    "no hole": ({"infill": [5, 6]}, "infill has no hole to fill"),
    "no list": ({"infill": "abc"}, "infill must be a list of token ids"),
    "outside": ({"infill": [10**6, 1]}, "outside the vocabulary of 756"),
    "too long": ({"infill": [1] * 17}, "infill has 17 positions, and max_tokens is 16"),
    "constraint": ({"constraint": "grammar:x"}, "constraint must be regex:PATTERN or json:SCHEMA"),
    "no schema": ({"constraint": "json:{"}, "is no JSON"),
    "too short": ({"constraint": "regex:a{30}"}, "and there is room for 16"),
    "windows of one": ({"decoder": "hybrid", "infill": [1, 5]}, "say ar=wide"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(nano: Served, made: Any, case: str) -> None:
    from vllm import SamplingParams

    extra, line = BAD[case]
    with pytest.raises(VLLMValidationError) as e:
        nano.llm.generate(
            [{"prompt_token_ids": [5, 6]}], SamplingParams(max_tokens=16, temperature=1.0, extra_args=extra),
            use_tqdm=False,
        )
    assert line in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "option",
    [
        {"top_p": 0.5}, {"top_k": 5}, {"presence_penalty": 1.0}, {"repetition_penalty": 1.1}, {"logprobs": 1},
        {"seed": 1},
    ],
    ids=str,
)
def test_refuses_what_would_be_dropped(nano: Served, option: dict[str, Any]) -> None:
    from vllm import SamplingParams

    with pytest.raises(
        VLLMValidationError, match=r"has no effect on a diffusion model here|not yet supported with diffusion models"
    ):
        nano.llm.generate(
            [{"prompt_token_ids": [5, 6]}], SamplingParams(**{"max_tokens": 8, "temperature": 1.0, **option}),
            use_tqdm=False,
        )


def test_samples_of_one_request(nano: Served) -> None:
    spec, p = "threshold:tau=0.3,temperature=4.0", nano.loaded.tokenizer.encode(SHUFFLE)
    (done,) = nano.llm.generate(
        [{"prompt_token_ids": p}], [nano.params(spec, 16, seed=3, n=3, ignore_eos=True)], use_tqdm=False
    )
    found = [list(o.token_ids) for o in sorted(done.outputs, key=lambda o: o.index)]
    assert found == [nano.own(spec, p, 16, seed=3 + i, stop=False) for i in range(3)]
    assert len({tuple(x) for x in found}) == 3


def test_a_refused_request_harms_nobody(nano: Served, made: Any) -> None:
    p = made(20, 14)
    with pytest.raises(VLLMValidationError, match="unknown strategy"):
        nano.tokens([(p, nano.params("threshold", 16)), (p, nano.params("treshold", 16))])
    assert nano.tokens([(p, nano.params("threshold", 16))]) == [nano.own("threshold", p, 16)]


def test_a_row_of_which_the_model_says_nothing_ends_with_an_error(nano: Served, made: Any) -> None:
    """One token's embedding is not a number: its row ends at once, and the one beside it is what it is alone."""
    weight = nano.llm.llm_engine.model_executor.driver_worker.model_runner.model.model.embed_tokens.weight
    good = [t for t in made(30, 15) if t != 90]
    kept = weight[90].clone()
    weight.data[90] = float("nan")
    try:
        asked = [([*good, 90], nano.params("threshold", 24)), (good, nano.params("threshold", 24))]
        bad, well = nano.run(asked)
    finally:
        weight.data[90] = kept
    assert (bad.finish_reason, list(bad.token_ids)) == ("error", [])
    expected = nano.own("threshold", good, 24)
    assert list(well.token_ids[: len(well.token_ids) - (well.finish_reason == "stop")]) == expected
    assert nano.tokens(asked[:1]) == [nano.own("threshold", asked[0][0], 24)]
