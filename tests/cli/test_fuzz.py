"""Whatever is typed, and whatever a file holds: a command succeeds, or says in one line on stderr what is wrong and
ends with another exit code than 0. It never hangs, and a command that was refused leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from decoders.cli import main
from support import checkpoints
from support.commands import shell
from support.junk import arguments, bent, json_file, junk, spec

pytestmark = pytest.mark.slow

PATIENCE, LONGEST = 30, 300
"""Seconds of the processor that one input may take, and seconds by the clock: for one that waits, since another may
only be slow on a machine that has much else to do."""
tried: Counter[str] = Counter()
KINDS = 11
"""Of inputs."""
codes: Counter[int] = Counter()


class Hang(BaseException):
    """An input took too long; no handler of exceptions takes it for something else."""


@contextmanager
def alarm(what: object, patience: float = PATIENCE, longest: float = LONGEST) -> Iterator[None]:
    def ring(number: int, _: object) -> None:
        limit = f"{patience} s of the processor" if number == signal.SIGPROF else f"{longest} s"
        raise Hang(f"more than {limit}: {what!r}")

    before = {number: signal.signal(number, ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, patience)
    signal.setitimer(signal.ITIMER_REAL, longest)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_input_that_hangs_is_found() -> None:
    """Whether it works or waits."""

    def works() -> None:
        while True:
            pass

    with pytest.raises(Hang, match=r"0\.1 s of the processor: 'a'"), alarm("a", patience=0.1):
        works()
    with pytest.raises(Hang, match=r"0\.1 s: 'a'"), alarm("a", longest=0.1):
        time.sleep(60)


def fuzz(count: int) -> Any:
    """So many inputs, the same in every run, with no time spent on making a failure smaller."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def attempt(room: Path, kind: str, *args: str) -> Result:
    """Run a command in the directory `room`, and judge it."""
    tried[kind] += 1
    before = {p.name for p in room.iterdir()}
    with alarm(args), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(main, args)
    case = f"decoders {' '.join(map(ascii, args))}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    if done.exception and not isinstance(done.exception, SystemExit):
        raise AssertionError(f"a traceback: {case}") from done.exception
    judge(done.exit_code, done.stdout, done.stderr, case)
    new = {p.name for p in room.iterdir()} - before
    assert not (new and done.exit_code == 2), f"left {new} behind: {case}"
    return done


def judge(code: int, out: str, said: str, case: str) -> None:
    codes[code] += 1
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in out + said, case
    assert code in (0, 1, 2), f"exit code {code}: {case}"
    if code == 2:
        assert len(errors) == 1 or said.startswith("Usage"), f"{len(errors)} lines: {case}"
    if code == 1:
        assert errors, f"no word: {case}"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is where commands run."""
    (tmp_path / "room").mkdir()
    monkeypatch.chdir(tmp_path / "room")
    return tmp_path / "room"


def empty(room: Path) -> None:
    for p in room.iterdir():
        shutil.rmtree(p) if p.is_dir() else p.unlink()


def one_of(*texts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


small = one_of("1", "4", "8", "8", "12", "0", "-1", "100000")
number = one_of("0", "1", "0.5", "3", "-1", "nan", "1e308", "2147483648")
path = one_of("in", "in", "out", ".", "no/such", "", "a" * 300, "\udcff")
plain = one_of("Sort: c a b", "Sort: c a b", "Sort: c a b", "Sort: <|mask|><|mask|> a", "Sort: a b " * 300)
prompts = st.one_of(plain, plain, junk)
SHARED: dict[str, Any] = {
    "-m": one_of("nano", "nano", "nano:attention=block", "nano:attention=x", "no/such", "a" * 300, "nano:a"),
    "--device": one_of("cpu"), "--dtype": one_of("float32", "bfloat16", "int8"), "--device-map": one_of("auto"),
    "--trust-remote-code": None, "--chat": None, "--raw": None, "-c": spec("caches"), "-n": small, "--block": small,
    "--guidance": number, "--constraint": one_of("regex:[a-z ]+", "regex:a", "json:no", "template:in"),
    "--stop": junk, "--infill": None, "--ignore-eos": None, "--max-steps": small, "--seed": number, "-d": spec(),
}
GENERATE = SHARED | {
    "--temperature": number, "--top-p": number, "--top-k": number, "--batch": small, "--stream": None, "--json": None,
    "--watch": None, "--poll": one_of("1", "7", "0", "100000"), "--trace": path, "--input": path,
    "--output": one_of("out", "/dev/full"),
}


@fuzz(300)
@given(args=arguments(GENERATE, prompts))
def test_generate(room: Path, args: list[str]) -> None:
    empty(room)
    (room / "in").write_text('{"prompt": "Sort: c a b"}\n{"prompt": ""}\n')
    attempt(room, "generate", "generate", "-n", "8", *args, *([] if "--input" in args else ["Sort: c a b"]))


@fuzz(250)
@given(decoder=spec(), cache=spec("caches"), prompt=prompts, model=one_of("nano", "nano:attention=block"))
def test_decoders_and_caches(room: Path, decoder: str, cache: str, prompt: str, model: str) -> None:
    """At most 64 forwards: a budget of a thousand million steps is no junk."""
    empty(room)
    command = "generate", "-m", model, "-n", "8", "--max-steps", "64", "--json"
    attempt(room, "decoders", *command, "-d", decoder, prompt)
    attempt(room, "caches", *command, "-c", cache, prompt)


@fuzz(60)
@given(args=arguments(SHARED))
def test_compare(room: Path, args: list[str]) -> None:
    empty(room)
    attempt(room, "compare", "compare", "-n", "8", "--max-steps", "64", "-d", "threshold", *args, "Sort: c a b")


@fuzz(30)
@given(args=arguments({"-m": one_of("nano", "no/such"), "--json": None}, one_of("strategies", "caches", "models", "x")))
def test_list(room: Path, args: list[str]) -> None:
    empty(room)
    attempt(room, "list", "list", *args)


ROW = {"prompt": "Sort: c a b", "id": 7, "seed": 3}
CHAT = {"messages": [{"role": "user", "content": "Sort: c a b"}], "id": "a"}
MADE = {"index": 0, "settings": "a", "input": "b"}
line = st.one_of(json_file(ROW), json_file(CHAT), st.sampled_from((b"", json.dumps(ROW).encode(), b"\r", b"\x00")))


@fuzz(100)
@given(lines=st.lists(line, max_size=4), old=st.one_of(st.none(), st.none(), json_file(MADE)))
def test_input_files(room: Path, lines: list[bytes], old: bytes | None) -> None:
    """The output holds whole lines, and the same command again adds none."""
    empty(room)
    (room / "in").write_bytes(b"\n".join(lines))
    if old is not None:
        (room / "out").write_bytes(old)
    command = "generate", "-n", "4", "--input", "in", "--output", "out"
    done = attempt(room, "lines", *command)
    if done.exit_code == 2:
        assert old is None or (room / "out").read_bytes() == old
        return
    made = (room / "out").read_bytes()
    assert all(isinstance(json.loads(x), dict) for x in made.splitlines())
    assert attempt(room, "lines", *command).exit_code == done.exit_code
    assert (room / "out").read_bytes() == made


SCHEMA = {
    "type": "object", "required": ["a", "b"], "$defs": {"d": {"anyOf": [{"type": "boolean"}, {"const": 3}]}},
    "properties": {
        "a": {"type": "integer", "minimum": 0}, "b": {"type": "array", "items": {"enum": ["x", 1]}, "maxItems": 2},
        "c": {"$ref": "#/$defs/d"}, "e": {"type": "string", "pattern": "[a-z]{1,3}", "maxLength": 4},
    },
}
expressions = one_of(
    "[a-c]+( [a-c]){2,3}", "(a|ab)*c?", r"\d{1,3}\.\w", "^(?:x|[^y])$", r"(?i)a\pL{2}", "a{3000}", "(a{100}){100}"
)


@fuzz(120)
@given(data=st.data())
def test_constraints(room: Path, data: st.DataObject) -> None:
    empty(room)
    kind = data.draw(one_of("regex", "json", "template", "junk"))
    text = data.draw(bent(data.draw(expressions))) if kind == "regex" else "file"
    if kind == "json":
        (room / "file").write_bytes(data.draw(json_file(SCHEMA)))
    if kind == "template":
        (room / "file").write_bytes(data.draw(bent("a {{3}} b <|mask|>")).encode("utf-8", "surrogatepass"))
    whole = data.draw(junk) if kind == "junk" else f"{kind}:{text}"
    length = data.draw(one_of("4", "24"))
    attempt(room, "constraints", "generate", "-n", length, "--constraint", whole, "Sort: c a b")


FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors.index.json",
)
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of several families, each with all the files that are read."""
    root = tmp_path_factory.mktemp("originals")
    for name, shards in (("dream", 1), ("sdar", 3), ("llada", 1), ("diffusion_gemma", 1), ("bert", 2)):
        checkpoints.write(root / name, name, shards=shards, chat=TEMPLATE)
        (root / name / "generation_config.json").write_text(json.dumps({"eos_token_id": [97, 98], "temperature": 0.2}))
    return {p.name: p for p in root.iterdir()}


@fuzz(250)
@given(data=st.data())
def test_checkpoints(room: Path, originals: dict[str, Path], data: st.DataObject) -> None:
    empty(room)
    family = data.draw(st.sampled_from(sorted(originals)))
    shutil.copytree(originals[family], room / "m")
    file = room / "m" / data.draw(st.sampled_from([f for f in FILES if (originals[family] / f).exists()]))
    file.write_bytes(data.draw(json_file(json.loads(file.read_text()))))
    attempt(room, "checkpoints", "generate", "-m", "m", "-n", "8", "--max-steps", "64", "--json", "a b")


QUALITY = {
    "-d": spec(), "-c": spec("caches"), "-t": one_of("chain/easy", "gsm8k:file", "math500:file", "mbpp:file", "x"),
    "--steps": one_of("4", "0", "1,x", ""), "--thresholds": one_of("0.9", "2", "nan", "a"), "--length": small,
    "--sweep": one_of("tau=0.5,0.9", "f=nan", "block=0,-1", "base=(llada)", "=", "x"), "--batch": small,
    "--block": one_of("8", "full", "0", "9" * 5000), "--templates": one_of("0", "all", "99", "x", "9" * 5000),
    "--seeds": one_of("1", "0", "-1", "a"), "--baseline": spec(), "--json": None, "--traces": small,
}
SMALL = (
    ("--length", "12"),  # that of a task of a file is up to 512, for which nano takes half a minute
    ("-d", "threshold"), ("-t", "chain/easy"), ("--templates", "0"), ("--thresholds", "0.9"),
)
PROBLEM = {
    "question": "1 + 1?", "answer": "It is 2. #### 2", "problem": "1+1", "text": "f", "code": "x", "test_list": ["1"],
}


@fuzz(80)
@given(args=arguments(QUALITY, junk), file=json_file(PROBLEM))
def test_bench_quality(room: Path, args: list[str], file: bytes) -> None:
    empty(room)
    (room / "file").write_bytes(file)
    grid = [x for option, value in SMALL if option not in args for x in (option, value)]
    grid = grid if "threshold" in [*grid, *args] else grid[:-2]
    attempt(room, "quality", "bench", "quality", "-n", "1", "--workers", "1", "-o", "run", *grid, *args)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quality run of a few items."""
    run = tmp_path_factory.mktemp("measured") / "run"
    args = ("-n", "2", "--workers", "1", "-o", str(run), *(x for pair in SMALL for x in pair))
    done = CliRunner().invoke(main, ["bench", "quality", *args, "-d", "llada", "--steps", "4"])
    assert done.exit_code == 0, done.output
    return run


@fuzz(100)
@given(data=st.data())
def test_bench_report(room: Path, measured: Path, data: st.DataObject) -> None:
    empty(room)
    shutil.copytree(measured, room / "run")
    file = room / "run" / data.draw(one_of("run.json", "rows.jsonl", "traces.jsonl"))
    whole = file.read_bytes()
    first, rest = (whole, b"") if file.suffix == ".json" else whole.split(b"\n", 1)
    file.write_bytes(data.draw(json_file(json.loads(first))).replace(b"\n", b"") + b"\n" + rest)
    kinds = data.draw(st.sampled_from((("-o", "page.html"), ("--markdown", "page.md"), ("--json",), ("--svg", "svg"))))
    attempt(room, "report", "bench", "report", "run", *kinds)


@fuzz(6)
@given(args=arguments(GENERATE, prompts))
def test_the_installed_command(room: Path, args: list[str]) -> None:
    empty(room)
    tried["processes"] += 1
    done = shell("generate", "-n", "8", *args, timeout=600)
    judge(done.returncode, done.stdout, done.stderr, str(args))


def test_a_thousand_inputs_were_tried() -> None:
    """By all tests of this file together; of them many were right enough to be decoded, not stopped at the door."""
    print(f"{sum(tried.values())} inputs: {dict(tried)}; exit codes: {dict(codes)}")
    if len(tried) < KINDS:
        pytest.skip("only some of the tests were run")
    assert sum(tried.values()) >= 1000
    assert codes[0] >= 200
