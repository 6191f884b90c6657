"""What the benchmarks of caches count and print, at small sizes. No test asserts a time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM

from decoders import Blocks, Generator, UsageError, decode, get, get_cache
from decoders.caches.entropycache import EntropyCache
from decoders.models.adapter import TransformersModel
from decoders_bench.caches.calibrate import NEVER, Sweep, Tried, best_tau, pooled, sweep
from decoders_bench.caches.measure import LENGTHS, Job, Measured, jobs_for, measure, mixed
from decoders_bench.caches.tables import (
    cache_summary,
    cache_table,
    cache_tables,
    cache_time_table,
    calibration_table,
    load_cache_times,
    load_caches,
    load_calibration,
    pays,
    reading,
)
from decoders_bench.caches.timing import PLAIN, SHAPES, Once, Run, Timed, build, recording, time_caches, undisturbed
from decoders_bench.cli import bench
from decoders_bench.common.outcome import Outcome, agreeing, decode_items, hit_rate, lost_and_won, padded
from decoders_bench.common.plain import even, plain_decode, see_both_ways
from decoders_bench.common.replay import Recording, Replayed, ReplayedEntropyCache, record
from decoders_bench.common.results import save
from decoders_bench.common.statistics import mcnemar
from decoders_bench.docs import RESULTS
from decoders_bench.tasks import TASKS, items

MASK = 23


def run(*args):
    return CliRunner().invoke(bench, [str(a) for a in args], catch_exceptions=False)


def outcome(right=True, text=(), places=(), nfe=1, computed=10, reused=0):
    return Outcome(right, tuple(text), tuple(places), nfe, computed, reused)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, initializer_range=0.5, bos_token_id=None, eos_token_id=None,
    )
    net = LlamaForCausalLM(config).double().eval()
    see_both_ways(net)
    return net


# outcomes


def test_agreement_is_of_texts_or_of_whole_canvases():
    a = [outcome(text=(1, 2, 3, 4), places=(1, 2, 3, 4, 0, 0)), outcome(text=(), places=(0, 0))]
    b = [outcome(text=(1, 2, 9), places=(1, 2, 9, 0, 0, 0)), outcome(text=(), places=(0, 5))]
    assert agreeing(a, b) == pytest.approx((2 / 4 + 1) / 2)
    assert agreeing(a, b, whole=True) == pytest.approx((4 / 6 + 1 / 2) / 2)


def test_hit_rate_lost_and_won():
    assert hit_rate([outcome(computed=30, reused=10), outcome(computed=0, reused=40)]) == pytest.approx(50 / 80)
    assert hit_rate([outcome(computed=0)]) == 0
    none, own = [outcome(right=r) for r in (1, 1, 1, 0)], [outcome(right=r) for r in (1, 0, 0, 1)]
    assert lost_and_won(none, own) == (2, 1)


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (8, 1, 20 / 512)]
)
def test_mcnemar_is_the_exact_binomial_test(lost, won, p):
    assert mcnemar(lost, won) == pytest.approx(p)


def test_a_batch_counts_what_generation_counts_and_the_padding():
    chosen = items(TASKS["chain"], "easy", "test", 3)
    batch = decode_items(Generator("nano", "threshold", "none"), chosen, length=24, block=8)
    made = Generator("nano", "threshold", "none")([x.prompt for x in chosen], length=24, block=8)
    assert [x.nfe for x in batch.outcomes] == [g.nfe for g in made]
    assert [x.computed for x in batch.outcomes] == [g.positions_computed for g in made]
    assert [x.text for x in batch.outcomes] == [g.tokens for g in made]
    assert batch.run >= sum(x.computed for x in batch.outcomes)
    assert all(len(x.places) == 24 for x in batch.outcomes)


def test_padding_is_to_the_fullest_row_or_in_two_parts():
    def asked(*counts):
        return torch.arange(16) < torch.tensor(counts)[:, None]

    assert padded(asked(6, 5), (4, 8, 16)) == 2 * 8
    assert padded(asked(15, 2, 0), (1, 2, 4, 8, 16)) == 16 + 2 * 2
    assert padded(asked(15, 2, 0), (16,)) == 3 * 16
    assert padded(asked(15, 2, 0), (1, 2, 4, 8, 16), whole=True) == 3 * 16


def test_the_padding_is_what_the_adapter_runs(net):
    model, shapes, runs = TransformersModel(net, mask_id=MASK), [], []
    session = model.session

    def listening(need):
        inner = session(need)
        run_ = inner.run
        inner.run = lambda rows, at, index, *x: (shapes.append(tuple(index.shape)), run_(rows, at, index, *x))[1]
        return inner

    model.session = listening
    cache = get_cache("entropycache:tau=1.0,k=2")
    decode(
        model, get("threshold:tau=0.3"), [[1, 2], [3], [4, 5, 6]], length=12, windows=Blocks(4), cache=cache,
        watch=lambda f, p, c: runs.append(padded(f.compute, cache.sizes(15, 4))),
    )
    assert sum(rows * columns for rows, columns in shapes) == sum(runs)


def test_a_cut_batch_leaves_places_undecided():
    (made,) = decode_items(
        Generator("nano", "llada", "none"), items(TASKS["chain"], "easy", "test", 1), length=24, block=8, max_steps=2
    ).outcomes
    assert made.places.count(-1) == 22


# caches on nano


def test_a_table_holds_every_cache_against_none():
    rows = replace(LENGTHS[64], alone=1, batched=2)
    none, exact, never = measure(Job(rows, "llada:steps=8", ("exact", "entropycache:tau=1e9,k=0")))
    assert (none.cache, exact.cache, never.cache) == ("none", "exact", "entropycache:tau=1e9,k=0")
    assert (none.ratio_alone, none.ratio_batched, none.agreement, none.hit_rate) == (1, 1, 1, 0)
    assert (exact.agreement, exact.lost, exact.won, exact.computed, exact.nfe) == (1, 0, 0, none.computed, none.nfe)
    assert never.computed < none.computed
    assert never.hit_rate > 0
    assert never.padded >= 1
    assert none.n == 2
    assert none.place == (64, "nano", "llada:steps=8")


def test_rows_whose_batches_are_cut_are_graded_one_by_one():
    rows = replace(LENGTHS[64], alone=1, batched=2, forwards=2, ignore_eos=True)
    (none,) = measure(Job(rows, "llada:steps=8", ("none",)))
    assert none.n == 1
    assert none.nfe == 8
    assert none.forwards == 2


def test_tasks_take_turns():
    drawn = mixed(("chain/easy", "list/hard"), 5, 0)
    assert [x.task for x in drawn] == ["chain", "list", "chain", "list", "chain"]


def test_a_budget_is_left_out_where_it_cannot_be_split_evenly():
    jobs = jobs_for([64], (), ("none", "dual"), ("none", "block"))
    assert [(j.decoder, j.model) for j in jobs] == [
        ("threshold:tau=0.9", "nano"), ("threshold:tau=0.9", "nano:attention=block"), ("llada:steps=8", "nano"),
    ]
    assert jobs_for([64], ("llada:steps=4",), (), ("block",)) == []
    assert jobs_for([64], (), ("none",), (), alone=3, batched=4)[0].rows == replace(LENGTHS[64], alone=3, batched=4)


@pytest.mark.parametrize("positions", LENGTHS)
def test_the_rows_fit_nano_and_the_budgets_their_blocks(positions):
    rows = LENGTHS[positions]
    assert rows.length % rows.block == 0
    assert get(rows.budget).steps % (rows.length // rows.block) == 0
    longest = max(len(Generator("nano").encode(x.prompt)) for x in mixed(rows.tasks, rows.batched, 0))
    assert longest + rows.length <= 1024
    assert 0.7 * positions < longest + rows.length < 1.3 * positions


def measured(cache="none", **changed):
    row = Measured(
        positions=64, length=32, block=16, tasks=("chain/easy",), ignore_eos=False, clock="wall", model="nano",
        decoder="threshold", cache=cache, n=10, right=8, lost=0, won=0, agreement=1.0, tokens=9.0, nfe=4.0,
        computed=200.0, hit_rate=0.0, alone=2, seconds_alone=0.1, ratio_alone=1.0, batched=10, forwards=None,
        seconds_batched=0.05, ratio_batched=1.0, padded=1.0,
    )
    return replace(row, **changed)


def test_what_pays_is_what_is_faster():
    assert pays(measured("dual", ratio_alone=0.5, ratio_batched=0.89)) == "yes"
    assert pays(measured("dual", ratio_alone=0.5, ratio_batched=0.91)) == "alone"
    assert pays(measured("dual", ratio_alone=1.5, ratio_batched=0.5)) == "in batches"
    assert pays(measured("dual", ratio_alone=0.97, ratio_batched=1.2)) == "no"
    assert pays(measured("none")) == ""


def test_a_table_says_what_it_shows():
    dual = measured("dual", ratio_alone=0.5, right=1, lost=7, agreement=0.9996, padded=2.0, hit_rate=0.25)
    text = cache_tables([measured(), dual, measured("exact")])
    assert "| `dual` | 0.100 | 0.50 | 0.050 | 1.00 | 2.00 | 200 | 25 | 4.0 | **10** (2-40) | 99.9 | alone |" in text
    assert "One by one, time is saved by `dual`; not by `exact`." in text
    assert "In batches, time is saved by no cache." in text
    assert "the model computes 2.0 times the needed positions under `dual`" in text
    assert "Accuracy falls by more than chance explains (McNemar, p < 0.05) under `dual`." in text
    assert "Rows of about 64 positions" in text
    assert len(cache_table([measured(), dual]).splitlines()) == 4


def test_a_summary_has_a_column_for_every_table():
    rows = [
        measured(), measured("dual", ratio_alone=0.5, agreement=0.9), measured(positions=256),
        measured("block", model="nano:block"),
    ]
    lines = cache_summary(rows).splitlines()
    assert lines[0] == "| cache | 64, `threshold`, `nano` | 256, `threshold`, `nano` | 64, `threshold`, `nano:block` |"
    assert lines[3] == "| `dual` | **0.50** / **1.00**<br>80 right, 90.0 agree |  |  |"
    assert len(lines) == 5


def test_a_table_without_a_right_answer_says_so():
    rows = [measured(right=0, tokens=0.0), measured("dual", right=0)]
    text = " ".join(reading(rows))
    assert "No answer is right under any cache" in text
    assert "Every text is empty" in text
    assert "Every text is empty" not in " ".join(reading([replace(rows[0], tokens=3.0), rows[1]]))
    assert "McNemar" not in text


# calibration


def tried(tau=0.5, **changed):
    row = Tried("chain", "hard", 16, 64, tau, 100, 90, 90, 0, 0, 1.0, 500.0, 1000.0, 0.5, 5.0, 5.0)
    return replace(row, **changed)


def test_settings_are_pooled_over_tasks():
    (all_,) = pooled(
        [tried(lost=2, n=100, agreement=1.0), tried(task="sudoku", won=1, n=300, agreement=0.98, computed=700.0)]
    )
    assert (all_.task, all_.n, all_.right, all_.lost, all_.won) == ("all", 400, 180, 2, 1)
    assert all_.agreement == pytest.approx(0.985)
    assert all_.computed == pytest.approx(650)


def test_the_rule_takes_the_smallest_tau_that_costs_no_more_than_the_fewest():
    rows = [
        tried(0.0, computed=1000.0), tried(0.1, computed=600.0), tried(0.2, computed=510.0), tried(0.5),
        tried(NEVER, computed=490.0),
    ]
    assert best_tau(rows) == 0.2
    # what is larger does not count
    assert best_tau([replace(r, agreement=0.98) if r.tau == 0.2 else r for r in rows]) == 0.1
    assert best_tau([replace(r, lost=2, right=88) if r.tau == NEVER else r for r in rows]) == 0.2
    assert best_tau([*rows, tried(0.2, block=32, lost=3)]) == 0.1  # in every setting
    assert best_tau([replace(r, agreement=0.5) for r in rows]) is None


def test_a_sweep_holds_every_tau_against_none():
    careful, careless = sweep(Sweep("chain", "easy", 8, ks=(0,), taus=(0.0, NEVER), n=4, batch=2))
    assert careful.right_none == careless.right_none
    assert careful.agreement == 1
    assert careless.computed < careful.computed
    assert careless.hit_rate > 0
    assert careful.n == 4


def test_the_calibration_table_names_the_tau():
    text = calibration_table([tried(0.0, computed=1000.0), tried(0.5), tried(NEVER, lost=9, agreement=0.5)])
    assert "the rule gives **tau = 0.5**" in text
    assert "| never | 90 (-9 +0), 50.0 % (fails)<br>50 % of positions |" in text
    assert "no tau passes" in calibration_table([tried(0.0, agreement=0.5)])


def test_the_default_tau_passes_with_its_k_and_is_no_larger_than_the_rule_gives():
    default = EntropyCache()
    rows = [r for r in load_calibration(RESULTS / "caches-calibration.json") if r.k == default.k]
    own = [r for r in pooled(rows) if r.tau == default.tau]
    assert len(own) == 2  # blocks of 16 and of 32
    assert all(r.passes for r in own)
    assert 0 < default.tau <= best_tau(rows)


# replay


def test_a_replayed_decoder_commits_what_was_recorded(net):
    model, commits = TransformersModel(net, mask_id=MASK), (3, 1, 2, 2)
    seen = []
    (row,) = decode(
        model, Replayed(get("threshold"), commits), [[1, 2]], length=8, windows=Blocks(4),
        watch=lambda f, p, c: seen.append(int((c.committed_at == c.clock - 1).sum())),
    )
    assert tuple(seen) == commits
    assert row.nfe == 4


def test_a_replayed_cache_refreshes_when_it_was_recorded(net):
    model, refreshes = TransformersModel(net, mask_id=MASK), (True, False, True, False, False, True, False, False)
    seen = []
    decode(
        model, get("llada"), [[1, 2]], length=8, windows=Blocks(4), cache=ReplayedEntropyCache(refreshes, k=1),
        watch=lambda f, p, c: seen.append(bool(f.compute[0, :-1].all())),
    )
    assert tuple(seen) == refreshes


def test_a_recording_has_whole_windows_and_the_refreshes_between():
    nano = Generator("nano").loaded
    prompts = [(nano.tokenizer.encode(x.prompt), 20) for x in items(TASKS["chain"], "easy", "validation", 3)]
    careful = record(nano, get("llada:steps=3"), get_cache("entropycache:tau=0"), prompts, block=8, blocks=3)
    # of two rows with two whole windows each; the third has 4 positions
    assert careful == Recording((8, 8, 8), (True, True, True))
    assert careful.tokens_per_forward == 8
    careless = record(nano, get("llada:steps=3"), get_cache("entropycache:tau=1e9"), prompts, block=8, blocks=3)
    assert careless.refreshes == (True, False, False)
    with pytest.raises(UsageError, match="do not fill 7 blocks of 8"):
        record(nano, get("threshold"), get_cache("entropycache"), prompts, block=8, blocks=7)


def test_a_canvas_is_made_of_whole_blocks():
    with pytest.raises(UsageError, match="a canvas of 10 is not made of blocks of 4"):
        recording(Run("tiny", "cpu", "float32", 1, 4, 10, 4), "none")


# the plain loop


@pytest.mark.parametrize("steps", [4, 6, 12])
@pytest.mark.parametrize("block", [6, 12])
def test_the_plain_loop_is_our_llada(net, steps, block):
    prompts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    plain = plain_decode(net, prompts, 12, block, even(block, 12 // block, steps), MASK)
    ours = decode(
        TransformersModel(net, mask_id=MASK), get("llada", steps=steps), prompts.tolist(), length=12,
        windows=Blocks(block),
    )
    assert [tuple(x) for x in plain.tolist()] == [row.canvas for row in ours]
    assert {row.nfe for row in ours} == {steps}


def test_the_plain_loop_sees_both_ways(net):
    tokens = torch.tensor([[1, 2, 3, 4]])
    zeros = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert torch.allclose(
        net(tokens, use_cache=False).logits, net(tokens, attention_mask=zeros, use_cache=False).logits
    )


# times at LLaDA's shape


def test_every_way_spends_the_forwards_recorded_under_it():
    run = Run("tiny", "cpu", "float32", 2, 5, 64, 16)
    rows = time_caches(run, ("none", "dual", "entropycache:tau=1e9,k=0"), 1, warm=1)
    assert [t.way for t in rows] == [PLAIN, "none", "dual", "entropycache:tau=1e9,k=0"]
    plain, none, dual, entropy = rows
    assert [t.nfe for t in rows[1:]] == [len(recording(run, t.way).commits) for t in rows[1:]]
    assert plain.nfe == none.nfe
    assert plain.computed == none.computed == 69 * plain.nfe
    assert plain.ratio == 1
    assert none.cached_ms is None
    assert dual.computed < none.computed
    assert entropy.hit_rate > 0
    assert plain.peak_bytes is None
    assert plain.tokens_per_second == pytest.approx(2 * 64 / plain.seconds)


def test_a_step_that_was_disturbed_once_is_left_out():
    runs = [Once(steps, [True, True], 10, 0, None) for steps in ([10.0, 20.0], [900.0, 30.0], [12.0, 40.0])]
    assert undisturbed(runs) == pytest.approx((12 + 30) / 1e3)


def test_cpu_time_is_of_one_thread():
    run = Run("tiny", "meta", "float32", 1, 5, 64, 16, clock="cpu")
    with pytest.raises(UsageError, match="needs --device cpu and --threads 1"):
        time_caches(run, ("none",), 1)


def test_shapes_have_the_proportions_of_llada():
    large, small = SHAPES["llada-8b"], SHAPES["llada-1b"]
    for shape in (large, small):
        assert (shape.hidden // shape.heads, shape.inner / shape.hidden, shape.hidden // shape.layers) == (128, 3, 128)
        assert shape.vocab == 126_464
    with torch.device("meta"):
        assert 0.8e9 < sum(p.numel() for p in build(small, "meta", torch.float32, 10).parameters()) < 1.3e9
        assert 7.5e9 < sum(p.numel() for p in build(large, "meta", torch.bfloat16, 10).parameters()) < 8.5e9


def test_the_time_table_tells_steps_and_speed_up():
    one = Timed(Run("tiny", "cpu", "float32", 1, 4, 8, 4), 10**9, PLAIN, 1, 4, 48, 0.0, 20.0, None, 0.08, 1.0, None)
    two = replace(
        one, way="dual", cached_ms=10.0, seconds=0.04, ratio=0.5, peak_bytes=3 * 2**30, computed=24, hit_rate=0.5
    )
    text = cache_time_table([one, two])
    assert (
        "`tiny`, 1.00 G random parameters, float32, cpu: batch 1, prompt of 4 and canvas of 8 in blocks of 4;" in text
    )
    assert "1 run(s) of each, wall time." in text
    assert "CPU time of one thread" in cache_time_table([replace(one, run=replace(one.run, clock="cpu"))])
    assert "| plain loop | 20.0 |  | 20.0 | 100.00 | 1.00 | 4 | 2.0 | 48 | 0 | unknown |" in text
    assert "| `dual` | 20.0 | 10.0 | 10.0 | 200.00 | 2.00 | 4 | 2.0 | 24 | 50 | 3.0 |" in text


# the commands and what they save


def test_rows_survive_the_disk(tmp_path):
    timed = Timed(Run("tiny", "cpu", "float32", 1, 4, 8, 4), 10, PLAIN, 1, 4, 48, 0.0, 20.0, None, 0.08, 1.0, None)
    for rows, load in (([measured()], load_caches), ([tried()], load_calibration), ([timed], load_cache_times)):
        save(tmp_path / "rows.json", rows)
        assert load(tmp_path / "rows.json") == rows


def test_the_cache_time_command_prints_and_saves(tmp_path):
    out = tmp_path / "t.json"
    done = run(
        "cache-time", "--shape", "tiny", "--prompt", 4, "--length", 8, "--block", 4, "-c", "dual", "--threads", 1, "-o",
        out,
    )
    assert done.exit_code == 0, done.output
    assert cache_time_table(load_cache_times(out)) in done.output
    assert "torch" in json.loads(out.read_text())["hardware"]


def test_a_missing_device_and_a_wrong_cache_are_one_line():
    with pytest.raises(UsageError, match="there is no device 'cudaa' here"):
        run("cache-time", "--device", "cudaa")
    with pytest.raises(UsageError, match="unknown cache 'duel'; did you mean 'dual'"):
        run("caches", "-c", "duel")


@pytest.mark.slow
def test_the_commands_run_for_real(tmp_path):
    out = tmp_path / "c.json"
    done = run("caches", "-l", 64, "-d", "threshold:tau=0.9", "--alone", 1, "-n", 2, "--workers", 1, "-o", out)
    assert done.exit_code == 0, done.output
    assert cache_tables(load_caches(out)) in done.output
    assert [m.cache for m in load_caches(out)][-2:] == ["none", "block"]
    done = run(
        "calibrate-entropycache", "-t", "list/easy", "-n", 3, "--block", 8, "-k", 8, "--tau", 0, "--tau", 1,
        "--workers", 1,
    )
    assert done.exit_code == 0, done.output
    assert "3 validation items of list/easy" in done.output
    with pytest.raises(UsageError, match="7 steps cannot be split evenly"):
        run("caches", "-l", 64, "-d", "llada:steps=7", "--alone", 1, "-n", 1, "--workers", 1)
