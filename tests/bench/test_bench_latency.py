"""What `decoders bench latency` times, counts and prints, at tiny sizes. No test asserts a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from decoders import Around, Blocks, Decoder, UsageError, choose, decode, get, get_cache, only, top
from decoders.core import asks
from decoders.models.source import load_model
from decoders.models.work import Work
from decoders_bench.cli import bench
from decoders_bench.common.replay import Recording, Replayed, record
from decoders_bench.common.results import save
from decoders_bench.common.shapes import SHAPES, adapted, build, scaled
from decoders_bench.common.stopwatch import OUTSIDE, Stopwatch
from decoders_bench.latency.measure import Bench, covered, guarded, typical, wanted
from decoders_bench.latency.peers import PEERS, measure_peer, one_token, per_block, up_to_block, whole_canvas
from decoders_bench.latency.recordings import Recordings, Wanted, cut
from decoders_bench.latency.roofline import Ceilings, ceilings, step_bytes, weight_bytes
from decoders_bench.latency.rows import Absent, Case, Latency
from decoders_bench.latency.run import Run, cases
from decoders_bench.latency.split import (
    ASSEMBLY,
    CACHE,
    DECISION,
    FORWARD,
    METHODS,
    REGIONS,
    STATISTICS,
    hooked,
    timed_cache,
)
from decoders_bench.latency.tables import latency_table, load_latencies

pytestmark = pytest.mark.usefixtures("frozen")
CASE = Case("llada-8b-tiny", "cpu", "float32", 2, 8, 16, 8, "threshold:tau=0.9", "dual")
CPU = torch.device("cpu")


def run(*args):
    return CliRunner().invoke(bench, ["latency", *map(str, args)], catch_exceptions=False)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return Recordings(tmp_path_factory.mktemp("recordings") / "r.json")


@pytest.fixture(scope="module")
def tiny(recordings):
    return Bench(CASE, recordings, Ceilings(1e9, 1e9), steps=4)


@pytest.fixture
def ticks():
    """A clock whose time is told by hand, in seconds."""
    now = [0.0]
    return SimpleNamespace(clock=Stopwatch(CPU, lambda: now[0]), spend=lambda s: now.__setitem__(0, now[0] + s))


# the stopwatch


def test_regions_add_up_to_the_step_and_inner_ones_are_taken_out(ticks):
    with ticks.clock.region("a"):
        ticks.spend(1)
        with ticks.clock.region("b"):
            ticks.spend(2)
        ticks.spend(4)
    ticks.spend(8)
    ticks.clock.tick()
    ticks.spend(16)
    ticks.clock.tick()
    first, second = ticks.clock.regions
    assert first == {OUTSIDE: 8e3, "a": 5e3, "b": 2e3}
    assert second == {OUTSIDE: 16e3}
    assert ticks.clock.steps == [15e3, 16e3]


def test_a_region_that_fails_is_left(ticks):
    with pytest.raises(ZeroDivisionError), ticks.clock.region("a"):
        raise ZeroDivisionError
    ticks.spend(1)
    ticks.clock.tick()
    assert ticks.clock.regions == [{OUTSIDE: 1e3, "a": 0.0}]


def test_the_time_that_a_device_is_busy_is_a_union():
    assert covered([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4


def test_the_typical_step_leaves_out_what_disturbed_one_repeat():
    assert typical([[10.0, 20.0], [900.0, 30.0], [12.0, 40.0]]) == (12 + 30) / 2


# shapes


@pytest.mark.parametrize(("name", "billions"), [("llada-8b", 8.0), ("dream-7b", 7.6), ("sdar-8b", 8.2)])
def test_shapes_have_the_parameters_that_their_names_say(name, billions):
    with torch.device("meta"):
        net = build(scaled(name), "meta", torch.bfloat16, 10)
    assert sum(p.numel() for p in net.parameters()) / 1e9 == pytest.approx(billions, abs=0.1)


@pytest.mark.parametrize("name", ["llada-8b", "dream-7b", "sdar-8b"])
def test_a_tiny_shape_is_one_of_the_same_family(name):
    large, small = SHAPES[name], SHAPES[f"{name}-tiny"]
    model = adapted(small, build(small, "cpu", torch.float32, 40))
    assert (model.shifted, model.block_causal) == (large.of.shifted, large.block_causal)
    assert (small.kv_heads < small.heads) == ((large.kv_heads or large.heads) < large.heads)
    (row,) = decode(model, get("llada"), [[1, 2]], length=4, windows=Blocks(4))
    assert row.nfe == 4


def test_layers_scale_a_shape_and_unknown_ones_are_named():
    assert scaled("sdar-8b", 2) == replace(SHAPES["sdar-8b"], layers=2)
    with pytest.raises(UsageError, match="unknown shape 'llama'; there are llada-8b"):
        scaled("llama")


# recordings and what replays them


def test_recordings_are_made_once_and_kept(tmp_path, monkeypatch):
    path, what = tmp_path / "r.json", Wanted("threshold", "none", "nano", 8, 1)
    made = Recordings(path)[what]
    assert sum(made.commits) == 8
    monkeypatch.setattr(
        "decoders_bench.latency.recordings.recorded", lambda *_, **__: pytest.fail("it stands in the file")
    )
    assert Recordings(path)[what] == made


def test_a_recording_that_cannot_be_is_kept_with_its_reason(tmp_path):
    path, what = tmp_path / "r.json", Wanted("threshold", "none", "nano", 512, 1)
    for _ in range(2):
        with pytest.raises(UsageError, match="do not fill 1 blocks of 512"):
            Recordings(path)[what]
    assert json.loads(path.read_text())[0]["reason"].startswith("these prompts")


@pytest.mark.parametrize(("steps", "n"), [(1, 2), (2, 2), (4, 2), (5, 5), (9, 7)])
def test_a_run_is_cut_after_whole_windows(steps, n):
    assert cut((4, 4, 0, 2, 6, 5, 3), 8, steps) == n


@dataclass(frozen=True)
class Wavering(Decoder):
    """Half of the window, then nothing of it any more, then half of it at a time."""

    def step(self, s, p):
        tokens, confidence = p.best()
        half = s.commit(top(only(s.open, confidence), s.opened // 2), tokens, confidence)
        return choose(s.clock == 1, s.reopen(torch.ones_like(s.open)), half)


def test_a_token_that_was_taken_back_counts_once():
    nano = load_model("nano")
    made = record(nano, Wavering(), get_cache("none"), [(nano.tokenizer.encode("1+1="), 8)], block=8, blocks=1)
    assert made.commits == (4, 0, 0, 4)


@pytest.mark.parametrize("spec", ["left_to_right", "s2d2", "freedave", "klass", "llada2"])
def test_a_replayed_decoder_asks_what_it_always_asks(spec):
    shape = SHAPES["llada-8b-tiny"]
    model = adapted(shape, build(shape, "cpu", torch.float32, 40))
    decoder, commits = Replayed(get(spec), (1, 0, 3, 2, 2)), []
    assert isinstance(decoder, Around)
    assert asks(decoder) == asks(get(spec)) - {"vocabulary"} | asks(decoder) & {"vocabulary"}
    seen = lambda f, p, c: commits.append(8 - int(c.open.sum()))
    (row,) = decode(model, decoder, [[1, 2, 3]], length=8, windows=Blocks(4), watch=seen)
    assert commits == [1, 1, 4, 6, 8]
    assert row.nfe == 5


# what is measured


def test_a_measurement_counts_forwards_texts_and_work(tiny, recordings):
    found, recording = tiny.measure(CASE, 2), recordings[wanted(CASE)]
    assert found.forwards == cut(recording.commits, 8, 4)
    assert (found.nfe, found.passes, found.tokens) == (len(recording.commits), len(recording.commits), 2 * 16)
    assert set(found.split) == set(REGIONS)
    assert all(found.split[name] > 0 for name in (FORWARD, CACHE, ASSEMBLY, STATISTICS, DECISION))
    assert found.peak_bytes is None
    assert found.busy is None
    assert found.tokens_per_second == pytest.approx(1e3 * 32 / (found.nfe * found.mean))
    assert found.roof == pytest.approx(1e3 * max(found.flops, found.moved) / 1e9)
    assert 0 < found.ours < 1


def test_operations_are_those_that_rows_asked_for(tiny):
    """Without a cache, every forward computes all 24 positions of both rows, and heads those of the window that are
    open."""
    case = replace(CASE, decoder="llada", cache="none")
    found, work = tiny.measure(case, 1), Work.of(tiny.net)
    heads = work.row * 2 * (8 + 7 + 6 + 5) / 4
    assert found.forwards == 4
    assert found.full is not None
    assert found.cached is None
    assert found.flops == pytest.approx(2 * (24 * work.column + 24 * 24 * work.pair) + heads)


def test_a_graph_takes_the_steps_that_the_loop_takes(tiny):
    eager, graph = (tiny.measure(replace(CASE, graph=graph), 1) for graph in (False, True))
    assert (graph.forwards, graph.nfe, graph.flops) == (eager.forwards, eager.nfe, eager.flops)
    assert eager.graph_bytes is None
    assert graph.graph_bytes is not None


def test_a_model_of_its_own_is_decoded_to_its_end():
    done = run(
        "-m", "nano", "-d", "threshold", "-c", "none", "--batch", 2, "--length", 16, "--repeats", 1, "--no-roofline",
        "--json",
    )
    (row,) = json.loads(done.output.splitlines()[-1])["rows"]
    assert row["passes"] == row["forwards"] >= row["nfe"]
    assert 0 < row["tokens"] <= 32
    assert row["roof"] is None


def test_nothing_of_the_model_stays_hooked(tiny):
    clock = Stopwatch(CPU)
    with hooked(tiny.net, clock):
        tiny.net(torch.tensor([[1]]))
    assert [name for _, name in clock.current] == [OUTSIDE, FORWARD, OUTSIDE, FORWARD, OUTSIDE]
    tiny.net(torch.tensor([[1]]))
    assert len(clock.current) == 5


def test_what_strategies_ask_of_logits_is_timed_and_stays_the_same():
    assert {"best", "prob", "entropy", "margin", "top", "draw", "race", "probs_at", "filtered"} <= set(METHODS)
    policy = get_cache("entropycache:tau=0.3,k=3")
    copy = timed_cache(policy, Stopwatch(CPU))
    assert (copy.tau, copy.k, copy.whole) == (policy.tau, policy.k, policy.whole)


def test_one_case_that_fails_is_told_and_loses_nothing(tiny, recordings):
    asked = [(replace(CASE, cache="block"), "decoders"), (CASE, "decoders")]
    rows, absent = Run(recordings, repeats=1, roofline=False)(asked)
    assert [r.case for r in rows] == [CASE]
    assert [a.reason.partition(";")[0] for a in absent] == ["the cache Block is for block-causal models"]

    def burst():
        raise RuntimeError("out of memory\nand more")

    assert guarded(CASE, "decoders", burst) == Absent(CASE, "decoders", "RuntimeError: out of memory")


def test_a_run_goes_on_with_what_is_missing(tmp_path, recordings):
    path = tmp_path / "rows.json"
    asked = cases(replace(CASE, decoder="", cache=""), ["threshold:tau=0.9"], ["none", "dual"], [2])
    one = Run(recordings, path, 4, 1, roofline=False)
    one(asked, lambda: None)
    kept = load_latencies(path)
    save(path, kept[:1])
    rows, _ = one(asked)
    assert rows[0] == kept[0]
    assert [r.case for r in rows] == [r.case for r in kept]
    (tmp_path / "other.json").write_text('{"rows": [{"a": 1}]}')
    with pytest.raises(UsageError, match="holds no results of this command"):
        replace(one, output=tmp_path / "other.json")(asked)


# peers and the roofline


@pytest.mark.parametrize(("way", "nfe"), [("plain loop", None), ("autoregression", 16)])
def test_peers_spend_their_forwards_on_the_same_model(tiny, recordings, way, nfe):
    found = measure_peer(tiny, CASE, way, 1)
    assert found.way == way
    assert found.nfe == (nfe or len(recordings[wanted(replace(CASE, cache="none"))].commits))
    assert found.tokens == 32
    assert set(found.split) == {FORWARD, OUTSIDE}


def test_autoregression_over_a_static_cache_is_autoregression(tiny):
    """Its tokens are those of full causal forwards."""
    from decoders_bench.common.plain import see_both_ways

    heads, prompts = [], torch.tensor([[5, 6, 7]])
    see_both_ways(tiny.net, False)
    hook = tiny.net.get_output_embeddings().register_forward_hook(
        lambda m, i, out: heads.append(int(out[0, -1].argmax()))
    )
    PEERS["autoregression"].decode(tiny.net, prompts, 8, 8, (1,) * 5, 0, lambda: None)
    hook.remove()
    text = prompts
    for token in heads:
        assert int(tiny.net(text).logits[0, -1].argmax()) == token
        text = torch.cat([text, torch.tensor([[token]])], 1)


def test_peers_that_cannot_be_say_why(tiny, recordings):
    blocks = Bench(replace(CASE, model="sdar-8b-tiny"), recordings)
    blocks_case = replace(CASE, model="sdar-8b-tiny", block=4)
    with pytest.raises(UsageError, match="blocks see no later block"):
        measure_peer(blocks, blocks_case, "plain loop", 1)
    assert measure_peer(blocks, blocks_case, "autoregression", 1).nfe == 16


def test_what_peers_compute():
    assert whole_canvas(CASE, 3).positions == 2 * 24
    assert [up_to_block(CASE, n).positions for n in (0, 7, 8)] == [32, 32, 48]
    assert (one_token(CASE, 3).pairs, one_token(CASE, 3).reused) == (2 * 11, 2 * 10)
    assert per_block((4, 4, 8, 1, 2), 8) == [2, 1, 2]


def test_the_roofline_takes_the_slower_of_two():
    c = Ceilings(bandwidth=100.0, flops=10.0)
    assert (c.seconds(200, 10), c.bound(200, 10)) == (2.0, "memory")
    assert (c.seconds(100, 30), c.bound(100, 30)) == (3.0, "arithmetic")
    measured = ceilings("cpu", torch.float32, repeats=1)
    assert measured.bandwidth > 1e8
    assert measured.flops > 1e8


def test_the_bytes_of_a_forward(tiny):
    table = tiny.net.get_input_embeddings().weight
    assert weight_bytes(tiny.net) == 4 * (sum(p.numel() for p in tiny.net.parameters()) - table.numel())
    assert step_bytes(1000, 10, computed=3, reused=4, logits=2, itemsize=2, vocab=50) == 1000 + 10 * 10 + 2 * 2 * 50 * 2


# the command


@pytest.mark.slow
def test_the_command_prints_saves_and_ends_with_json(tmp_path):
    out = tmp_path / "rows.json"
    done = run(
        "--shape", "dream-7b-tiny", "--dtype", "float32", "-d", "threshold:tau=0.9", "-c", "none", "--batch", "1,2",
        "--prompt", 4, "--length", 8, "--block", 8, "--steps", 2, "--repeats", 1, "--no-roofline", "--recordings",
        tmp_path / "r.json", "-o", out, "--json",
    )
    assert done.exit_code == 0, done.output
    rows = load_latencies(out)
    assert {(r.way, r.case.batch) for r in rows} >= {
        (way, b) for way in ("plain loop", "autoregression", "decoders") for b in (1, 2)
    }
    said = json.loads(done.output.splitlines()[-1])
    assert len(said["rows"]) == len(rows)
    assert latency_table(rows) in done.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-m", "nano", "--shape", "nano"], "leave one out"),
        (["--length", 40], "a canvas of 40 is not made of blocks of 32"),
        (["--device", "cudaa"], "there is no device 'cudaa' here"),
        (["-d", "thresold"], "did you mean 'threshold'"),
    ],
)
def test_mistakes_are_one_line(args, says):
    with pytest.raises(UsageError, match=says):
        run(*args)


def test_the_table_tells_the_split_and_the_roof():
    split = {FORWARD: 6.0, CACHE: 1.0, ASSEMBLY: 1.0, STATISTICS: 1.0, DECISION: 0.5, OUTSIDE: 0.5}
    row = Latency(
        CASE, "decoders", 10**9, 3, 4, 8.0, 8, 32, 10.0, 12.0, 10.0, 11.0, 9.0, split, 9.0, 2**31, 1e9, 2e6,
        Ceilings(1e9, 1e12),
    )
    text = latency_table([row, replace(row, way="plain loop")], [Absent(CASE, "decoders", "it is too large")])
    assert (
        "1.00 G parameters, float32, cpu: prompts of 8 and canvas of 16 in blocks of 8; 3 run(s) of each after one, "
        "wall time."
        in text
    )
    assert "copy 1.0 GB/s, matrix product 1.00 TFLOP/s" in text
    assert (
        "| `threshold:tau=0.9` | `dual` | 2 | 10.00 | 12.00 | 11.00 | 9.00 | 6.00 | 1.00 | 1.00 | 1.00 | 0.50 | 0.50 "
        "| 40 | 10 | 8 | 2.0 | "
        "400.0 | 2.0 | 2.00 | memory | 20 |" in text
    )
    assert "- `threshold:tau=0.9` with `dual`, batch 2: it is too large" in text


def test_rows_survive_the_disk(tmp_path, tiny):
    rows = [tiny.measure(CASE, 1)]
    save(tmp_path / "rows.json", rows)
    assert load_latencies(tmp_path / "rows.json") == rows


def test_a_recording_is_of_the_attention_of_the_shape():
    assert wanted(CASE).model == "nano"
    assert wanted(replace(CASE, model="sdar-8b", block=4)) == Wanted(
        "threshold:tau=0.9", "dual", "nano:attention=block", 4, 4
    )
    assert Recording((1, 3), (True, False)).tokens_per_forward == 2
