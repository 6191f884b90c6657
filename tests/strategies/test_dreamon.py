"""`dreamon`: text that grows and shrinks where the model asks for it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from decoders import Generator, Pred, UsageError, decode, get, get_cache, wrap
from decoders.cli import main
from decoders.core import view
from decoders.models.source import load_model
from decoders.serve.holes import between
from decoders.serve.refusals import RefusedError
from decoders.testing.rooms import EXPANDING, rooms, run
from decoders.testing.toy import ToyModel
from support.checkpoints import EOS, EXTRA, MASK, write

BLANK, END, MORE = EXPANDING.model.mask_id, EXPANDING.model.stop_ids[0], EXPANDING.model.expand_id


def entropy(row):
    odds = [math.exp(x) for x in row]
    return -sum(x / sum(odds) * math.log(x / sum(odds)) for x in odds)


def rewritten(text, logits, room, expansions, rest):
    """A text, a list of tokens that are open or not, after one forward: by lists, one row alone."""
    full = len(text) == room or expansions == 2 * room
    odds = {i: [-1e9 if full and t == MORE else x for t, x in enumerate(row)] for i, row in logits.items()}
    at = min((i for i, (_, open) in enumerate(text) if open), key=lambda i: (round(entropy(odds[i]), 5), i))
    token = max(range(len(odds[at])), key=lambda t: odds[at][t])
    if token == MORE:
        return [*text[:at], (BLANK, True), (BLANK, True), *text[at + 1 :]], expansions + 1
    if token == END:
        after = text[at + 1 :]
        return [*text[:at], *((x for x in after if not x[1]) if rest else after)], expansions
    return [*text[:at], (token, False), *text[at + 1 :]], expansions


@pytest.mark.parametrize("rest", [False, True])
def test_every_forward_is_that_of_a_naive_twin(rest):
    decoder, kinds = get("dreamon", rest=rest), set()
    assert rooms(decoder) == (EXPANDING,)
    for m in run(EXPANDING, decoder):
        s, logits = view(m.before), m.pred.logits.tolist()
        for b in m.live.nonzero().flatten().tolist():
            n, room = int(s.size[b]), int(s.room[b])
            text = list(zip(s.tokens[b, :n].tolist(), s.open[b, :n].tolist(), strict=True))
            said = {i: row for i, row in zip(m.pred.at[b].tolist(), logits[b], strict=True) if i < s.tokens.shape[1]}
            expected, count = rewritten(text, said, room, int(s.memo[b]), rest)
            t, now = m.state, len(expected)
            made = list(zip(t.tokens[b, :now].tolist(), t.open[b, :now].tolist(), strict=True))
            assert (made, int(t.memo[b])) == (expected, count)
            over = not any(open for _, open in expected)
            assert int(t.size[b]) == (room if over else now)
            assert set(t.tokens[b, now:room].tolist()) <= ({END} if over else {BLANK})
            kinds.add((len(expected) > n) - (len(expected) < n))
    assert kinds == {-1, 0, 1}  # it grew, it shrank, and it committed


def window(tokens, size, *says):
    """A window of `tokens`, of which `size` are there and the negative ones given, and what is said of each: a token
    and its probability."""
    row = torch.tensor([[BLANK if x is None else abs(x) for x in tokens]])
    s = view(EXPANDING.layout(get("dreamon")))
    given, open = torch.tensor([[x is not None and x < 0 for x in tokens]]), torch.tensor([[x is None for x in tokens]])
    one = torch.ones(1, dtype=torch.long)
    s = replace(
        s, tokens=row, open=open, editable=~given, confidence=row.float() / 10, committed_at=row, size=one * size,
        position=torch.arange(len(tokens))[None], room=one * len(tokens), opened=one, windows=one, step=one, clock=one,
        key=one, limit=one * len(tokens), memo=0 * one,
    )
    logits = torch.full((1, len(tokens), 11), math.log(0.1))
    for i, (token, p) in enumerate(says):
        logits[0, i], logits[0, i, token] = math.log((1 - p) / 10), math.log(p)
    return s, Pred(logits, torch.where(open, s.position, len(tokens)), len(tokens))


def test_what_is_given_moves_with_all_that_is_known_of_it():
    s, p = window([None, 4, None, -5, None, None], 4, (MORE, 0.9), (1, 0.5), (1, 0.5))
    t = get("dreamon").step(s, p)
    assert t.tokens[0].tolist() == [BLANK, BLANK, 4, BLANK, 5, BLANK]
    assert t.editable[0].tolist() == [True, True, True, True, False, True]
    assert (t.confidence[0, 2], int(t.committed_at[0, 2])) == (s.confidence[0, 1], 4)
    assert (int(t.size), int(t.memo)) == (5, 1)
    s, p = window([None, 4, None, -5, None, None], 4, (END, 0.9), (1, 0.5), (1, 0.5))
    t = get("dreamon").step(s, p)
    assert (t.tokens[0].tolist(), int(t.size)) == ([4, BLANK, 5, BLANK, BLANK, BLANK], 3)
    assert t.editable[0].tolist() == [True, True, False, True, True, True]
    t = get("dreamon:rest=true").step(s, p)
    assert (t.tokens[0].tolist(), int(t.size)) == ([4, 5, END, END, END, END], 6)  # nothing is left open


@pytest.mark.parametrize(("spec", "size", "memo"), [("dreamon", 3, 0), ("dreamon:expansions=2", 2, 2)])
def test_a_row_that_is_full_or_was_lengthened_often_enough_commits_another_token(spec, size, memo):
    s, p = window([None, 4, None], size, (MORE, 0.8), (1, 0.5), (1, 0.1))
    p.logits[0, 0, 3] = math.log(0.1)  # the second likeliest
    t = get(spec).step(replace(s, memo=s.memo + memo), p)
    assert t.tokens[0, :2].tolist() == [3, 4]
    assert int(t.memo) == memo


def test_the_order_is_that_of_one_of_three_scores():
    """The first has the least entropy, the second the likeliest token, and the third the largest margin."""
    s, p = window([None, None, None], 3)
    odds = [[0.5, 0.5, *[1e-9] * 9], [0.6, 0.35, *[0.05 / 9] * 9], [0.55, *[0.045] * 10]]
    p.logits[0] = torch.tensor(odds).log()
    for by, at in (("entropy", 0), ("maskgit_plus", 1), ("topk_margin", 2)):
        assert get("dreamon", by=by).step(s, p).open[0].tolist().index(False) == at


@pytest.mark.parametrize("cache", ["prefix", "dual", "dkv", "interval:response=4"])
def test_what_came_from_elsewhere_is_computed_whatever_the_cache_trusts(cache):
    seen, moved = [], []

    def watch(f, p, c):
        if len(seen) > 1:
            came = seen[-1].given & (seen[-1].tokens != seen[-2].tokens) & f.compute.any(-1, keepdim=True)
            moved.append(int(came.sum()))
            assert not (came & ~f.compute).any()
        seen.append(c)

    decode(
        EXPANDING.model, get("dreamon:temperature=1.0"), EXPANDING.prompts * 8, length=EXPANDING.length, infill=True,
        seeds=range(32), cache=get_cache(cache), watch=watch,
    )
    assert sum(moved) > 0


def test_without_text_behind_it_begins_with_some_masks():
    first = []
    decode(EXPANDING.model, get("dreamon:initial=3"), [[1, 2]], length=9, watch=lambda f, p, c: first.append(f.want))
    assert int(first[0].sum()) == 3


def test_models_without_the_tokens_are_refused():
    with pytest.raises(UsageError, match=r"DreamOn follows tokens by which a model asks .* DreamOn has them.* dream"):
        Generator("nano", "dreamon")
    with pytest.raises(UsageError, match="and this model has none; DreamOn has them, a checkpoint of the family dream"):
        decode(ToyModel(stop_ids=(9,)), get("dreamon"), [[1]], length=4)


def test_what_goes_by_positions_takes_no_text_that_moves():
    for wrapper in ("frontier", "nucleus", "ada_block"):
        with pytest.raises(UsageError, match="goes by positions, and DreamOn moves what stands there"):
            get(f"{wrapper}:base=dreamon")
    with pytest.raises(UsageError, match="Hybrid goes by positions"):
        get("hybrid:answer=dreamon")
    assert get("after_reasoning:base=dreamon").moves_text


# --- on a checkpoint: DreamOn is Dream with a token more
# ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dream(tmp_path_factory):
    """A tiny random DreamOn, whose head says the tokens for more and for fewer positions now and then."""
    folder = tmp_path_factory.mktemp("dreamon") / "checkpoint"
    write(folder, "dream")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (file := folder / name).exists():
            file.write_text(file.read_text().replace("<|im_end|>", "<|expand|>"))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][[EXTRA, EOS]] *= 6
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return load_model(str(folder))


PROMPTS = ["ab<|mask|><|mask|>cde", "x<|mask|><|mask|><|mask|>yz", "q<|mask|>rs<|mask|>t", "hello<|mask|>!"]


def test_the_checkpoint_says_its_tokens(dream):
    assert (dream.model.expand_id, dream.model.stop_ids[0]) == (EXTRA, EOS)
    assert EXTRA in dream.never


@pytest.mark.parametrize("watched", [False, True])
def test_holes_are_filled_with_as_much_as_the_model_asks_for(dream, watched):
    """Through an engine, and as one batch. What stands around the holes is all there, in its order."""
    more = {"watch": lambda f, p, c: None} if watched else {}
    made = Generator(dream, "dreamon:temperature=1.5")(PROMPTS * 4, length=12, infill=True, seeds=range(16), **more)
    lengths = set()
    for prompt, g in zip(PROMPTS * 4, made, strict=True):
        rest = iter(g.text)
        assert all(x in rest for x in prompt.replace("<|mask|>", ""))
        assert not {MASK, EXTRA, EOS} & {*g.tokens}
        holes, fixed = prompt.count("<|mask|>"), len(prompt.replace("<|mask|>", ""))
        assert g.tokens[-1] == dream.tokenizer.encode(prompt)[-1]
        assert len(g.tokens) == fixed + g.generated_tokens <= fixed + holes + 12
        lengths.add(g.generated_tokens - holes)
    assert min(lengths) < 0 < max(lengths)


def test_a_text_is_the_same_alone_and_in_any_batch(dream):
    generator = Generator(dream, "dreamon:temperature=1.5")
    together = generator(PROMPTS, length=12, infill=True, seeds=[5, 6, 7, 8])
    alone = [generator(p, length=12, infill=True, seed=k)[0] for p, k in zip(PROMPTS, (5, 6, 7, 8), strict=True)]
    assert [g.text for g in together] == [g.text for g in alone]


def test_a_trace_says_what_every_position_shows(dream):
    made = Generator(dream, "dreamon:temperature=1.5")(PROMPTS, length=12, infill=True, seeds=[1, 2, 3, 4], trace=True)
    for g in made:
        last, start = g.trace.canvases()[-1], g.trace.positions[0]
        shown = [None if x is None else x.text for x in last]
        text = [dream.tokenizer.decode([t]) for t in g.tokens[start:]]
        told = dict(zip(g.trace.positions, shown, strict=True))
        assert [told.get(start + i) or x for i, x in enumerate(text)] == text
        assert len(g.trace.steps) == g.nfe


def test_a_model_object_says_them_by_its_tokenizer(dream):
    words = PreTrainedTokenizerFast(
        tokenizer_object=dream.tokenizer.core, mask_token="<|mask|>", eos_token="<|endoftext|>"
    )
    held = wrap(dream.model.model, words, attention="bidirectional", shifted=True)
    assert (held.model.expand_id, held.model.stop_ids[0]) == (EXTRA, EOS)
    assert EXTRA in held.never
    how = {"length": 12, "infill": True, "seeds": [1, 2, 3, 4]}
    a, b = (Generator(x, "dreamon:temperature=1.5")(PROMPTS, **how) for x in (held, dream))
    assert [g.text for g in a] == [g.text for g in b]


def test_other_strategies_never_say_the_token_for_more(dream):
    made = Generator(dream, "threshold:temperature=5.0")(["ab", "x"], length=32, ignore_eos=True, seeds=[1, 2])
    assert EXTRA not in {t for g in made for t in g.tokens}


def test_what_is_kept_by_position_is_refused(dream):
    generator = Generator(dream, "dreamon")
    with pytest.raises(UsageError, match="logprobs are kept by position, and DreamOn moves text; leave them out"):
        generator("ab", length=4, logprobs=True)
    with pytest.raises(UsageError, match="Constrained goes by positions, and DreamOn moves what stands there"):
        generator("ab", length=4, constraint="regex:[a-z]+")


def test_the_command_fills_holes(dream, runner_output):
    made = runner_output("generate", "-m", dream.name, "-d", "dreamon", "-n", "12", "--infill", "--json", PROMPTS[0])
    expected = Generator(dream, "dreamon")(PROMPTS[0], length=12, infill=True)[0]
    assert json.loads(made)["text"] == expected.text


@pytest.fixture
def runner_output():
    from click.testing import CliRunner

    def run(*args):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_news_of_a_row_are_final(dream):
    """What is left of all that is open never moves, so it is told as it comes."""
    told = [[] for _ in PROMPTS]

    def hear(news):
        if news.kind == "committed":
            assert news.start == len(told[news.row])
            told[news.row] += news.tokens

    made = Generator(dream, "dreamon:temperature=1.5")(
        PROMPTS, length=12, infill=True, seeds=[1, 2, 3, 4], on_event=hear
    )
    assert [len(x) for x in told] == [g.generated_tokens for g in made]
    assert sum(map(len, told)) > 4
    for tokens, g in zip(told, made, strict=True):
        rest = iter(g.tokens)
        assert all(t in rest for t in tokens)


def test_the_server_does_not_write_between_two_texts_with_it(dream):
    with pytest.raises(RefusedError, match=r"DreamOn moves text; send one prompt with <\|mask\|> where it writes"):
        between(Generator(dream, "dreamon"), SimpleNamespace(kind=None), "a", 2, "b")
