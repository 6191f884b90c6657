"""The command line, through its entry point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import click
import pytest
import torch

from decoders import Decoder, Family, Generator, registry, specs
from decoders.cli import batch, show, terminal
from decoders.cli.app import main
from decoders.cli.compare import agreement
from decoders.cli.show import Streaming, Watching
from decoders.cli.trace import TraceFile
from decoders.core import ATTESTED, Event, UsageError
from decoders.text.records import KEYS
from decoders_bench.tasks import TASKS, items
from support.commands import DECODERS, call, shell
from support.marks import slow

PROMPT = items(TASKS["chain"], "easy", "test", 1)[0].prompt
SPECS = (
    "llada:steps=32", "dream:by=entropy,steps=16", "threshold:tau=0.9", "factor:f=1.0", "ancestral:steps=64",
    "left_to_right",
)


# generate


@pytest.mark.parametrize("spec", [SPECS[0], *slow(*SPECS[1:-1]), SPECS[-1]])
def test_json_is_one_line_per_prompt_with_the_keys_promised(spec):
    prompts = [PROMPT, "Sort: c a b", "x"]
    done = call("generate", "-m", "nano", "-d", spec, "-n", 32, "--json", "--seed", 5, *prompts)
    assert done.exit_code == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(r) for r in rows] == [list(KEYS)] * 3
    assert {(r["decoder"], r["cache"], r["seed"]) for r in rows} == {(spec, "exact", 5)}
    for r in rows:
        assert r["tokens_per_forward"] == r["generated_tokens"] / r["nfe"]
        assert r["finish_reason"] in ("stop", "length")
    again = call("generate", "-d", spec, "-n", 32, "--json", "--seed", 5, "--batch", 1, *reversed(prompts))
    alone = [json.loads(line) for line in again.stdout.splitlines()][::-1]
    assert [(r["tokens"], r["nfe"]) for r in rows] == [(r["tokens"], r["nfe"]) for r in alone]


def test_forwards_are_counted_through_the_real_command():
    done = shell("generate", "-m", "nano", "-d", "llada:steps=32", "-n", "32", "--ignore-eos", "--json", PROMPT)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["nfe"] == 32


def test_text_goes_to_stdout_and_the_count_to_stderr():
    done = call("generate", "-n", 16, PROMPT)
    made = Generator()(PROMPT, length=16)[0]
    assert done.stdout == made.text + "\n"
    forwards = f"{made.nfe} forward{'s' * (made.nfe > 1)}"
    assert done.stderr.startswith(f"[threshold: {forwards}, {made.generated_tokens} tokens")


def test_the_flags_are_options_of_the_decoder():
    flags = call(
        "generate", "--json", "-n", 8, "-d", "dream:by=origin", "--temperature", 0.7, "--top-p", 0.9, "--top-k", 5,
        PROMPT,
    )
    spec = "dream:by=origin,temperature=0.7,top_p=0.9,top_k=5"
    row = json.loads(flags.stdout)
    assert row["decoder"] == spec
    assert row["tokens"] == list(Generator("nano", spec)(PROMPT, length=8)[0].tokens)


def test_streamed_text_is_the_text():
    for spec in ("threshold", "left_to_right"):
        whole = call("generate", "-d", spec, "-n", 32, "--ignore-eos", PROMPT)
        assert call("generate", "-d", spec, "-n", 32, "--ignore-eos", "--stream", PROMPT).stdout == whole.stdout


@dataclass
class Letters:
    """A tokenizer of bytes, so that characters and stop strings come in pieces."""

    def decode(self, tokens):
        return bytes(tokens).decode("utf-8", errors="replace")


def test_streaming_holds_back_half_characters_and_what_may_be_a_stop_string(capsys):
    text, printed = "aé¢😀 STx STOPs", []
    streaming = Streaming(SimpleNamespace(loaded=SimpleNamespace(tokenizer=Letters())), ["STOP", "¢!"])
    data = text.encode()
    for i in range(len(data)):
        streaming(Event(0, "committed", i, (data[i],)))
        printed.append(capsys.readouterr().out)
    streaming.finish("aé¢😀 STx ")
    assert "".join(printed) + capsys.readouterr().out == "aé¢😀 STx \n"
    assert printed[:6] == ["a", "", "é", "", "", ""]  # ¢ may be the start of ¢!


def test_watch_prints_a_line_a_forward_where_there_is_no_terminal():
    made = Generator("nano", "llada:steps=8")(PROMPT, length=16, ignore_eos=True)[0]
    done = call("generate", "-d", "llada:steps=8", "-n", 16, "--ignore-eos", "--watch", PROMPT)
    lines = done.stdout.splitlines()
    assert [line[:4].strip() for line in lines[:-1]] == [str(i + 1) for i in range(8)]
    assert [line.count(show.MASKED) for line in lines[:-1]] == sorted(
        (line.count(show.MASKED) for line in lines[:-1]), reverse=True
    )
    assert lines[-1] == made.text


def test_watch_tells_three_states_apart(monkeypatch):
    run = Generator("nano", "first_hitting:temperature=0.0")
    watching, seen = Watching(run, infill=True), []
    run(f"Sort:{run.mask} a{run.mask * 3} b", infill=True, watch=lambda f, p, c: seen.append(list(watching.runs(c))))
    assert {r.state for runs in seen for r in runs} == {"given", "committed", "provisional", "masked"}
    for runs, left in zip(seen, (3, 2, 1, 0), strict=True):
        assert sum(len(r.text) for r in runs if r.state == "masked") == left
    drawn = watching.drawn(seen[0], 0)
    assert drawn.plain.endswith("".join(r.text for r in seen[0]))
    assert {str(s.style) for s in drawn.spans} >= {watching.style(r) for r in seen[0]}
    assert len({watching.style(r) for runs in seen for r in runs}) == 4


def test_watch_animates_on_a_terminal(monkeypatch):
    monkeypatch.setattr(show, "is_terminal", lambda: True)
    monkeypatch.setattr(show, "FRAME", 0)
    drawn = []
    monkeypatch.setattr("rich.live.Live.update", lambda self, text, refresh: drawn.append(text.plain))
    made = json.loads(call("generate", "-n", 16, "--json", PROMPT).stdout)
    assert call("generate", "-n", 16, "--watch", PROMPT).stdout.endswith(made["text"] + "\n")
    assert [text.splitlines()[0] for text in drawn] == [f"forward {i + 1}" for i in range(made["nfe"])]


def test_a_trace_tells_every_commitment(tmp_path):
    file = tmp_path / "trace.jsonl"
    done = call(
        "generate", "-d", "llada:steps=8", "-n", 16, "--ignore-eos", "--json", "--trace", file, PROMPT, "Sort: b a"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [x["forward"] for x in lines] == list(range(1, 9))
    for prompt, row in enumerate(rows):
        own = [r for x in lines for r in x["rows"] if r["prompt"] == prompt]
        assert len(own) == row["nfe"] == 8
        told = {c["position"]: c["token"] for r in own for c in r["committed"]}
        assert [told[i] for i in sorted(told)][: row["generated_tokens"]] == row["tokens"]
        assert [len(r["committed"]) for r in own] == [2] * 8
        assert all(0 < c["confidence"] <= 1 for r in own for c in r["committed"])
        assert not any(r["edited"] or r["reopened"] for r in own)


@dataclass(frozen=True)
class Fickle(Decoder):
    """Commits all, takes the first back and changes the second, and commits again."""

    revises: ClassVar[bool] = True

    def step(self, s, p):
        column = torch.arange(s.tokens.shape[1])
        second = s.step[:, None] == 1
        tokens, confidence = p.best()
        other = (s.tokens + 1) % s.vocab
        s = s.commit(s.open, tokens, confidence)
        return s.reopen((column == 0) & second).edit((column == 1) & second, other, torch.full_like(confidence, 0.5))

    def done(self, s):
        return s.step >= 3


def test_a_run_that_is_refused_leaves_no_trace_and_an_older_one_as_it_was(tmp_path):
    trace = tmp_path / "trace"
    refused = ("generate", "-n", 8, "--trace", trace, "--block", 0, PROMPT)
    assert call(*refused).exit_code == 2
    assert not trace.exists()
    assert call("generate", "-n", 8, "--trace", trace, PROMPT).exit_code == 0
    before = trace.read_bytes()
    assert call(*refused).exit_code == 2
    assert trace.read_bytes() == before
    assert call("generate", "-n", 8, "--trace", trace, PROMPT).exit_code == 0
    assert trace.read_bytes() == before


def test_a_trace_tells_what_was_taken_back(tmp_path):
    run = Generator("nano", Fickle())
    with (tmp_path / "trace").open("w") as file:
        run("ab", length=4, watch=TraceFile(file, prompts=[7], decoder=Fickle()), ignore_eos=True)
    rows = [json.loads(line)["rows"][0] for line in (tmp_path / "trace").read_text().splitlines()]
    assert {r["prompt"] for r in rows} == {7}
    assert [[len(r[kind]) for kind in ("committed", "edited", "reopened")] for r in rows] == [
        [4, 0, 0],
        [0, 1, 1],
        [1, 0, 0],
    ]
    first, second = rows[0]["committed"][:2]
    assert rows[1]["reopened"] == [first]
    vocab = run.model.vocab
    assert rows[1]["edited"] == [
        {"position": second["position"], "token": (second["token"] + 1) % vocab, "confidence": 0.5}
    ]


# files


def write(path: Path, rows) -> Path:
    path.write_bytes(b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows))
    return path


def read(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_that_cannot_be_decoded_are_named_and_the_others_are_decoded(tmp_path):
    rows = [
        {"prompt": "Sort: b a", "id": {"any": 1}}, b"{broken", {"prompt": 3}, {"prompt": "Sort: b a", "seed": 9}, b"",
        {"prompt": ""}, {"prompt": "x" * 3000}, {"prompt": "Sort: b a", "seed": 1.5},
        {"prompt": "Sort: b a", "seed": True}, b'{"prompt": "\xff"}', b"[]", b'{"prompt": "\\ud800"}', b"[" * 100_000,
        {"prompt": "Sort: b a"}, b'{"prompt": "a", "id": NaN}', b'{"prompt": "a", "id": [-1e999]}',
    ]
    source, target = write(tmp_path / "in", rows), tmp_path / "out"
    done = call("generate", "-n", 8, "-d", "ancestral", "--seed", 4, "--input", source, "--output", target)
    assert done.exit_code == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert sorted(int(line.split(" line ")[1].split(":")[0]) for line in told) == [
        2,
        3,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        15,
        16,
    ]
    assert any("line 15: not JSON: NaN is no number there" in line for line in told)
    made = read(target)
    assert [(r["index"], r.get("id"), r["seed"]) for r in made] == [(0, {"any": 1}, 4), (3, None, 9), (13, None, 4)]
    assert made[0]["tokens"] == made[2]["tokens"]  # the place in the file does not matter
    assert made[1]["tokens"] == list(Generator("nano", "ancestral")("Sort: b a", length=8, seed=9)[0].tokens)
    assert list(made[0])[2 : 2 + len(KEYS)] == list(KEYS)


def test_what_concerns_every_line_is_told_once(tmp_path):
    source, target = write(tmp_path / "in", [{"prompt": "a"}, {"prompt": "b"}]), tmp_path / "out"
    done = call("generate", "-n", 4, "--stop", "", "--input", source, "--output", target)
    assert (done.exit_code, done.stderr, target.read_bytes()) == (2, "Error: a stop string is empty\n", b"")


def test_prompts_beside_one_that_cannot_be_decoded_are_decoded(tmp_path):
    rows = [{"prompt": "a"}, {"prompt": ""}, {"prompt": "b"}]
    source, target = write(tmp_path / "in", rows), tmp_path / "out"
    assert call("generate", "-n", 8, "--input", source, "--output", target).exit_code == 1
    assert [row["index"] for row in read(target)] == [0, 2]


def test_mending_the_input_and_running_again_adds_what_was_missing(tmp_path):
    source, target = write(tmp_path / "in", [{"prompt": "a"}, b"oops", {"prompt": "c"}]), tmp_path / "out"
    args = ("generate", "-n", 4, "--input", source, "--output", target)
    assert call(*args).exit_code == 1
    write(source, [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}, {"prompt": "d"}])
    done = call(*args, "--batch", 2)  # how many are decoded together is no setting of the work
    assert (done.exit_code, done.stderr) == (0, f"4 rows are in {target}\n")
    assert [r["index"] for r in read(target)] == [0, 1, 2, 3]  # in the input's order, whichever came first
    before = target.read_bytes()
    assert call(*args).exit_code == 0
    assert target.read_bytes() == before


def test_output_of_other_work_is_refused_and_left_as_it_was(tmp_path):
    source, target = write(tmp_path / "in", [{"prompt": "a"}, {"prompt": "b"}]), tmp_path / "out"
    args = ("generate", "-n", 4, "--input", source, "--output", target)
    assert call(*args).exit_code == 0
    before = target.read_bytes()
    for other in (
        ["-d", "llada"], ["-n", "5"], ["--seed", "1"], ["-c", "none"], ["--guidance", "1"], ["--stop", "x"],
        ["--ignore-eos"],
    ):
        done = call(*args, *other)
        assert (done.exit_code, "other settings" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)
    for rows in ([{"prompt": "a"}, {"prompt": "c"}], [{"prompt": "a"}], [{"prompt": "a", "seed": 3}, {"prompt": "b"}]):
        write(source, rows)
        done = call(*args)
        assert (done.exit_code, "another input" in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"my own notes\n", b"notes without end", b'{"index": 0}\n', b"[1]\n", b"\xff\xfe\n"]
)
def test_a_file_that_is_no_output_is_left_alone(tmp_path, content):
    """That is said, and nothing of lines of the input that are malformed too."""
    source, target = write(tmp_path / "in", [{"prompt": "a"}, {"prompt": 3}]), tmp_path / "out"
    target.write_bytes(content)
    done = call("generate", "-n", 4, "--input", source, "--output", target)
    assert (done.exit_code, "choose another --output" in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 1
    assert target.read_bytes() == content


def test_two_runs_do_not_write_to_one_output(tmp_path):
    source, target = write(tmp_path / "in", [{"prompt": "a"}]), tmp_path / "out"
    with batch.locked(target, source):
        done = call("generate", "-n", 4, "--input", source, "--output", target)
    assert (done.exit_code, "another run" in done.stderr) == (2, True)


def test_lines_of_the_input_end_at_line_feeds_alone(tmp_path):
    """And may come from Windows, behind a byte order mark."""
    source, target = tmp_path / "in", tmp_path / "out"
    odd = "a\u2028\x85\x0b\u2029b"
    source.write_bytes(
        b"\xef\xbb\xbf"
        + json.dumps({"prompt": odd, "id": odd}, ensure_ascii=False).encode()
        + b'\r\n{"prompt": "c"}\r\n'
    )
    args = ("generate", "-n", 4, "--input", source, "--output", target)
    for _ in range(2):  # the second run reads what the first one wrote
        assert call(*args).exit_code == 0
        assert [(r["index"], r.get("id")) for r in read(target)] == [(0, odd), (1, None)]


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is a device of Linux")


@full
@pytest.mark.parametrize(
    "args", [["-h"], *slow(["generate", "-n", "8", PROMPT], ["generate", "-n", "8", "--json", PROMPT], ["list"])]
)
def test_output_to_a_full_disk_is_one_clear_line(args):
    with open("/dev/full", "w") as out:
        done = subprocess.run([DECODERS, *args], stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if not line.startswith("[")] == ["Error: No space left on device"]


@pytest.mark.slow
@full
def test_a_trace_to_a_full_disk_is_one_clear_line():
    done = shell("generate", "-n", "8", "--trace", "/dev/full", PROMPT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: /dev/full cannot be written: No space left on device"
    assert "Traceback" not in done.stderr


@full
def test_a_full_disk_is_one_clear_line():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(UsageError, match="No space left"):
        batch.append(file, Path("out"), {"index": 0})


GATED = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
from decoders.strategies.mdlm import Ancestral

@dataclass(frozen=True)
class Gated(Ancestral):
    """Waits while the output has as many rows as the gate lets through."""

    def step(self, s, p):
        out = Path(os.environ["GATE_OUT"])
        while out.exists() and out.read_bytes().count(b"\\n") >= int(os.environ["GATE_ROWS"]):
            time.sleep(0.01)
        return super().step(s, p)
'''


def started(*args: str, cwd: Path, rows: int) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GATE_ROWS": str(rows)}
    return subprocess.Popen([DECODERS, *args], stderr=subprocess.PIPE, text=True, env=env, cwd=cwd)


def wait_for_rows(run: subprocess.Popen[str], target: Path, n: int) -> None:
    while not target.exists() or target.read_bytes().count(b"\n") < n:
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_survives_ctrl_c_and_a_kill_without_a_missing_or_a_double_row(tmp_path, monkeypatch):
    (tmp_path / "gated.py").write_text(GATED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GATE_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("GATE_ROWS", "1000")
    rows = [{"prompt": f"{PROMPT} {i}", "seed": i} for i in range(16)]
    source, target = write(tmp_path / "in", rows), tmp_path / "out"
    args = [
        "generate",
        "-d",
        "gated:Gated",
        "-n",
        "32",
        "--ignore-eos",
        "--input",
        str(source),
        "--output",
        str(target),
    ]

    run = started(*args, "--batch", "1", cwd=tmp_path, rows=2)
    wait_for_rows(run, target, 2)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate()
    assert (run.returncode, told) == (
        130,
        f"Interrupted; finished rows are in {target}: run the same command again to continue\n",
    )
    after_interrupt = target.read_bytes()
    assert after_interrupt.endswith(b"\n")
    assert after_interrupt.count(b"\n") == 2

    run = started(*args, "--batch", "1", cwd=tmp_path, rows=4)
    wait_for_rows(run, target, 4)
    run.kill()
    run.communicate()
    after_kill = target.read_bytes()
    assert after_kill.startswith(after_interrupt)
    finished = after_kill.count(b"\n")
    assert finished == 4
    with target.open("ab") as file:  # the line that a kill cuts in half
        file.write(b'{"index": 15, "text": "ab')

    assert call(*args).exit_code == 0
    made = read(target)
    assert sorted(r["index"] for r in made) == list(range(16))
    assert target.read_bytes().startswith(after_kill[: after_kill.rindex(b"\n") + 1])
    whole = Generator("nano", "ancestral")([r["prompt"] for r in rows], length=32, seeds=range(16), ignore_eos=True)
    assert [r["tokens"] for r in sorted(made, key=lambda r: r["index"])] == [list(m.tokens) for m in whole]


# compare


def test_compare_is_a_line_a_decoder():
    specs = ("left_to_right", "llada:steps=4", "left_to_right")
    done = call("compare", PROMPT, "-n", 16, *(x for s in specs for x in ("-d", s)))
    assert done.exit_code == 0
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["decoder", "text", "NFE", "tokens/forward", "seconds", "agreement"]
    made = [Generator("nano", s)(PROMPT, length=16)[0] for s in specs]
    for line, m in zip(lines, made, strict=True):
        assert line.startswith(m.decoder)
        assert show.one_line(m.text) in line
        nfe, per_forward, _, share = line.split()[-4:]
        assert (nfe, per_forward, share) == (
            str(m.nfe),
            f"{m.tokens_per_forward:.2f}",
            f"{agreement(m.tokens, made[0].tokens):.0%}",
        )


def test_compare_draws_a_table_on_a_terminal(monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    done = call("compare", "[bold]Sort: a b", "-n", 4, "-d", "llada")
    assert done.exit_code == 0
    assert "┃" in done.stdout
    assert "llada" in done.stdout


@pytest.mark.parametrize(
    ("a", "b", "share"), [((), (), 1), ((1,), (), 0), ((1, 2, 3), (1, 9, 3), 2 / 3), ((1, 2), (1, 2, 3, 4), 0.5)]
)
def test_agreement_is_the_share_of_equal_tokens(a, b, share):
    assert agreement(a, b) == agreement(b, a) == share


def test_in_a_prompt_with_holes_only_what_was_filled_is_compared():
    mask = Generator().mask
    done = call(
        "compare", f"Sort: c b a{mask}", "--infill", "-d", "llada", "-d", "llada:temperature=100.0", "--seed", 3
    )
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["100%", "0%"]


# list, help and mistakes


def test_list_as_json():
    whole = json.loads(call("list", "--json").stdout)
    assert list(whole) == ["strategies", "caches", "presets", "models", "tasks", "families"]
    for kind, entries in whole.items():
        assert json.loads(call("list", kind, "--json").stdout) == entries
    for kind in ("strategies", "caches", "presets", "models"):
        for e in whole[kind]:
            own = {"kv_bytes_per_position"} if kind == "caches" else set()
            assert set(e) == {"name", "options", "source", "capabilities", "distribution", "attested"} | own
            assert all(set(o) == {"name", "type", "default", "min", "max"} for o in e["options"])
    threshold = next(e for e in whole["strategies"] if e["name"] == "threshold")
    assert threshold["options"][0] == {"name": "tau", "type": "float", "default": 0.9, "min": 0, "max": 1}
    assert "2505.22618" in threshold["source"]
    assert threshold["distribution"] == specs.DISTRIBUTION
    assert threshold["attested"] == "replayed"
    assert {e["attested"] for e in whole["presets"]} == {None}


def test_list_of_tasks_as_json():
    found = {e["name"]: e for e in json.loads(call("list", "tasks", "--json").stdout)}
    assert set(found) == set(specs.table("tasks"))
    assert all(set(e) == {"name", "rungs", "summary", "capabilities", "distribution"} for e in found.values())
    assert (found["sudoku"]["rungs"], found["sudoku"]["capabilities"]) == (["easy", "hard"], [])
    assert (found["mbpp"]["rungs"], found["mbpp"]["capabilities"]) == (["all"], ["reads_file", "runs_code"])
    assert found["sort"]["summary"] == "Write the list in alphabetical order."


def test_list_of_families_is_that_of_models():
    assert json.loads(call("list", "families", "--json").stdout) == json.loads(call("models", "--json").stdout)
    heading, *lines = call("list", "families").stdout.splitlines()
    assert heading == "families of checkpoints:"
    assert [line.removeprefix("  ") for line in lines] == call("models").stdout.splitlines()


WAVE = Family("wave", types=("wave",), architectures=("WaveModel",), native="LlamaForCausalLM")


def test_tasks_and_families_of_other_distributions_are_in_the_lists(monkeypatch):
    fake(monkeypatch, "tasks", mine="decoders_bench.tasks.lists:Shuffle", crooked="no.such.module:Thing")
    done = call("list", "tasks")
    assert "  mine  (easy, hard; from " in done.stdout
    assert "crooked" not in done.stdout
    assert "Warning: left out: task 'crooked'" in done.stderr
    fake(monkeypatch, "families", wave=f"{__name__}:WAVE", crooked="no.such.module:THING")
    done = call("list", "families")
    assert "  wave  " in done.stdout
    assert "Warning: left out: family 'crooked'" in done.stderr


def test_list_for_people_names_everything():
    text = call("list").stdout
    for kind in ("strategies", "caches", "presets", "models", "tasks"):
        for e in registry.entries(kind):
            assert f"  {e.name}  (" in text
            assert not e.attested or ATTESTED[e.attested] in text
            assert all(f"{o.name}={registry.spelled(o.default)}" in text for o in e.options)


def test_list_for_people_says_what_an_option_can_choose_and_with_which_options():
    lines = call("list", "strategies").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("s2d2  "))
    route = next(i for i in range(at, len(lines)) if lines[i].strip().startswith("route="))
    assert "always|never|min_span|score|hysteresis|ucb" in lines[route]
    about = "Drafts whose leftmost open run has at least `span` positions."
    assert lines[route + 3].split() == ["min_span:span=1", *about.split()]


def test_list_states_the_size_of_the_store():
    size = Generator().model.column_bytes
    assert size == 2 * 6 * 4 * 32 * 4  # keys and values, layers, heads, head size, float32: the shape in nano's config
    assert f"In nano: {size:,} bytes." in call("list", "caches", "-m", "nano").stdout
    assert {e["kv_bytes_per_position"] for e in json.loads(call("list", "caches", "-m", "nano", "--json").stdout)} == {
        size
    }
    assert "2 x layers x key-value heads x head size" in call("list", "caches").stdout
    assert {e["kv_bytes_per_position"] for e in json.loads(call("list", "caches", "--json").stdout)} == {None}


# caches and presets


def record(*arguments):
    return json.loads(call("generate", "Sort: k c x a t", "-n", 16, "--json", *arguments).stdout)


@pytest.mark.parametrize("cache", [e.name for e in registry.entries("caches")])
def test_every_cache_from_the_command_line(cache):
    model = "nano:attention=block" if cache == "block" else "nano"
    row = record("-c", cache, "-m", model, "--block", 8, "-d", "llada", "--ignore-eos")
    columns = len(Generator().encode("Sort: k c x a t")) + 16 + 1  # the last one is the bin
    stored = 0 if cache in ("none", "exact") else columns  # with these, every forward computes everything
    assert (row["cache"], row["kv_bytes"]) == (cache, Generator().model.column_bytes * stored)
    assert row["positions_computed"] > 0 < row["flops"]
    assert (row["cache_hit_rate"] == 0) == (cache in ("none", "exact"))


def test_a_cache_that_does_not_fit_is_one_line():
    done = call("generate", "a", "-c", "block")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "the cache Block is for block-causal models" in done.stderr


def test_presets_are_decoders_by_name_and_both_halves_can_be_chosen():
    assert [record("-d", spec)["cache"] for spec in ("fast-dllm", "entropycache", "threshold")] == [
        "dual",
        "entropycache",
        "exact",
    ]
    assert record("-d", "fast-dllm", "-c", "prefix")["cache"] == "prefix"
    ours, theirs = record("-d", "fast-dllm:tau=0.5"), record("-d", "threshold:tau=0.5", "-c", "dual")
    assert (ours["tokens"], ours["positions_computed"]) == (theirs["tokens"], theirs["positions_computed"])
    assert "did you mean 'fast-dllm'" in call("generate", "a", "-d", "fast-dlm").stderr
    assert "threshold has no option 'k'" in call("generate", "a", "-d", "fast-dllm:k=3").stderr


def test_list_warns_once_of_another_package_of_this_name(monkeypatch):
    monkeypatch.setattr(specs, "other_owner", lambda: "decoders")
    done = call("list", "--json")
    assert done.stderr.count("Warning") == 1
    assert "'decoders'" in done.stderr
    assert json.loads(done.stdout)


def fake(monkeypatch, group: str, **points: str) -> None:
    """More entry points than are installed."""
    real = specs.table

    def table(kind):
        more = (
            {name: (EntryPoint(name, value, f"decoders.{kind}"),) for name, value in points.items()}
            if kind == group
            else {}
        )
        return {**real(kind), **more}

    monkeypatch.setattr(specs, "table", table)


def test_a_broken_strategy_is_told_and_left_out(monkeypatch):
    fake(monkeypatch, "strategies", crooked="no.such.module:Thing")
    done = call("list", "strategies", "--json")
    assert (done.exit_code, "crooked" in done.stderr) == (0, True)
    assert "crooked" not in [e["name"] for e in json.loads(done.stdout)]
    assert call("generate", "-n", 4, "a").exit_code == 0


@click.command()
@click.option("--times", default=2)
def greet(times):
    """Says hello."""
    click.echo("hello " * times)
    return 5  # a click command may return anything; it is no exit code


def test_commands_of_plugins(monkeypatch):
    fake(
        monkeypatch, "commands", crooked="no.such.module:thing", number="math:pi", greet=f"{__name__}:greet",
        list="math:pi",
    )
    text = call("--help").stdout
    assert all(name in text for name in ("crooked", "greet", "bench", "generate", "Exit codes"))
    done = call("greet", "--times", 1)
    assert (done.exit_code, done.stdout) == (0, "hello \n")
    for name, problem in (("crooked", "No module named"), ("number", "not a click command")):
        done = call(name, "some", "--flag")
        assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert problem in done.stderr
    assert call("list").exit_code == 0  # a plugin does not replace a built-in


def options_without_help(command: click.Command, *path: str) -> list[str]:
    context = click.Context(command)
    if isinstance(command, click.Group):
        found = ((name, command.get_command(context, name)) for name in command.list_commands(context))
        return [text for name, each in found for text in options_without_help(each, *path, name)]
    return [
        " ".join((*path, p.opts[0])) for p in command.params
        if isinstance(p, click.Option) and not (p.help or p.hidden)
    ]


def test_every_option_of_every_command_is_explained():
    assert options_without_help(main) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["generate"], "give a PROMPT"),
        (["generate", "a", "-d", "treshold"], "did you mean 'threshold'"),
        (["generate", "a", "-d", "threshold:tau=2"], "between 0 and 1"),
        (["generate", "a", "-d", "threshold:tao=1"], "did you mean 'tau'"),
        (["generate", "a", "-d", "threshold:tau"], "name:key=value"),
        (["generate", "a", "-d", "threshold", "--top-k", "0"], "top_k must be at least 1"),
        (["generate", "a", "-d", "threshold:top_k=3"], "no option 'top_k'"),
        (["generate", "a", "-d", "threshold:temperature=1", "--temperature", "1"], "leave one out"),
        (["generate", "a", "--temperature", "nan"], "temperature"),
        (["generate", "a", "-c", "exakt"], "did you mean 'exact'"),
        (["generate", "a", "-m", "nanno"], "did you mean 'nano'"),
        (["generate", "a", "-m", "./nowhere"], "no checkpoint directory"),
        (["generate", "a", "-m", "a" * 300], "unknown model"),
        (["generate", "a", "-m", "a/" * 3000], "no checkpoint directory"),
        (["generate", "a", "-m", "~" + "a" * 300], "no checkpoint directory"),
        (["generate", "a", "-m", "a\0b"], "unknown model"),
        (["generate", "a", "-m", "nano:attention=" + "x" * 5000], "attention must be one of"),
        (["generate", "a", "--constraint", "regex:a{100000}"], "about 100000 states, and up to 32768 are compiled"),
        (["generate", "a", "--constraint", "json:" + "a" * 300], "File name too long"),
        (["generate", "a", "--trace", "a" * 300], "cannot be written: File name too long"),
        (["generate", "--input", "a" * 300, "--output", "y"], "cannot be read: File name too long"),
        (["generate", "a", "-n", "5000"], "1024"),
        (["generate", "a", "-n", "0"], "length"),
        (["generate", "a", "-n", "many"], "not a valid integer"),
        (["generate", "a", "--block", "0"], "block"),
        (["generate", "a", "--guidance", "-1"], "guidance"),
        (["generate", "a", "--seed", "99999999999999999999"], "64 bits"),
        (["generate", "a", "--poll", "100000"], "1<=x<=256"),
        (["generate", "a", "-d", "decoders:Decoder"], "no step"),
        (["generate", "a", "--infill"], "no hole"),
        (["generate", "a", "--infill", "--stream"], "--watch"),
        (["generate", "a", "--json", "--watch"], "exclude each other"),
        (["generate", "a", "--input", "x", "--output", "y"], "takes no PROMPT"),
        (["generate", "--input", "x"], "go together"),
        (["generate", "--input", "/no/x", "--output", "y"], "cannot be read"),
        (["generate", "--input", "empty", "--output", "empty"], "same file"),
        (["generate", "--input", os.devnull, "--output", "/dev/full"], "not a regular file"),
        (["generate", "--input", os.devnull, "--output", "/no/y"], "cannot be written"),
        (["generate", "a", "--trace", "/no/trace"], "cannot be written"),
        (["generate", "a", "-d", "llada:steps=7", "--block", "8", "-n", "16"], "split evenly"),
        (["generate", ""], "empty"),
        (["generate", "a", ""], "empty"),
        (["generate", "\udcff"], "Unicode"),
        (["generate", "a", "--bad"], "No such option"),
        (["compare", "a"], "name the decoders"),
        (["compare", "a", "-d", "llada", "-d", "lada"], "did you mean 'llada'"),
        (["list", "things"], "strategies"),
        (["lsit"], "No such command"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    done = call(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert os.listdir() == ["empty"]  # nothing was begun


def test_a_mistake_through_the_real_command():
    done = shell("generate", "a", "-d", "treshold")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: unknown strategy 'treshold'; did you mean 'threshold'?\n"


@pytest.mark.parametrize(
    ("args", "code"), [
        *slow(("list", 0), ("generate -n 4 a", 0)), ("generate -d nope a", 2),
    ],
)
def test_streams_that_were_closed_before_the_command_began_break_nothing(args, code):
    done = subprocess.run(["sh", "-c", f"exec {DECODERS} {args} >&-"], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert subprocess.run(["sh", "-c", f"exec {DECODERS} {args} >&- 2>&-"]).returncode == code


def test_help_imports_no_model_and_no_plugin():
    code = """import sys; from decoders.cli import main
try: main(['--help'])
except SystemExit: print([m for m in ('transformers', 'decoders_bench') if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
