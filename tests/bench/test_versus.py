"""Twins that differ in what a position sees and in what they predict, and in nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from random import Random

import pytest
import torch
from click.testing import CliRunner

from decoders.cli.app import main
from decoders.core import UsageError
from decoders.likelihood import likelihoods
from decoders.models.source import load_model
from decoders_bench.nano.batches import Example
from decoders_bench.nano.train import create
from decoders_bench.tasks import GENERATED
from decoders_bench.versus import asks, costs, stages
from decoders_bench.versus.charts import ticks
from decoders_bench.versus.checkpoints import write
from decoders_bench.versus.claims import claims, crossed, crossing, judged_together, same
from decoders_bench.versus.equal import AXES
from decoders_bench.versus.examples import canaries, encoded, levels, of_step, segmenter
from decoders_bench.versus.looks import decoded, items, losses, questions
from decoders_bench.versus.moderated import Prior, fitted, interval, ratio, trigamma_inverse
from decoders_bench.versus.packing import batch, objective, of_stream, packed, shown
from decoders_bench.versus.page import page
from decoders_bench.versus.plan import CANARIES, TASKS, Plan, Twin
from decoders_bench.versus.stack import Stack
from decoders_bench.versus.tables import PARTS, same_line, sentence
from decoders_bench.versus.train import Run, drawn, export, go, initial, network_plan, weights_of
from support.versus import THREE, TINY, cost_row, half, results

ALONE = replace(TINY, seeds=1, regimes=("fresh",))


def stack_of(plan, twins=None):
    return Stack([initial(plan, t) for t in twins or plan.twins], plan.heads)


# what is the same


def test_a_stack_is_its_networks_side_by_side():
    b = drawn(TINY, 0)
    states = stack_of(TINY)(b.tokens, b.position, b.sees)
    for number, twin in enumerate(TINY.twins):
        alone = create(network_plan(TINY), len(segmenter()))
        alone.load_state_dict(initial(TINY, twin))
        want = alone.model(b.tokens[number], b.position[number], b.sees[number]).flatten(0, 1)
        assert torch.allclose(states[number], want, atol=1e-5)


def test_twins_of_a_seed_begin_with_the_same_bits_and_see_the_same_examples():
    own = {t.kind: initial(ALONE, t) for t in ALONE.twins}
    for name, x in own["ar"].items():
        assert torch.equal(x, own["mdm"][name])
        assert torch.equal(x, own["block"][name])
    assert not torch.equal(own["ar"]["lm_head.weight"], own["again"]["lm_head.weight"])
    made = of_stream(ALONE, "fresh", 0, 3)
    masked = made.tokens == segmenter().mask
    assert torch.equal(made.tokens.where(~masked, made.tokens[0]), made.tokens[0].expand_as(made.tokens))
    assert masked.any(-1).tolist() == [False, True, True, False]


def test_other_seeds_and_steps_have_other_examples():
    seen = [of_step(TINY, "fresh", seed, step) for seed, step in ((0, 0), (0, 1), (1, 0))]
    assert seen[0] == of_step(TINY, "fresh", 0, 0)
    assert seen[0] != seen[1]
    assert seen[0] != seen[2]


def test_a_regime_of_few_examples_has_no_others():
    plan = replace(TINY, steps=200)
    every = [e for step in range(100) for e in of_step(plan, "repeat:20", 0, step)]
    assert 10 < len({str(e) for e in every if e.prompt[0] != encoded("Code:")[0]}) <= 20


def test_each_canary_is_shown_as_often_as_it_says():
    plan = replace(ALONE, steps=400, examples=24)
    shown_levels = levels(plan)
    assert shown_levels == (1, 4, 16)
    said = Counter(
        str(e.prompt) for step in range(plan.steps) for e in of_step(plan, "fresh", 0, step)
        if e.prompt[0] == encoded("Code:")[0]
    )
    own = canaries(0, shown_levels)
    assert [said[str(encoded(prompt))] for prompt, _, _ in own] == [times for _, _, times in own]
    assert sum(times == 0 for _, _, times in own) == 3 * CANARIES


def test_texts_are_encoded_as_the_tokenizer_does():
    for name in TASKS:
        task, rung = name.split("/")
        for item in GENERATED[task].items(rung, "validation", 20):
            for told in (item.prompt, item.answer):
                assert encoded(told) == segmenter().encode(told)


# what differs


def rows_of_one(size=8, prompt=3):
    return packed([Example(list(range(10, 10 + prompt)), list(range(20, 20 + size)), size)], 16)


def noise(size, rng):
    return torch.tensor([[rng.random() for _ in range(size)]], dtype=torch.double)


@pytest.mark.parametrize("kind", ["ar", "mdm", "block"])
def test_an_objective_bounds_the_mean_of_all_positions(kind):
    """With the same loss everywhere, it is that of all canvas positions, times the root of their number, in the
    mean."""
    rows, rng, sums = rows_of_one(), Random(0), []
    for _ in range(300):
        level, pick = (torch.tensor([rng.random()], dtype=torch.double) for _ in range(2))
        tokens, _, source, weight = objective(kind, rows, noise(8, rng), level, pick, 1)
        sums.append(float(weight.sum()))
        hidden = (tokens == 1).nonzero().flatten().tolist()
        counted = (source - (0 if kind != "ar" else -1))[weight > 0].tolist()
        assert hidden == ([] if kind == "ar" else sorted(counted))
    assert sum(sums) / len(sums) == pytest.approx(8**0.5, rel=0.1)
    if kind != "block":
        assert min(sums) == pytest.approx(max(sums))


@pytest.mark.parametrize("kind", ["ar", "mdm", "block"])
def test_what_a_position_sees(kind):
    """Another token at a position changes the predictions of those that may see it, and no others."""
    plan = replace(ALONE, kinds=(kind,))
    examples = [Example([10, 11, 12], [20, 21, 22, 23, 24], 8), Example([30, 31], [40, 41], 8)]
    made = batch([shown(examples, [kind], 32, "key")], 32)
    stack = stack_of(plan, [Twin(kind, "fresh", 0)])
    before = stack(made.tokens, made.position, made.sees)[0]
    other = made.tokens.clone()
    where = int((made.position[0, 0] == 6).nonzero()[0])
    other[0, 0, where] = 50
    changed = ((stack(other, made.position, made.sees)[0] - before).abs().amax(-1) > 1e-6).nonzero().flatten().tolist()
    inside = [i for i in range(32) if made.segment[0, 0, i] == made.segment[0, 0, where]]
    first = {"ar": 6, "mdm": 0, "block": 4}[kind]
    assert changed == [i for i in inside if made.position[0, 0, i] >= first]


def test_longer_rows_hold_more_examples_and_lose_none():
    examples = of_step(TINY, "fresh", 0, 0)
    rows = packed(examples, 96)
    for g, e in enumerate(examples):
        at = rows.place[g][rows.place[g] >= 0]
        assert rows.tokens[at][: len(e.answer)].tolist() == e.answer
        assert len(at) == e.size
        assert rows.position[at].tolist() == list(range(len(e.prompt), len(e.prompt) + e.size))


# training


def draw(plan):
    return lambda step: drawn(plan, step)


def trained(plan, where, deadline=float("inf")):
    where.mkdir(exist_ok=True)
    run = Run(plan, where, "cpu")
    go(run, draw(plan), lambda run: None, 3, deadline)
    return run


def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(tmp_path):
    plan = replace(ALONE, kinds=("ar", "mdm"))
    export([trained(plan, tmp_path / "a")], tmp_path / "a", {})
    (tmp_path / "b").mkdir()
    run = Run(plan, tmp_path / "b", "cpu")
    go(run, draw(plan), lambda run: None, 3, time.monotonic() + 0.05)
    assert run.step < plan.steps
    export([trained(plan, tmp_path / "b")], tmp_path / "b", {})
    a, b = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    curves = [json.loads((tmp_path / x / "trained.json").read_text())["curve"] for x in "ab"]
    assert [x["loss"] for x in curves[0]] == [x["loss"] for x in curves[1]]


def trained_in_parts(out, workers, begun):
    """Weights and curve."""
    out.mkdir()
    told = []
    if begun:
        run = Run(TINY, out, "cpu", 0)
        for step in range(3):
            run.one_step(drawn(TINY, step, run.streams))
        run.save()
    stages.train(TINY, out, "cpu", workers, lambda *x: told.append(x))
    assert told[-1] == ("training", 4 * TINY.steps, 4 * TINY.steps)
    return weights_of(out), json.loads((out / "trained.json").read_text())["curve"]


@pytest.mark.slow
def test_two_workers_train_what_one_does(tmp_path):
    """Bit for bit, also if one of the streams was begun before; what is told adds up to all steps."""
    weights, curve = trained_in_parts(tmp_path / "one", 1, False)
    others, again = trained_in_parts(tmp_path / "two", 2, True)
    assert others.keys() == weights.keys()
    assert all(torch.equal(x, others[key]) for key, x in weights.items())
    for name in ("step", "right", "loss", "training"):
        assert [look[name] for look in again] == [look[name] for look in curve]


def test_streams_by_themselves_are_the_twins_of_the_whole_plan(tmp_path):
    """In its order, with the same examples."""
    runs = [Run(TINY, tmp_path, "cpu", i) for i in range(len(TINY.streams))]
    assert [t for run in runs for t in run.twins] == TINY.twins
    one, every = drawn(TINY, 2, TINY.streams[1:2]), drawn(TINY, 2)
    rows = one.tokens.shape[1]
    mine = [i for i, t in enumerate(TINY.twins) if (t.regime, t.seed) == TINY.streams[1]]
    assert torch.equal(one.tokens, every.tokens[mine][:, :rows])


def test_a_run_that_was_begun_in_one_piece_goes_on_in_one_piece(tmp_path):
    plan = replace(TINY, kinds=("ar",), steps=2)
    export([trained(plan, tmp_path / "whole")], tmp_path / "whole", {})
    go(Run(plan, tmp_path, "cpu"), draw(plan), lambda run: None, 3)
    stages.train(plan, tmp_path, "cpu", 2, lambda *x: None)
    assert not list(tmp_path.glob("training-*"))
    a, b = weights_of(tmp_path), weights_of(tmp_path / "whole")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_nothing_of_a_step_stays_on_the_host(tmp_path, monkeypatch):
    """Tensors without storage are on a device of their own, so one that was left behind is found without a GPU."""
    bmm = torch.bmm
    monkeypatch.setattr(torch, "autocast", lambda *args, **how: nullcontext())  # which does not know that device
    monkeypatch.setattr(torch, "bmm", lambda a, b: bmm(a, b.to(a.dtype)))
    run = Run(ALONE, tmp_path, "meta")
    run.one_step(drawn(ALONE, 0).small())
    run.one_step(drawn(ALONE, 1))
    assert run.smooth.device.type == "meta"
    assert losses(run.stack, run.known).device.type == "meta"
    assert decoded(run.stack, ALONE.twins, questions(items(1)), "meta").device.type == "meta"


def test_what_goes_from_one_process_to_another_is_the_same():
    made = drawn(TINY, 0)
    back = made.small().to("cpu")
    assert all(torch.equal(x, vars(back)[name]) for name, x in vars(made).items())


def test_a_state_of_another_plan_is_refused(tmp_path):
    plan = replace(ALONE, kinds=("ar",), steps=1)
    trained(plan, tmp_path)
    with pytest.raises(UsageError, match="another plan"):
        Run(replace(plan, hidden=64), tmp_path, "cpu")
    (tmp_path / "training.pt").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        Run(plan, tmp_path, "cpu")


@pytest.mark.slow
def test_kill_9_loses_nothing(tmp_path):
    """The process is killed at some moment after its first state, again and again; the weights are those of a run that
    nobody stopped."""
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from decoders_bench.versus.plan import Plan\n"
        "from decoders_bench.versus.train import Run, drawn, export, go\n"
        "plan = Plan(steps=60, seeds=1, regimes=('fresh',), kinds=('ar', 'mdm'), examples=8, hidden=32, layers=1,"
        " heads=2, inner=32, looks=2, items=1)\n"
        "out = Path(sys.argv[1]); run = Run(plan, out, 'cpu')\n"
        "go(run, lambda step: drawn(plan, step), lambda run: None, 2)\n"
        "export([run], out, {})\n"
    )
    for name, patience in (("a", None), ("b", 0.4)):
        where = tmp_path / name
        where.mkdir()
        while not (where / "trained.json").exists():
            process = subprocess.Popen([sys.executable, "-c", code, str(where)])
            if patience is None:
                assert process.wait() == 0
                continue
            while process.poll() is None and not (where / "training.pt").exists():
                time.sleep(0.01)
            try:
                process.wait(patience + 8 * patience * (where / "training.pt").exists())
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            patience *= 1.3
    a, b = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert all(torch.equal(a[name], b[name]) for name in a)


# checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    torch.set_num_threads(1)
    plan = replace(ALONE, kinds=("ar", "mdm", "block"))
    made = trained(plan, out)
    export([made], out, {"hardware": "here"})
    write(plan, weights_of(out), out)
    return out


def reference(run, name, tokens, sees):
    own = {k.removeprefix(f"{name}/"): x.float() for k, x in weights_of(run).items() if k.startswith(f"{name}/")}
    network = create(network_plan(ALONE), len(segmenter()))
    network.load_state_dict(own)
    place = torch.arange(len(tokens))[None]
    with torch.inference_mode():
        return network.lm_head(network.model(torch.tensor([tokens]), place, sees[None]))[0].log_softmax(-1)


def test_the_autoregressive_twin_is_an_ordinary_checkpoint(run):
    """Its likelihoods are those of its network with a causal mask."""
    prompt, answer = encoded("Sort: c b a"), [*encoded(" a b c"), segmenter().end]
    found = likelihoods(load_model(str(run / "ar")).model, [(prompt, answer)])[0]
    row = prompt + answer
    said = reference(run, "ar", row, torch.ones(len(row), len(row), dtype=torch.bool).tril())
    want = sum(float(said[len(prompt) + i - 1, token]) for i, token in enumerate(answer))
    assert found.exact
    assert found.nats == pytest.approx(want, abs=1e-3)


@pytest.mark.parametrize("name", ["mdm", "block"])
def test_the_masked_twins_are_ordinary_checkpoints(run, name):
    prompt, token = encoded("Sort: c b a"), encoded(" a")
    found = likelihoods(load_model(str(run / name)).model, [(prompt, token)], block=4)[0]
    place = torch.arange(len(prompt) + 1)
    sees = torch.ones(len(place), len(place), dtype=torch.bool)
    if name == "block":
        sees = place // 4 <= place[:, None] // 4
    want = float(reference(run, name, [*prompt, segmenter().mask], sees)[-1, token[0]])
    assert found.exact
    assert found.nats == pytest.approx(want, abs=1e-3)


@pytest.mark.slow
def test_costs_of_every_setting_of_the_twins(run, monkeypatch):
    """Turns are all timed; Jacobi iteration makes the tokens of one by one; the caches compute fewer positions and the
    same forwards."""
    monkeypatch.setattr(costs, "ALONE", 1)
    turns = []
    twins = {"ar": "ar", "mdm": "mdm", "block": "block", "again": "ar"}
    rows = costs.costs({kind: str(run / name) for kind, name in twins.items()}, 0, 1, 2, lambda: turns.append(1))
    assert [(x["kind"], x["decoder"], x["cache"]) for x in rows] == [
        (kind, x.decoder, x.cache) for kind in twins for x in costs.swept(kind)
    ]
    assert len(turns) == 2 * len(rows)
    for x in rows:
        assert len(x["right"]) == len(x["forwards"]) == len(TASKS)
        assert len(x["alone"]) == len(x["together"]) == 2
        assert min(x["alone"]) > 0
        assert x["flops"] > 0
    own = {(x["kind"], x["decoder"], x["cache"]): x for x in rows}
    assert own["ar", "coupled", "exact"]["right"] == own["ar", "left_to_right", "exact"]["right"]
    assert own["again", "left_to_right", "exact"]["forwards"] == own["ar", "left_to_right", "exact"]["forwards"]
    plain, stored, blocks = (
        own[kind, "llada", cache] for kind, cache in (("mdm", "exact"), ("mdm", "dual"), ("block", "block"))
    )
    assert plain["forwards"] == stored["forwards"]
    assert plain["positions"] > stored["positions"] > blocks["positions"]
    fixed = own["block", "sdar:by=low_confidence_static,block_steps=1", "block"]
    assert max(fixed["forwards"]) < min(blocks["forwards"])


def test_names_of_checkpoints():
    assert [t.name for t in (Twin("ar", "fresh", 0), Twin("mdm", "fresh", 2), Twin("ar", "repeat:2000", 1))] == [
        "ar", "mdm-2", "ar-repeat2000-1",
    ]


# what is asked


def test_holes_are_of_the_answer_and_the_reworded_prompt_tells_as_much():
    native, told = asks.infilling("shuffle/easy", 4, 0)
    for a, b in zip(native, told, strict=True):
        words = a.item.answer.split()
        known = b.prompt.rpartition(" fill")[2].split()
        assert len(known) == len(words)
        assert all(x in ("_", word) for x, word in zip(known, words, strict=True))
        assert a.prompt.count(asks.HOLE) == known.count("_") == len(words) - len(words) // 2
        assert a.right(a.item.prompt + a.item.answer + asks.STOP)
        assert asks.keeps(b, b.item.answer)
        other = " ".join(sorted(words, reverse=True))
        assert asks.keeps(b, other) == all(x in ("_", y) for x, y in zip(known, other.split(), strict=True))


def test_sums_are_the_same_in_both_wordings_and_deeper_ones_are_deeper():
    first, ahead = asks.stories(6, 0, (2,))
    assert [a.item.problem for a in first] == [a.item.problem for a in ahead]
    assert all(a.right(a.item.answer) for a in (*first, *ahead))
    deep, _ = asks.stories(6, 0, asks.DEEP)
    assert {len(a.item.problem["steps"]) for a in deep} <= {4, 5}
    assert all(len(encoded(a.item.answer)) < a.length for a in deep)


def test_questions_of_a_look_are_the_items_with_masks():
    q = questions(items(1))
    for row, item in enumerate(items(1)):
        prompt = encoded(item.prompt)
        assert q.tokens[row, : len(prompt)].tolist() == prompt
        assert q.tokens[row][q.at[row][q.open[row]]].unique().tolist() == [segmenter().mask]


# claims


def test_equal_twins_are_not_distinguishable():
    found = results(THREE, half)
    assert {c.word for c in (*claims(found, THREE), *same(found, THREE))} == {"not distinguishable"}


def test_a_large_difference_is_found_and_has_its_direction():
    found = results(THREE, lambda t, rng: (rng.random() < 0.5) | (t.kind == "mdm"))
    own = {(c.kind, c.regime, c.text): c for c in claims(found, THREE)}
    c = own["mdm", "fresh", "right answers, all tasks, each with its best decoder"]
    assert c.difference == pytest.approx(0.5, abs=0.15)
    assert 0 < c.low < c.difference < c.high
    assert c.p is not None
    assert c.p < 0.01
    assert {c.word for c in own.values() if c.kind == "block"} == {"not distinguishable"}
    assert "masked diffusion is" in sentence(c).lower() or "not distinguishable" in sentence(c)


def test_seeds_that_disagree_show_nothing_whatever_their_items_say():
    """The difference of each seed is far beyond what its items would explain, and has no direction."""
    found = results(THREE, lambda t, rng: t.kind == ("mdm" if t.seed % 2 else "ar"))
    own = next(c for c in claims(found, THREE) if c.text.startswith("right answers, all"))
    assert own.mcnemar is not None
    assert own.mcnemar < 1e-3
    assert own.p is not None
    assert own.p > 0.5


def first(right, n=40):
    """Marks of n items, of which the first so many are right."""
    return "1" * right + "0" * (n - right)


def with_costs(rows_of):
    """Results of three seeds with the rows that `rows_of(seed)` gives for masked diffusion, against autoregression that
    has 20 of 40 right in 10 forwards, and no other twins."""
    plan = replace(THREE, kinds=("ar", "mdm", "again"))
    found = results(plan, half)
    found["costs"] = [
        [cost_row(kind, first(20), 10) for kind in ("ar", "again")]
        + [cost_row("mdm", right, forwards) for right, forwards in rows_of(seed)] for seed in range(3)
    ]  # fmt: skip
    return {c.text: c for c in claims(found, plan) if c.dimension == "speed"}, found, plan


def test_costs_are_compared_at_equal_accuracy_by_the_settings_next_to_it():
    """Half way between 10 of 40 in 2 forwards and 30 of 40 in 6 are 20 of 40 in 4; a setting that is dearer and no more
    often right does not count. Seconds are those of the turn in which both were measured."""
    own, found, plan = with_costs(lambda seed: [(first(10), 2), (first(30), 6), (first(20), 9), (first(30), 7)])
    assert len(own) == 4
    for text, c in own.items():
        assert c.differences == pytest.approx((-1.3219,) * 3, abs=1e-3)  # 4 against 10, in doublings
        assert c.means == pytest.approx((4.4, 11.0) if "(ms)" in text else (4.0, 10.0))
        assert c.noise > 0
        assert c.low < c.difference < c.high
        assert "x 0.40" in sentence(c)
    check = [c for c in same(found, plan) if c.dimension == "speed"]
    assert [c.word for c in check] == ["not distinguishable"] * 4
    assert all(c.differences == (0.0,) * 3 for c in check)


def test_a_cost_of_every_seed_alike_is_found():
    own, *_ = with_costs(lambda seed: [(first(18), 2 + seed / 8), (first(22), 2.2 + seed / 8)])
    c = own["forwards of an answer at equal accuracy"]
    assert c.high < 0
    assert c.p is not None
    assert c.p < 0.01
    assert c.fewer


def test_costs_without_a_common_accuracy_are_not_compared():
    """Every setting of one is more often right than any of the other; neither order of the two matters."""
    own, found, plan = with_costs(lambda seed: [(first(0), 1), (first(6), 6)])
    (c,) = own.values()
    assert c.word == "no common accuracy"
    assert c.p is None
    nearest = "masked diffusion is right in at most 15.0 % and autoregression is right in at least 50.0 %"
    assert sentence(c).endswith(f"no common accuracy, {nearest}.")
    assert "no common accuracy" in page(found, plan)
    own, *_ = with_costs(lambda seed: [(first(39), 1), (first(40), 6)])
    (c,) = own.values()
    assert "masked diffusion is right in at least 97.5 % and autoregression is right in at most 50.0 %" in sentence(c)


def test_whether_an_accuracy_is_common_is_a_question_to_these_twins():
    """Seeds that disagree on who is ahead, or a gap that the items explain, are no reason not to compare; a gap in
    every seed is one, however much it scatters between them."""
    assert len(with_costs(lambda seed: [(first(5 + 15 * seed), 4)])[0]) == 4
    assert len(with_costs(lambda seed: [(first(19), 4)])[0]) == 4
    (c,) = with_costs(lambda seed: [(first(2 + 6 * seed), 4)])[0].values()
    assert c.word == "no common accuracy"


def test_costs_of_twins_that_are_next_to_never_right_are_not_compared():
    assert sum(c.dimension == "speed" for c in claims(results(THREE, half), THREE)) == 8
    seldom = results(THREE, lambda t, rng: False)
    found = [c for c in (*claims(seldom, THREE), *same(seldom, THREE)) if c.dimension == "speed"]
    assert {c.word for c in found} == {"seldom right"}
    assert "seldom right, block diffusion is right in at most 0.0 %" in sentence(found[1])
    assert "none of 16 differences is found" in same_line(same(seldom, THREE))


def test_the_command_of_a_run_is_told():
    found = results(THREE, half)
    assert PARTS["command"](found, Plan()).endswith("`decoders bench versus -o run`.")
    told = PARTS["command"](found, replace(Plan(), steps=850, kinds=("ar", "mdm")))
    assert told.endswith("`decoders bench versus -o run --kind ar --kind mdm --steps 850`.")


def test_a_page_has_every_twin_in_every_part():
    """The costs of block diffusion stand in the table, and its curves in all four charts."""
    found = results(THREE, half)
    made = page(found, THREE)
    assert made.count("> block diffusion</span>") == len(AXES)
    assert "Block diffusion against autoregression" in made
    assert "| block diffusion | `x` | `exact` |" in PARTS["speed"](found, THREE)
    assert "block diffusion" in PARTS["block"](found, THREE)
    without = replace(THREE, kinds=("ar", "mdm"))
    assert PARTS["block"](results(without, half), without).startswith("This run has no block diffusion")


def test_a_logarithmic_axis_has_ticks_where_its_range_is_narrow():
    assert ticks(5.0, 13.0, True) == [6, 8, 12]
    assert ticks(1.0, 64.0, True) == [1, 2, 4, 8, 16, 32, 64]


def test_results_without_costs_say_so():
    found = results(THREE, half)
    del found["costs"]
    assert not [c for c in claims(found, THREE) if c.dimension == "speed"]
    assert PARTS["speed"](found, THREE).startswith("This run was measured before")
    assert "This run was measured before" in page(found, THREE)


def test_one_seed_tests_nothing():
    found = results(ALONE, half)
    assert {c.word for c in claims(found, ALONE)} == {"one seed"}
    assert "one seed" in sentence(claims(found, ALONE)[0])
    (way,) = (c for c in claims(found, ALONE) if c.text.startswith("right validation") and c.kind == "mdm")
    assert "[" not in sentence(way)  # neither seeds nor items say how sure it is


def test_agreement_beyond_what_items_allow_is_no_evidence():
    low, high, p = interval([0.01, 0.011, 0.01], 0.02, Prior())
    assert low < 0 < high
    assert p is not None
    assert p > 0.5
    assert interval([0.0, 0.0], 0.0, Prior())[2] == 1.0
    assert interval([0.3], 0.02, Prior())[2] is None


def test_what_all_comparisons_say_of_the_scatter_of_seeds():
    """Of ratios that are a chi-square by its degrees of freedom, times a scale, the scale is found, and that all have
    the same; of ratios that differ more than that, how much more."""
    assert trigamma_inverse(float(torch.polygamma(1, torch.tensor(2.5)))) == pytest.approx(2.5, rel=1e-5)
    g = torch.Generator().manual_seed(0)
    chi = torch.randn(4000, 2, generator=g).square().sum(-1) / 2
    own = fitted((3 * chi).tolist(), 2)
    assert own.freedom > 50
    assert own.scale == pytest.approx(3, rel=0.05)
    inverse = 8 / torch.randn(4000, 8, generator=g).square().sum(-1)
    own = fitted((3 * inverse * chi).tolist(), 2)
    assert own.freedom == pytest.approx(8, rel=0.3)
    assert own.scale == pytest.approx(3, rel=0.1)
    assert fitted([1.0, 0.0], 2) == Prior()


def test_no_more_than_a_twentieth_of_nothing_is_found_and_more_of_something():
    g = torch.Generator().manual_seed(1)
    found = {0.0: [], 0.3: []}
    for _ in range(60):
        noise = 0.05 * (0.5 + torch.rand(12, 1, generator=g))  # of a seed, by its items
        seeds = (2 * noise.square()).sqrt() * torch.randn(12, 3, generator=g)
        for effect, ps in found.items():
            own = (effect + seeds).tolist()
            errors = (noise[:, 0] / 3**0.5).tolist()
            prior = fitted([ratio(d, e) for d, e in zip(own, errors, strict=True)], 2)
            ps += [interval(d, e, prior)[2] for d, e in zip(own, errors, strict=True)]
    assert sum(p < 0.05 for p in found[0.0]) / 720 < 0.075
    assert sum(p < 0.002 for p in found[0.3]) / 720 > 0.5


def test_claims_are_corrected_together():
    every = claims(results(THREE, lambda t, rng: (rng.random() < 0.6) | (t.kind == "mdm")), THREE)
    own = [c for c in every if not c.why]
    assert [c.kind for c in every if c.why] == ["mdm"]  # whose costs have no common accuracy with autoregression's
    assert all(c.adjusted is not None and c.p is not None and c.adjusted >= c.p for c in own)
    assert min(c.adjusted for c in own) == pytest.approx(min(1.0, len(own) * min(c.p for c in own)))
    assert judged_together([]) == []


def test_where_a_curve_overtakes_for_good():
    assert crossed([-1.0, 1.0], [0.5, 1.0]) == 0.75
    assert crossed([1.0, -1.0, 1.0], [0.2, 0.4, 0.6]) == pytest.approx(0.5)
    assert crossed([1.0, 1.0], [0.5, 1.0]) is None
    assert crossed([-1.0, -1.0], [0.5, 1.0]) is None
    found = results(THREE, lambda t, rng: True)
    for look, right in zip(found["curve"], (0, 1), strict=True):
        look["right"] = [dict.fromkeys(TASKS, right if t.kind == "mdm" else 1 - right) for t in THREE.twins]
    at = crossing(found, THREE, "fresh", "mdm")
    assert at is not None
    assert at == pytest.approx((0.75, 0.75, 0.75))


def test_the_page_loads_and_runs_nothing():
    found = results(THREE, half)
    made = page(found, THREE)
    assert "<script" not in made
    assert "http" not in made.replace('http-equiv="Content-Security-Policy"', "")
    assert made.count("<table>") == made.count("</table>") >= 6
    assert "not distinguishable" in made
    written = "\n\n".join(part(found, THREE) for part in PARTS.values())
    assert "≤" not in written  # all exact here
    assert "none of" in written


# the command


def test_plans_that_do_not_fit(tmp_path):
    with pytest.raises(UsageError, match="unknown regime 'often'"):
        Plan(regimes=("often",))
    with pytest.raises(UsageError, match="twice"):
        Plan(regimes=("fresh", "fresh"))
    stages.begin(tmp_path / "run", TINY, 1.0, set())
    assert stages.begin(tmp_path / "run", Plan(), 1.0, set())[0] == TINY
    with pytest.raises(UsageError, match="another steps"):
        stages.begin(tmp_path / "run", Plan(), 1.0, {"steps"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="something else"):
        stages.begin(tmp_path / "other", TINY, 1.0, set())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        stages.begin(tmp_path / "file", TINY, 1.0, set())


@pytest.mark.slow
def test_the_command_from_beginning_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "BATCH", 2)  # items of a task whose costs are measured
    monkeypatch.setattr(costs, "ALONE", 1)
    monkeypatch.setattr(costs, "SWEPT", {kind: own[:1] + own[-1:] for kind, own in costs.SWEPT.items()})
    out = tmp_path / "run"
    plan = TINY
    stages.begin(out, plan, 0.1, set())
    done = CliRunner().invoke(main, ["bench", "versus", "-o", str(out), "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.output.splitlines()[-1])
    assert document["command"] == "versus"
    assert {c["verdict"] for c in document["same"]} <= {"not distinguishable", "seldom right"}
    assert {c["dimension"] for c in document["same"]} == {c["dimension"] for c in document["claims"]} - {"data"} | {
        "likelihood"
    }
    assert {c["kind"] for c in document["claims"]} == {"mdm", "block"}
    found = json.loads((out / "results.json").read_text())
    assert [{row["kind"] for row in own} for own in found["costs"]] == [set(plan.kinds)] * plan.seeds
    assert all(len(row["right"]) == len(row["forwards"]) == 2 * len(TASKS) for own in found["costs"] for row in own)
    assert "Autoregression" in (out / "report.html").read_text()
    before = {p: p.stat().st_mtime_ns for p in (out / "measured").iterdir()}
    again = CliRunner().invoke(main, ["bench", "versus", "-o", str(out), "--workers", "1"])
    assert again.exit_code == 0
    assert before == {p: p.stat().st_mtime_ns for p in (out / "measured").iterdir()}
    refused = CliRunner().invoke(main, ["bench", "versus", "-o", str(out), "--seeds", "5"])
    assert refused.exit_code != 0
    assert "another seeds" in refused.output
