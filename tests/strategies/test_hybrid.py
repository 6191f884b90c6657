"""Reasoning from left to right, then an answer by any decoder; and the two rules of order, `frontier` and `pard`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner

from decoders import Blocks, Decoder, Generator, Pred, State, UsageError, decode, get, get_cache, spec_of
from decoders.cli import main
from decoders.cli.show import Watching
from decoders.core import asks
from decoders.errors import OldSpelling
from decoders.models.adapter import TransformersModel
from decoders.models.source import load_model
from decoders.strategies.hybrid import Hybrid
from decoders.testing.toy import ToyModel
from decoders_bench.tasks import TASKS, items
from support.laws import lawsuits
from support.marks import turns

MASK = 23
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
LENGTH, BUDGET, BLOCK, TAU = 14, 5, 4, 0.15
SPECS = [
    "frontier:w=2,base=(llada:steps=12)", "pard:tau=0.3,temperature=1.0",
    "hybrid:budget=5,boundary=3,answer=llada", "hybrid:budget=6,boundary=3+1,ar=wide,answer=(threshold:tau=0.3)",
    "hybrid:mode=frontier,w=3,base=(threshold:tau=0.3),budget=5,boundary=2+4,answer=left_to_right",
    "hybrid:mode=block,temperature=1.0,budget=4,answer=(llada:steps=12)", "after_reasoning:base=llada",
]


@pytest.mark.parametrize(("spec", "law"), lawsuits(SPECS))
def test_law(spec, law):
    law(get(spec))


# --- a transformer, against plain uncached forwards ----------------------------------------------------------


def blocks(net, shifted=False):
    return TransformersModel(net, mask_id=MASK, block_causal=True, shifted=shifted)


def hybrid(form="window", **options):
    return get("hybrid:mode=block", **{"ar": form, "answer": get("threshold", tau=TAU), "budget": BUDGET, **options})


class Turns:
    """A `watch` that keeps where each row's answer began, and the phases of the rows in every forward."""

    def __init__(self):
        self.phases = []

    def __call__(self, f, p, c):
        self.phases.append(f.phase[f.want.any(-1)].tolist())
        self.begun = c.memo.begun.tolist()


@torch.no_grad()
def logits_of(net, tokens, until):
    column = torch.arange(len(tokens))
    bias = torch.zeros(1, 1, len(column), len(column), dtype=torch.double)
    bias.masked_fill_(column[None, :] >= until[:, None], torch.finfo(torch.double).min)
    return net(input_ids=torch.tensor([tokens]), attention_mask=bias, position_ids=column[None]).logits[0]


def plainly(net, prompt, length, budget, block):
    """Windows of one, then blocks: the text one uncached forward at a time, with every column's view written out."""
    limit = len(prompt) + length
    column = torch.arange(limit)
    ends = (column // block + 1) * block
    until = torch.where(ends <= len(prompt), ends, column + 1)  # whole blocks of the prompt; all else is causal
    tokens = list(prompt)
    for i in range(len(prompt), len(prompt) + budget):
        tokens.append(int(logits_of(net, [*tokens, MASK], until[: i + 1])[-1].argmax()))
    while len(tokens) < limit:
        start = len(tokens)
        end = min((start // block + 1) * block, limit)
        until[start:end] = end
        tokens += [MASK] * (end - start)
        open_ = torch.tensor([False] * start + [True] * (end - start))
        while open_.any():
            confidence, best = logits_of(net, tokens, until[:end]).softmax(-1).max(-1)
            score = torch.where(open_, confidence, -1.0)
            chosen = score >= min(TAU, float(score.max()))
            tokens = torch.where(chosen, best, torch.tensor(tokens)).tolist()
            open_ &= ~chosen
    return tuple(tokens)


def test_windows_of_one_and_then_blocks_are_what_plain_forwards_say(net):
    rows = decode(blocks(net), hybrid(), ROWS, length=LENGTH, windows=Blocks(BLOCK))
    assert [row.canvas for row in rows] == [plainly(net, prompt, LENGTH, BUDGET, BLOCK) for prompt in ROWS]
    assert sum(row.nfe for row in rows) < 0.8 * len(rows) * LENGTH


@pytest.mark.parametrize("shifted", [False, True])
def test_reasoning_in_windows_of_one_is_autoregression(net, shifted):
    windows = Blocks(32)  # one block, so that the prompt is causal for both
    one = decode(blocks(net, shifted), hybrid(), ROWS, length=LENGTH, windows=windows)
    ar = decode(blocks(net, shifted), get("left_to_right"), ROWS, length=BUDGET, windows=windows)
    assert [row.tokens[:BUDGET] for row in one] == [row.tokens for row in ar]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("answer", [f"threshold:tau={TAU}", "llada", "left_to_right", "factor"])
def test_the_wide_form_is_autoregression_and_then_the_answers_decoder_on_that_canvas(net, shifted, answer):
    model, windows = blocks(net, shifted), Blocks(BLOCK)
    rows = decode(model, hybrid("wide", answer=get(answer)), ROWS, length=LENGTH, windows=windows)
    ar = decode(model, get("left_to_right"), ROWS, length=BUDGET, windows=windows)
    for row, reasoned in zip(rows, ar, strict=True):
        (rest,) = decode(model, get(answer), [reasoned.canvas], length=LENGTH - BUDGET, windows=windows)
        assert (row.canvas, row.nfe) == (rest.canvas, reasoned.nfe + rest.nfe)


def test_the_two_forms_are_not_the_same_algorithm(net):
    one, wide = (
        decode(blocks(net), hybrid(form), ROWS, length=LENGTH, windows=Blocks(BLOCK)) for form in ("window", "wide")
    )
    assert one != wide


@pytest.mark.parametrize("form", ["window", "wide"])
@pytest.mark.parametrize("answer", [f"threshold:tau={TAU}", "left_to_right"])
def test_caches_agree(net, form, answer):
    decoder = hybrid(form, answer=get(answer), boundary=(7,))
    model, caches = blocks(net), map(get_cache, ("exact", "none", "block"))
    exact, none, block = (
        decode(model, decoder, ROWS, length=LENGTH, windows=Blocks(BLOCK), cache=cache) for cache in caches
    )
    assert exact == none == block
    assert sum(row.positions_computed for row in exact) < sum(row.positions_computed for row in none) / 2


def test_windows_of_one_cost_two_columns_a_token(net):
    """The last token's and its own; the first forward also takes the prompt."""
    seen = []
    decode(
        blocks(net), hybrid(), [[1, 2, 3]], length=LENGTH, windows=Blocks(8), watch=lambda f, p,
        c: seen.append(int(f.compute.sum())),
    )
    assert seen[:BUDGET] == [4, *[2] * (BUDGET - 1)]


def test_holes_are_reasoned_about_one_by_one_and_what_is_given_between_costs_no_forward(net):
    row = [1, MASK, 2, 3, 4, MASK, MASK, 5, MASK, 6, MASK, 7]
    for budget in (2, 5):
        (one,) = decode(blocks(net), hybrid(budget=budget), [row], length=0, windows=Blocks(BLOCK), infill=True)
        (none,) = decode(
            blocks(net), hybrid(budget=budget), [row], length=0, windows=Blocks(BLOCK), infill=True,
            cache=get_cache("none"),
        )
        assert one == none
        assert one.nfe <= 5
        assert [t for t, given in zip(one.canvas, row, strict=True) if given != MASK] == [t for t in row if t != MASK]
    assert list(one.tokens) == [t for t, given in zip(plainly_causal(net, row), row, strict=True) if given == MASK]


def plainly_causal(net, row):
    """Every hole from what is left of it, in order."""
    tokens = list(row)
    for i, given in enumerate(row):
        if given == MASK:
            tokens[i] = int(logits_of(net, tokens[: i + 1], torch.arange(i + 1) + 1)[-1].argmax())
    return tokens


def test_sub_blocks_begin_where_the_reasoning_ends(net):
    """Attention in blocks of 8, windows of 4: the first window of the answer is the rest of one."""
    model = TransformersModel(net, mask_id=MASK, block_causal=True, attention_block=8)
    seen = []
    windows = Blocks(4, within=8)
    decode(
        model, hybrid(), [[1, 2, 3, 4, 5]], length=11, windows=windows,
        watch=lambda f, p, c: seen.append((int(c.start), int(c.size), int(c.block_start), int(c.block_end))),
    )
    assert list(dict.fromkeys(seen)) == [*((i, 1, i, i + 1) for i in range(6, 10)), (10, 2, 10, 16), (12, 4, 10, 16)]


# --- where the reasoning ends --------------------------------------------------------------------------------

TOYS = {"whole": ToyModel(), "blocks": ToyModel(block_causal=True, seed=2)}
FORMS = {"window": "ar=window", "wide": "ar=wide", "frontier": "mode=frontier,w=1"}
PLACES = [("blocks", "window"), ("blocks", "wide"), ("blocks", "frontier"), ("whole", "frontier")]
places = pytest.mark.parametrize(("toy", "form"), PLACES)


def run(toy, form, rows=ROWS, length=LENGTH, more=""):
    turns = Turns()
    made = decode(
        TOYS[toy], get(f"hybrid:{FORMS[form]},answer=llada{more}"), rows, length=length, windows=Blocks(BLOCK),
        watch=turns,
    )
    return made, turns


@pytest.mark.parametrize(("place", "n"), turns(PLACES, [1, 2, 3, 6]))
def test_a_boundary_of_several_tokens_is_found_wherever_it_stands(place, n):
    """In one window, over the edge of two, or longer than any: the reasoning ends with its first occurrence."""
    toy, form = place
    whole, _ = run(toy, form, [[1, 2]], more=f",budget={LENGTH}")
    text = whole[0].tokens
    for i in range(LENGTH - n):
        first = next(j for j in range(LENGTH) if text[j : j + n] == text[i : i + n])
        made, turns = run(toy, form, [[1, 2]], more=f",boundary={'+'.join(map(str, text[i : i + n]))}")
        assert turns.begun == [2 + first + n]
        assert made[0].tokens[: first + n] == text[: first + n]
        assert [phase for (phase,) in turns.phases if phase == 0] == [0] * (first + n)


@places
def test_a_budget_is_counted_in_generated_positions(toy, form):
    _, turns = run(toy, form, more=",budget=6")
    assert turns.begun == [len(prompt) + 6 for prompt in ROWS]


@places
def test_the_first_of_boundary_and_budget_ends_it(toy, form):
    whole, _ = run(toy, form, [[1, 2]], more=f",budget={LENGTH}")
    at = whole[0].tokens.index(whole[0].tokens[4])
    for budget in (3, 9):
        _, turns = run(toy, form, [[1, 2]], more=f",budget={budget},boundary={whole[0].tokens[4]}")
        assert turns.begun == [2 + min(budget, at + 1)]


@pytest.mark.parametrize("form", FORMS)
def test_a_boundary_that_begins_in_the_prompt_is_none(form):
    whole, _ = run("blocks", form, [[1, 2]], more=f",budget={LENGTH}")
    _, turns = run("blocks", form, [[1, 2]], more=f",boundary=2+{whole[0].tokens[0]},budget=9")
    assert turns.begun[0] > 3


@places
def test_rows_turn_at_steps_of_their_own_in_shared_forwards(toy, form):
    whole, _ = run(toy, form, more=f",budget={LENGTH}")
    more = f",boundary={whole[0].tokens[2]},budget=11"
    made, turns = run(toy, form, more=more)
    assert len({begun - len(prompt) for begun, prompt in zip(turns.begun, ROWS, strict=True)}) > 1
    assert any(len(set(phases)) > 1 for phases in turns.phases)
    for prompt, row in zip(ROWS, made, strict=True):
        assert run(toy, form, [prompt], more=more)[0] == [row]


def test_the_reasoning_keeps_to_its_budget_when_the_frontier_is_wide():
    turns = Turns()
    decoder = get("hybrid:mode=frontier,w=8,base=(threshold:tau=0.0),budget=5")
    decode(TOYS["whole"], decoder, ROWS, length=LENGTH, watch=turns)
    assert turns.phases[0] == [0, 0, 0]
    assert turns.begun == [len(prompt) + 5 for prompt in ROWS]


@dataclass(frozen=True)
class Eraser(Decoder):
    """Takes everything back that it may, three times a window."""

    revises: ClassVar[bool] = True

    def step(self, s: State, p: Pred) -> State:
        return s.reopen((s.step < 3)[:, None] & s.editable).commit(s.open & (s.step % 2 == 0)[:, None], *p.draw(s))

    def done(self, s: State) -> torch.Tensor:
        return ~s.open.any(-1) & (s.step > 2)


@places
def test_the_answers_decoder_cannot_revise_the_reasoning(toy, form):
    whole, _ = run(toy, form, more=f",budget={LENGTH}")
    decoder = get(f"hybrid:{FORMS[form]},budget=6", answer=Eraser())
    assert decoder.revises
    rows = decode(TOYS[toy], decoder, ROWS, length=LENGTH, windows=Blocks(BLOCK))
    assert [row.tokens[:6] for row in rows] == [row.tokens[:6] for row in whole]
    assert [row.nfe for row in rows] == [6 + 3 * 3] * 3  # three windows that hold some of the answer


@dataclass(frozen=True)
class Counts(Decoder):
    """Writes how many windows it has begun, plus 3; the first one is that in which the row joins."""

    def init(self, s: State) -> State:
        return replace(s, memo=(torch.zeros_like(s.key),))

    def begin(self, s: State) -> State:
        return replace(s, memo=(s.memo[0] + 1,))

    def step(self, s: State, p: Pred) -> State:
        tokens = (s.memo[0][:, None] + 3).expand_as(s.tokens)
        return s.commit(s.open, tokens, torch.ones_like(s.confidence))


@places
def test_the_answers_decoder_begins_where_the_answer_does(toy, form):
    """Windows before that are not its own; the rest of the one in which the reasoning ends is."""
    rows = decode(
        TOYS[toy], get(f"hybrid:{FORMS[form]},budget=6", answer=Counts()), ROWS, length=LENGTH, windows=Blocks(BLOCK)
    )
    first = 3 if form == "window" else 2  # windows of one: the rest of the one in which it ended is empty
    for row in rows:
        number = [t - 3 for t in row.tokens[6:]]
        assert number[0] == first
        assert sorted(set(number)) == list(range(first, first + 3))


@pytest.mark.parametrize("seed", range(6))
def test_a_boundary_counts_when_nothing_is_open_left_of_it(seed):
    """The frontier may commit it before that."""

    def watch(f, p, c):
        turned = c.memo.answering & (f.phase == 0)
        left = c.open & (c.column < c.memo.begun[:, None])
        assert not (turned & left.any(-1)).any()

    decoder = get("hybrid:mode=frontier,w=6,base=(threshold:tau=0.5),boundary=3")
    decode(ToyModel(seed=seed), decoder, ROWS, length=LENGTH, watch=watch)


def test_a_boundary_does_not_reach_over_what_is_given():
    """Windows of a bidirectional model pass over it, so two windows may not be neighbours."""
    toy = TOYS["whole"]
    how = {"prompts": [[1, 10, 2, 2, 10, 2, 10, 10]], "length": 0, "windows": Blocks(1), "infill": True}
    (made,) = decode(toy, get("hybrid:mode=frontier,budget=4"), **how)
    found = []
    for a, b in zip(made.tokens, made.tokens[1:], strict=False):
        turns = Turns()
        decode(toy, get(f"hybrid:mode=frontier,boundary={a}+{b}"), **how, watch=turns)
        found += turns.begun
    assert found == [0, 0, 8]  # only the last two holes are neighbours


def test_a_budget_of_steps_for_the_answer_is_split_as_over_the_whole_row():
    with pytest.raises(UsageError, match="13 steps cannot be split evenly over 2 blocks"):
        decode(TOYS["whole"], get("hybrid:budget=2,answer=(llada:steps=13)"), ROWS, length=8, windows=Blocks(BLOCK))
    (row,) = decode(TOYS["whole"], get("hybrid:budget=8,w=1,answer=(llada:steps=2)"), ROWS[:1], length=16)
    assert row.nfe == 8 + 2


def test_auto_looks_at_the_model():
    for toy, mode in (("blocks", "block"), ("whole", "frontier")):
        auto, said = (decode(TOYS[toy], get(f"hybrid:mode={m},budget=5"), ROWS, length=LENGTH) for m in ("auto", mode))
        assert auto == said


def test_behind_a_reasoning_a_decoder_is_what_it_is_anyway():
    for spec in ("threshold", "daedal", "wino", "s2d2:temperature=1.0"):
        behind, alone = (
            decode(TOYS["blocks"], get(s), ROWS, length=12, windows=Blocks(BLOCK), seed=3)
            for s in (f"after_reasoning:reasoner=x:y,base=({spec})", spec)
        )
        assert behind == alone


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hybrid:mode=two-model,answer=llada", "after_reasoning:base=llada"),
        ("hybrid:reasoner=x:y,budget=4,w=3", "after_reasoning:reasoner=x:y,budget=4"),
        ('hybrid:mode=two-model,boundary="a, b",reasoner=hf:/b,answer=(threshold:tau=0.5)',
         'after_reasoning:boundary="a, b",reasoner=hf:/b,base=(threshold:tau=0.5)'),
        ("hybrid:mode=frontier,reasoner=none", "hybrid:mode=frontier"),
    ],
)
def test_two_models_once_were_a_mode_of_it(old, new):
    with pytest.warns(OldSpelling) as told:
        assert get(old) == get(new)
    assert [str(w.message) for w in told] == [f"{old} is now written {new}"]


def test_it_needs_what_its_parts_need():
    for blocks in (False, True):
        assert "causal" not in asks(get("hybrid"), blocks)
        assert ("causal" in asks(get("hybrid:ar=wide"), blocks)) == blocks
        assert "causal" not in asks(get("hybrid:mode=frontier,ar=wide"), blocks)
        assert "causal" in asks(get("hybrid:answer=left_to_right"), blocks)
    assert get("hybrid:answer=ancestral").needs_mask
    assert get("frontier:base=(llada:steps=4)").steps == 4
    assert get("hybrid").phases == ("reasoning", "answer")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ('hybrid:boundary=""', "boundary is an empty text"),
        ("hybrid:boundary=3+-1", "must be a text or token ids, not 3\\+-1"),
        ("after_reasoning:boundary=3+-1", "must be a text or token ids, not 3\\+-1"),
        ("hybrid:mode=block,reasoner=a:b", "writes the reasoning in mode two-model, not in mode block"),
        ("hybrid:answer=treshold", "unknown strategy 'treshold'; did you mean 'threshold'"),
        ('hybrid:boundary="a', "is not a quoted text"),
        ("hybrid:budget=0", "budget must be at least 1"),
    ],
)
def test_a_mistake_gets_one_clear_line(spec, says):
    with pytest.raises(UsageError, match=says) as e:
        get(spec)
    assert "\n" not in str(e.value)


def test_a_text_is_no_boundary_where_there_is_no_tokenizer():
    with pytest.raises(UsageError, match="'####' is a text, and this host has no tokenizer; give token ids"):
        decode(TOYS["blocks"], get("hybrid:boundary=####"), ROWS, length=4)


@pytest.mark.parametrize(
    "text", ["####", " #", "</think>", "a, b", "12+7", "12", "none", '"', "\n\n", "(x)", "-", "a\\"]
)
def test_every_text_can_be_a_boundary_in_a_spec(text):
    made = Hybrid(boundary=text)
    assert get(spec_of(made)) == made
    assert get(f"frontier:base=({spec_of(made)}),w=3").base == made


# --- order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", TOYS)
def test_a_frontier_as_wide_as_the_window_is_its_base(toy):
    wide, base = (
        decode(TOYS[toy], get(spec), ROWS, length=12)
        for spec in ("frontier:w=99,base=(threshold:tau=0.3)", "threshold:tau=0.3")
    )
    assert wide == base


@pytest.mark.parametrize("w", [1, 3])
def test_nothing_is_committed_beyond_the_frontier(w):
    def watch(f, p, c):
        new = (c.committed_at == c.clock[:, None] - 1) & c.live[:, None]
        before = c.open | new
        frontier = before.long().argmax(-1)
        assert (~new | (c.column < frontier[:, None] + w)).all()

    rows = decode(TOYS["whole"], get(f"frontier:w={w},base=(threshold:tau=0.2)"), ROWS, length=LENGTH, watch=watch)
    assert all(row.nfe == LENGTH if w == 1 else row.nfe < LENGTH for row in rows)


def state(open_):
    B, W = open_.shape
    zero, rows = torch.zeros(B, W, dtype=torch.long), torch.zeros(B, dtype=torch.long)
    return State(
        tokens=zero + 2, open=open_, editable=torch.ones_like(open_), confidence=zero.float(), committed_at=zero - 1,
        position=torch.arange(W).expand(B, W), size=rows + W, room=rows + W, opened=open_.sum(-1),
        windows=rows + 1, step=rows, clock=rows, key=rows,
        mask_id=2, vocab=3,
    )


def test_pard_commits_a_prefix_and_at_least_one():
    confidence = torch.tensor([[0.95, 0.99, 0.6, 0.99], [0.6, 0.99, 0.99, 0.99], [0.95, 0.2, 0.95, 0.6]])
    open_ = torch.tensor([[True] * 4, [True] * 4, [True, False, True, True]])  # what is given is passed over
    logits = torch.stack([confidence, 1 - confidence, torch.zeros(3, 4)], -1).log()
    p = Pred(logits, torch.where(open_, torch.arange(4), 4), 4)
    after = get("pard:tau=0.9").step(state(open_), p)
    assert (open_ & ~after.open).tolist() == [
        [True, True, False, False],
        [True, False, False, False],
        [True, False, True, False],
    ]


# --- in text ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano():
    return load_model("nano:attention=block")


@pytest.mark.parametrize("form", FORMS)
def test_nano_reasons_up_to_a_text_and_answers(nano, form):
    chosen = items(TASKS["chain"], "easy", "validation", 8)
    run = Generator(nano, f'hybrid:{FORMS[form]},answer=threshold,boundary=" #"')
    turns = []
    made = run([x.prompt for x in chosen], length=24, watch=lambda f, p, c: turns.append(c.memo.answering.all()))
    assert sum(TASKS["chain"].grade(x.problem, m.text).exact for x, m in zip(chosen, made, strict=True)) >= 7
    assert turns[-1]


def test_a_boundary_is_tokenized_without_what_the_tokenizer_begins_with(nano):
    class Begins:
        def encode(self, text):
            return [700, *nano.tokenizer.encode(text)]

    run = Generator(nano, 'hybrid:boundary=" #"')
    object.__setattr__(run, "loaded", type("Loaded", (), {"tokenizer": Begins()}))
    assert run.decoder.tokenized(run.ids).boundary == tuple(nano.tokenizer.encode(" #"))


PROMPT = items(TASKS["chain"], "easy", "validation", 1)[0].prompt
ARGS = [
    "generate", "-m", "nano:attention=block", "-d", 'hybrid:mode=block,answer=threshold,boundary=" #"', "-n", "24",
    PROMPT,
]


def test_watch_says_which_phase_a_forward_was():
    done = CliRunner().invoke(main, [*ARGS, "--watch"])
    lines = [line.split() for line in done.stdout.splitlines()[:-1]]
    phases = [word for _, word, *_ in lines]
    assert phases == sorted(phases, reverse=True)
    assert set(phases) == {"reasoning", "answer"}


def test_phases_have_colours_of_their_own(nano, monkeypatch):
    monkeypatch.setattr("decoders.cli.show.is_terminal", lambda: False)
    run = Generator(nano, 'hybrid:boundary=" #"')
    watching, phase = Watching(run, infill=False), []
    run(
        PROMPT, length=24, watch=lambda f, p,
        c: (watching(f, p, c), phase.append(int(f.phase[0])), phase.append(list(watching.runs(c)))),
    )
    runs = phase[-1]
    assert [r.phase for r in runs] == [0, 1]
    assert runs[0].text.endswith(" #")
    first, second = (watching.style(r) for r in runs)
    assert first != second
    drawn = watching.drawn(runs, 1)
    assert drawn.plain.splitlines()[0] == f"forward {watching.forwards} answer"
    assert {str(s.style) for s in drawn.spans} >= {first, second}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hybrid:mode=block", "works on block-causal models only, and this model is not one"),
        ("after_reasoning", "AfterReasoning needs a reasoner"),
    ],
)
def test_a_generator_refuses_a_hybrid_that_cannot_be_one(spec, says):
    with pytest.raises(UsageError, match=says):
        Generator("nano", spec)
