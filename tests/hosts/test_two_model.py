"""Reasoning by another model: an OpenAI-compatible server in a process of its own, with its faults, and a local causal
model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

import decoders
from decoders import Generator, UsageError
from decoders.models.source import load_model
from decoders.models.tokenizer import load_tokenizer
from decoders.reasoning.base import ReasonerError, Reasoning
from decoders.reasoning.endpoint import Endpoint
from decoders.reasoning.local import Local
from decoders.reasoning.patience import retry_after
from decoders.reasoning.reasoner import reasoner_of
from decoders.testing.checkpoints import write_json, write_tokenizer
from decoders.text.records import KEYS
from support.checkpoints import EOS, EXTRA, MASK, VOCAB
from support.commands import call

SERVER = Path(__file__).parents[1] / "support" / "openai_server.py"
DECODERS = str(Path(sys.executable).parent / "decoders")
MORE = ["reasoning", "reasoning_tokens", "reasoning_seconds", "reasoning_finish_reason", "reasoner"]
QUICK = "wait=0.001"
CHAT = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.3, "bos_token_id": None,
    "eos_token_id": EOS,
}


@dataclass
class Running:
    """The server."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def log(self) -> list[dict]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log", timeout=10) as answer:
            return json.load(answer)

    def asked(self) -> list[dict]:
        """The bodies of requests for completions."""
        return [r["body"] for r in self.log() if r["body"]]


@contextmanager
def serving(port: int = 0, **script):
    process = subprocess.Popen(
        [sys.executable, SERVER, str(port), json.dumps(script)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield Running(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def nano():
    return load_model("nano")


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def spec(reasoner: str, **more) -> str:
    written = {"boundary": '"#"', **more, "reasoner": reasoner}
    return "after_reasoning:" + ",".join(f"{k}={v}" for k, v in written.items())


def write(endpoint: Endpoint, *prompts, boundary="#", budget=100, seeds=None):
    return endpoint.write(prompts, seeds=seeds or [0] * len(prompts), boundary=boundary, budget=budget)


def tiny(directory: Path, chat: str | None = None, **changes) -> Path:
    """A random causal language model with a tokenizer of characters, as it lies on a disk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **changes}))
    logging.disable_progress_bar()
    model.save_pretrained(directory)
    logging.enable_progress_bar()
    write_tokenizer(directory, ("<|mask|>", "<|end|>", "<|extra|>"), "Qwen2Tokenizer", chat)
    return directory


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# what names a reasoner


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://a/v1", "unknown reasoner"), ("nothing", "unknown reasoner"), ("http:///v1", "names no host"),
        ("http://a:b/v1", "Port could not be cast"), ("http://user:pass@a/v1", "holds no credentials"),
        ("http://[a/v1", "cannot be read"), ("http://a/v1?tries=3", "no option 'tries'; known: chat, key, parallel"),
        ("http://a/v1?url=b", "no option 'url'"), ("http://a/v1?retries=-1", "retries must be at least 0"),
        ("http://a/v1?temperature=hot", "temperature must be float"), ("http://a/v1?retries", "cannot be read"),
        ("hf:", "write hf:DIRECTORY"), ("hf://host/a", "write hf:DIRECTORY"), ("hf:/no/such/place", "no checkpoint"),
        ("test_two_model:Nobody", "has no 'Nobody'"),
    ],
)
def test_a_name_that_is_none_is_one_clear_line(text, message):
    with pytest.raises(UsageError, match=message) as e:
        reasoner_of(text)
    assert "\n" not in str(e.value)
    assert "pass" not in str(e.value)


def test_options_stand_in_the_query_and_the_model_in_the_fragment():
    made = reasoner_of("https://host/v1/?temperature=0.5&retries=2&chat=false#org/model:8b")
    assert made == Endpoint("https://host/v1", "org/model:8b", temperature=0.5, retries=2, chat=False)
    assert made.name == "https://host/v1?chat=false&temperature=0.5#org/model:8b"
    assert reasoner_of(made.name) == replace(made, retries=5)


# what is asked and what becomes of it


def test_chat_and_continuation(server):
    endpoint = Endpoint(server.url)
    [a] = write(endpoint, "why sky", seeds=[7])
    [b] = write(replace(endpoint, chat=False, temperature=0.5, model="other"), "why sky", seeds=[7], budget=50)
    assert (a.text, a.tokens, a.finish_reason, a.continues, a.reasoner) == (
        " why sky seed 0 ",
        4,
        "stop",
        False,
        f"{server.url}#tiny",
    )
    assert (b.text, b.tokens, b.continues, b.reasoner) == (
        " why sky seed 7 ",
        4,
        True,
        f"{server.url}?chat=false&temperature=0.5#other",
    )
    assert min(a.seconds, b.seconds) > 0
    chat, text = server.asked()[-2:]
    assert chat == {
        "model": "tiny", "messages": [{"role": "user", "content": "why sky"}], "temperature": 0.0, "max_tokens": 100,
        "stop": ["#"],
        "seed": 7,
    }
    assert text == {
        "model": "other",
        "prompt": "why sky",
        "temperature": 0.5,
        "max_tokens": 50,
        "stop": ["#"],
        "seed": 7,
    }


def test_a_conversation_is_handed_on_and_cannot_be_continued(server):
    talk = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why"}]
    [made] = write(Endpoint(server.url), talk)
    assert made.text == " why seed 0 "
    assert server.asked()[-1]["messages"] == talk
    [failed] = write(Endpoint(server.url, chat=False), talk)
    assert isinstance(failed, ReasonerError)
    assert "leave out chat=false" in str(failed)


def test_boundary_and_budget(server):
    [whole] = write(Endpoint(server.url), "a", boundary="")
    assert whole.text == " a seed 0 # 42 # 43 </think> 44"
    assert "stop" not in server.asked()[-1]
    [short] = write(Endpoint(server.url), "a", budget=3)
    assert (short.text, short.finish_reason) == (" a seed", "length")
    with serving(ignores_stop=True) as careless:
        [cut] = write(Endpoint(careless.url), "a")
        assert (cut.text, cut.finish_reason) == (" a seed 0 ", "stop")


def test_what_a_server_took_apart_is_the_reasoning(server):
    [made] = write(Endpoint(server.url), "fault=thinking")
    assert (made.text, made.tokens, made.finish_reason) == (" thought apart", None, "stop")


def test_requests_of_a_batch_are_in_flight_together_and_come_back_in_order():
    """The server answers none before it has all six."""
    with serving(together=6) as gathering:
        made = write(Endpoint(gathering.url, model="tiny", timeout=30), *"abcdef", seeds=[*range(6)])
        assert [m.text for m in made] == [f" {x} seed 0 " for x in "abcdef"]
        assert {m["seed"]: m["messages"][0]["content"] for m in gathering.asked()} == dict(enumerate("abcdef"))
    with serving(together=2) as pairs:
        assert len(write(Endpoint(pairs.url, model="tiny", timeout=30, parallel=2), *"abcd")) == 4
        assert [
            m.text[1] for m in write(Endpoint(pairs.url, model="tiny", timeout=10, parallel=2, retries=0), *"abcd")
        ] == [*"abcd"]


def test_in_a_thread_that_runs_a_loop_as_notebooks_do(server):
    import asyncio

    async def cell():
        return write(Endpoint(server.url), "a")

    assert asyncio.run(cell())[0].text == " a seed 0 "


# faults


@pytest.mark.parametrize(
    "fault", ["429", "429/0", "500", "503", "408", "garbage", "missing", "null", "surrogate", "half"]
)
def test_what_can_mend_is_tried_again(fault):
    with serving(faults=[fault] * 2) as flaky:
        [made] = write(Endpoint(flaky.url, wait=0.001), "a")
        assert made.text == " a seed 0 "
        assert len(flaky.asked()) == 3


@pytest.mark.parametrize(
    ("fault", "options", "tries", "message", "everyone"),
    [
        ("500", {"retries": 2}, 3, "says 500: no, as None should know (3 tries in 0.", False),
        ("429", {"retries": 1}, 2, " s); wait, or lower parallel", False),
        ("429/3600", {}, 1, "says 429: no, as None should know, and asks to wait 3600 s (1 try in 0.", False),
        (
            "garbage", {"retries": 1}, 2,
            "answered chat/completions with what is no reply of this API: <html>not json (2 tries", False,
        ),
        ("missing", {"retries": 0}, 1, 'no reply of this API: {"object": "chat.completion"} (1 try', False),
        ("half", {"retries": 0}, 1, "broke the connection off", False),
        ("slow", {"retries": 1, "timeout": 0.2}, 2, "gave no answer within 0.2 s (2 tries in 0.", False),
        ("slow", {"timeout": 0.2, "patience": 0.3}, 2, "(2 tries in 0.", False),
        (
            "400", {}, 1,
            "says 400: no, as None should know; see whether the prompt is too long for it, or take chat=false", False,
        ),
        (
            "401", {}, 1,
            "says 401: no, as None should know; put a valid key into the environment variable OPENAI_API_KEY", True,
        ),
        ("404", {}, 1, "see that the URL ends in /v1, and that it has the model", True),
        ("307", {}, 1, "says 307: no, as None should know; give the URL that it redirects to", True),
    ],
)
def test_what_does_not_mend_is_one_clear_line(fault, options, tries, message, everyone):
    with serving(always=fault) as broken:
        [failed] = write(Endpoint(broken.url, "tiny", wait=0.001, **options), "a")
        assert isinstance(failed, ReasonerError)
        assert message in str(failed)
        assert str(failed).startswith(broken.url)
        assert "\n" not in str(failed)
        assert failed.everyone == everyone
        assert len(broken.asked()) == tries


def test_nobody_there():
    began = time.monotonic()
    failed = write(Endpoint(f"http://127.0.0.1:{free_port()}/v1", retries=2, wait=0.001), "a", "b")
    assert all(isinstance(f, ReasonerError) and f.everyone for f in failed)
    assert "cannot be reached: " in str(failed[0])
    assert " s); see that the server runs, and try again" in str(failed[0])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("fault", "message"), [("garbage", "no reply"), ("401", "put a valid key"), ("missing", "no reply")]
)
def test_models_that_cannot_be_listed(fault, message):
    with serving(models=fault) as broken:
        failed = write(Endpoint(broken.url, wait=0.001, retries=1), "a", "b")
        assert [message in str(f) for f in failed] == [True, True]
        assert broken.asked() == []


def test_waits_grow_and_a_server_that_asks_for_longer_gets_it():
    with serving(faults=["503"] * 4) as flaky:
        write(Endpoint(flaky.url, "tiny", wait=0.02), "a")
        at = [r["at"] for r in flaky.log()]
        waits = [b - a for a, b in pairwise(at)]
        assert all(w >= 0.01 * 2**i for i, w in enumerate(waits))
        assert waits[-1] < 2
    with serving(faults=["429/1"]) as limited:
        write(Endpoint(limited.url, "tiny", wait=0.001), "a")
        first, second = (r["at"] for r in limited.log())
        assert 0.9 < second - first < 5


def test_the_wish_of_a_server_is_seconds_or_a_date():
    assert [retry_after(x) for x in ("12", None, "", "soon", "-3", "1.5")] == [12, 0, 0, 0, 0, 0]
    assert 25 < retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after(formatdate(time.time() - 30, usegmt=True)) == 0


def test_one_prompt_that_fails_takes_no_other_with_it(server):
    made = write(Endpoint(server.url, wait=0.001, retries=1), "a", "fault=500", "fault=400", "b")
    assert [isinstance(m, Reasoning) for m in made] == [True, False, False, True]
    assert not any(m.everyone for m in made[1:3])


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch):
    with serving(always="401") as strict:
        monkeypatch.setenv("MY_KEY", "sk-secret ")
        [failed] = write(Endpoint(strict.url, key="MY_KEY"), "a")
        assert [r["authorization"] for r in strict.log()] == ["Bearer sk-secret"] * 2
        assert "secret" not in str(failed)
        assert "as Bearer *** should know" in str(failed)
        assert "environment variable MY_KEY" in str(failed)
        monkeypatch.setenv("MY_KEY", "sk-\nsecret")
        with pytest.raises(UsageError, match="MY_KEY holds no API key") as e:
            write(Endpoint(strict.url, key="MY_KEY"), "a")
        assert "secret" not in str(e.value)


# in a generator


def test_the_answer_follows_the_reasoning_and_none_of_it_is_counted(nano, server):
    prompts = ["Sort: c a b", "List: w j v reverse?"]
    run = Generator(nano, spec(f"{server.url}?chat=false", base="(threshold:tau=0.8)", budget=9))
    made = run(prompts, length=16, seeds=[1, 2])
    assert [m["max_tokens"] for m in server.asked()[-2:]] == [9, 9]
    for prompt, m in zip(prompts, made, strict=True):
        plain = Generator(nano, "threshold:tau=0.8")(f"{prompt} {prompt} seed 0 #", length=16, seed=m.seed)[0]
        assert (m.tokens, m.nfe, m.generated_tokens, m.positions_computed) == (
            plain.tokens, plain.nfe, plain.generated_tokens, plain.positions_computed
        )
        assert list(m.record()) == [*KEYS, *MORE]
        assert m.record()["reasoning"] == f" {prompt} seed 0 "
        assert json.loads(json.dumps(m.record())) == m.record()
        assert list(plain.record()) == list(KEYS)


def test_a_reply_begins_a_line_and_the_boundary_stands_also_where_the_budget_ended_it(nano, server):
    run = Generator(nano, spec(server.url, budget=3))
    [reasoning] = run.reason(["Sort: b a"], seeds=[0])
    assert reasoning.text == " Sort: b"
    assert run.encode("Sort: b a", 8, reasoning=reasoning) == nano.tokenizer.encode("Sort: b a\n Sort: b#")
    assert Generator(nano, spec(server.url, boundary="none")).boundary == ""


def test_a_boundary_of_token_ids_is_text_to_the_reasoner(nano, server):
    ids = nano.tokenizer.encode("# 42")
    run = Generator(nano, spec(server.url, boundary="+".join(map(str, ids))))
    assert run.boundary == "# 42"
    [reasoning] = run.reason(["a"], seeds=[0])
    assert reasoning.text == " a seed 0 "


def test_what_is_too_long_with_its_reasoning_is_one_clear_line(nano, server):
    run = Generator(replace(nano, positions=40), spec(server.url))
    asked = len(server.asked())
    long, good, far = run.reason(["a b c d e f g h i j k l", "a", "a " * 100], seeds=[0] * 3, length=16)
    assert "the prompt and its reasoning have" in str(long)
    assert "beyond the 40 of nano" in str(long)
    assert isinstance(good, Reasoning)
    assert str(far).startswith("the prompt has")
    assert len(server.asked()) == asked + 2  # what cannot be decoded anyway is not reasoned about
    with pytest.raises(UsageError, match="cannot be used with infill"):
        run(f"a {run.mask}", infill=True)


def test_a_failure_is_raised_and_what_was_reasoned_can_be_kept(nano, server):
    run = Generator(nano, spec(f"{server.url}?retries=1&{QUICK}"))
    prompts = ["a", "fault=500", "b"]
    with pytest.raises(ReasonerError, match="says 500"):
        run(prompts, length=8)
    found = run.reason(prompts, seeds=[0] * 3, length=8)
    kept = [(p, r) for p, r in zip(prompts, found, strict=True) if isinstance(r, Reasoning)]
    made = run([p for p, _ in kept], reasonings=[r for _, r in kept], length=8)
    assert [m.reasoning.text for m in made] == [" a seed 0 ", " b seed 0 "]


def test_after_a_chat_template_the_reasoning_begins_the_answer(tmp_path, nano, server):
    directory = tiny(tmp_path / "m", chat=CHAT)
    tokenizer, _ = load_tokenizer(directory, MASK)
    run = Generator(replace(nano, tokenizer=tokenizer, chat=tokenizer.chat), spec(server.url))
    [reasoning] = run.reason(["why"], seeds=[0])
    assert tokenizer.decode(run.encode("why", reasoning=reasoning)) == "<why> why seed 0 #"
    # a control token in it is text
    assert run.encode("why", reasoning=replace(reasoning, text="<|mask|>")).count(MASK) == 0
    assert tokenizer.core.encode("<|mask|>").ids == [MASK]  # and the tokenizer is as it was


@dataclass(frozen=True)
class Parrot:
    name: str = "parrot"

    def write(self, prompts, *, seeds, boundary, budget):
        return [Reasoning(f" {p}!", 2, 0.5, "stop", True, self.name) for p in prompts]


def test_any_class_can_reason(nano, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    [made] = Generator(nano, spec("test_two_model:Parrot"))("Sort: b a", length=8)
    assert made.record()["reasoning"] == " Sort: b a!"
    assert made.record()["reasoner"] == "parrot"


def test_token_ids_cannot_be_reasoned_about(tmp_path, server):
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    with pytest.raises(UsageError, match=r"use decoders.Generator"):
        model.generate(
            torch.tensor([[1, 2]]), max_new_tokens=4, custom_generate=decoders.generate, mask_id=MASK,
            attention="bidirectional", decoder=spec(server.url),
        )


# the command line


def test_generate_tells_the_reasoning_apart(server):
    d = spec(f"{server.url}?chat=false")
    done = call("generate", "-d", d, "-n", 8, "Sort: b a", "Sort: d c")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 2
    told = done.stderr.splitlines()
    assert told[0] == " Sort: b a seed 0 "
    assert told[1].startswith(f"[reasoning by {server.url}?chat=false#tiny: 5 tokens, ")
    assert told[2].startswith("[after_reasoning:")
    rows = [
        json.loads(line)
        for line in call("generate", "-d", d, "-n", 8, "--json", "Sort: b a", "Sort: d c").stdout.splitlines()
    ]
    assert [list(r) for r in rows] == [[*KEYS, *MORE]] * 2
    assert [r["text"] for r in rows] == done.stdout.splitlines()
    for flag in ("--stream", "--watch"):
        shown = call("generate", "-d", d, "-n", 8, flag, "Sort: b a")
        assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, rows[0]["text"])
        assert shown.stderr.count("seed 0") == 1
    assert call("compare", "-d", d, "-d", "threshold", "-n", 8, "Sort: b a").exit_code == 0


def test_finished_prompts_are_printed_before_the_failures(server, tmp_path):
    d = spec(f"{server.url}?retries=0")
    done = call(
        "generate", "-d", d, "-n", 4, "--json", "--trace", tmp_path / "trace", "a", "fault=500", "b", "fault=400"
    )
    assert done.exit_code == 1
    assert [json.loads(x)["reasoning"] for x in done.stdout.splitlines()] == [" a seed 0 ", " b seed 0 "]
    first, second = done.stderr.splitlines()
    assert first.startswith(f"Error: prompt 2: {server.url} says 500")
    assert second.startswith(f"Error: prompt 4: {server.url} says 400")
    assert {r["prompt"] for line in lines(tmp_path / "trace") for r in line["rows"]} == {0, 2}


def test_where_everyone_fails_the_rest_is_not_tried():
    d = spec(f"http://127.0.0.1:{free_port()}/v1?retries=1&{QUICK}")
    done = call("generate", "-d", d, "-n", 4, "--batch", 1, "a", "b", "c")
    assert (done.exit_code, done.stdout) == (1, "")
    assert [x.split(":")[1] for x in done.stderr.splitlines()] == [" prompt 1", " 2 more prompts were not tried"]


def test_a_file_goes_on_when_the_server_is_back(tmp_path):
    port = free_port()
    rows = [{"prompt": f"Sort: {x} a", "id": x} for x in "bcdefg"]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))

    def run(options=f"retries=1&{QUICK}"):
        d = spec(f"http://127.0.0.1:{port}/v1?{options}#tiny")
        return call("generate", "-d", d, "-n", 8, "--batch", 2, "--input", source, "--output", target)

    done = run()  # nobody is there
    assert (done.exit_code, target.read_text(), done.stderr.count("cannot be reached")) == (1, "", 2)
    assert "Error: 4 more lines were not tried; fix the cause and run the command again to continue\n" in done.stderr
    assert done.stderr.endswith(f"0 rows are in {target}; 6 lines could not be decoded\n")

    with serving(port, lives=3):
        assert run().exit_code == 1
    made = [r["id"] for r in lines(target)]
    assert made[:2] == ["b", "c"]
    assert len(made) <= 3
    kept = target.read_bytes()

    with serving(port, always="500"):  # of one prompt it may be, so all are tried
        done = run()
    assert (done.exit_code, done.stderr.count("says 500"), target.read_bytes()) == (1, 6 - len(made), kept)

    with serving(port, faults=["429", "500", "garbage"]) as back:
        done = run(QUICK)  # with more patience it is still the same work
        assert len(back.asked()) == 6 - len(made) + 3
    assert (done.exit_code, done.stderr) == (0, f"6 rows are in {target}\n")
    assert set(kept.splitlines()) <= set(target.read_bytes().splitlines())
    assert [r["id"] for r in lines(target)] == list("bcdefg")
    assert sorted(r["id"] for r in lines(target)) == [*"bcdefg"]
    assert all(r["reasoning"] == f" Sort: {r['id']} a seed 0 " for r in lines(target))
    assert "other settings" in run("temperature=1").stderr


@pytest.mark.parametrize("to_file", [pytest.param(False, marks=pytest.mark.slow), True])
def test_ctrl_c_leaves_at_once_and_in_one_line(tmp_path, to_file):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "a"}\n{"prompt": "fault=slow"}\n')
    where = ["--input", str(source), "--output", str(target)] if to_file else ["--json", "a", "fault=slow"]
    with serving() as slow:
        command = [DECODERS, "generate", "-d", spec(f"{slow.url}#tiny"), "-n", "4", "--batch", "1", *where]
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        while len(slow.asked()) < 2:
            assert run.poll() is None, run.communicate()
            time.sleep(0.02)
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        out, told = run.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert run.returncode == 130
    assert "Interrupted" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert len(lines(target)) == 1 if to_file else len(out.splitlines()) == 1


# a causal language model in a directory


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("hf") / "raw")


PROMPTS = ["a", "what is this", "zz z"]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_local_text_is_that_of_its_own_prompt_and_seed(raw, temperature):
    local = Local(str(raw), temperature=temperature)
    together = local.write(PROMPTS, seeds=[1, 2, 3], boundary="", budget=24)
    alone = [local.write([p], seeds=[s], boundary="", budget=24)[0] for p, s in zip(PROMPTS, (1, 2, 3), strict=True)]
    assert [(m.text, m.tokens, m.finish_reason) for m in together] == [
        (m.text, m.tokens, m.finish_reason) for m in alone
    ]
    other = local.write(PROMPTS, seeds=[4, 5, 6], boundary="", budget=24)
    assert ([m.text for m in together] == [m.text for m in other]) == (temperature == 0)
    assert {m.continues for m in together} == {True}
    assert together[0].reasoner == f"hf:{raw}" + ("?temperature=1.0" if temperature else "")


def test_greedily_it_is_what_transformers_writes(raw):
    [made] = Local(str(raw)).write(["what is this"], seeds=[0], boundary="", budget=24)
    tokenizer, _ = load_tokenizer(raw, None)
    ids = tokenizer.encode("what is this")
    theirs = LlamaForCausalLM.from_pretrained(raw).generate(
        torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=EXTRA
    )
    new = theirs[0, len(ids) :].tolist()
    assert (made.text, made.tokens) == (tokenizer.decode([t for t in new if t != EOS]), len(new))
    assert made.finish_reason == ("stop" if EOS in new else "length")


def test_samples_follow_the_model(raw):
    """Of the first token, over seeds, against the model's own probabilities; the bound is five times the expected
    distance."""
    local, n = Local(str(raw), temperature=1.0), 2000
    ids = local.encode("a")
    with torch.inference_mode():
        p = local.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
    seen = torch.zeros(VOCAB, dtype=torch.double)
    for tokens, _ in local.generate([ids] * n, range(n), "", 1):
        seen[tokens[0] if tokens else EOS] += 1 / n
    assert (seen - p).abs().sum() / 2 < 5 * (2 * p / (torch.pi * n)).sqrt().sum() / 2


def test_a_local_text_ends_at_the_boundary_wherever_it_stands(raw):
    local = Local(str(raw), temperature=1.0)
    whole = local.write(PROMPTS, seeds=[1, 2, 3], boundary="", budget=24)
    boundary = whole[1].text[3:5]
    cut = local.write(PROMPTS, seeds=[1, 2, 3], boundary=boundary, budget=24)
    assert [m.text for m in cut] == [m.text.partition(boundary)[0] for m in whole]
    [(tokens, _)] = local.generate([local.encode(PROMPTS[1])], [2], "", 24)
    first = next(n for n in range(25) if boundary in local.tokenizer.decode(tokens[:n]))
    assert (cut[1].finish_reason, cut[1].tokens) == ("stop", first)


def test_an_end_token_ends_a_local_text_and_is_one_of_its_tokens(tmp_path):
    """With an end token that the model likes to write."""
    free = Local(str(tiny(tmp_path / "free", eos_token_id=None)))
    [whole] = free.write(["a"], seeds=[0], boundary="", budget=12)
    assert (whole.tokens, whole.finish_reason) == (12, "length")
    [(tokens, spent)] = free.generate([free.encode("a")], [0], "", 12)
    end = tokens.index(tokens[4])
    assert (len(tokens), spent) == (12, 12)
    ends = Local(str(tiny(tmp_path / "ends", eos_token_id=[tokens[4], EOS])))
    for budget in (12, end + 1):
        [made] = ends.write(["a"], seeds=[0], boundary="", budget=budget)
        assert (made.text, made.tokens, made.finish_reason) == (free.tokenizer.decode(tokens[:end]), end + 1, "stop")


def test_a_local_chat_template_is_used_where_there_is_one(tmp_path):
    path = tiny(tmp_path / "chat", chat=CHAT)
    local, plain = Local(str(path)), Local(str(path), chat=False)
    assert local.encode("why") == plain.encode("<why>")
    assert local.encode([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]) == plain.encode("<a><b>")
    assert [x.write(["why"], seeds=[0], boundary="", budget=4)[0].continues for x in (local, plain)] == [False, True]
    [failed] = plain.write([[{"role": "user", "content": "a"}]], seeds=[0], boundary="", budget=4)
    assert "a conversation needs a chat template" in str(failed)


def test_a_prompt_beyond_the_local_model_takes_no_other_with_it(raw):
    first, second, third = Local(str(raw)).write(["a", "b" * 120, ""], seeds=[0] * 3, boundary="", budget=10)
    assert isinstance(first, Reasoning)
    assert str(second) == f"hf:{raw}: the prompt has 120 of its tokens; with a budget of 10 that is beyond its 128"
    assert "the prompt is empty" in str(third)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "tokenizer.json cannot be read"),
        (lambda d: (d / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "it is no file of safetensors, or not a whole one"),
        (
            lambda d: write_json(d / "config.json", {"model_type": "bert", "auto_map": {"AutoConfig": "evil.E"}}),
            "lacks [0-9]+ weights",
        ),
        (lambda d: write_json(d / "config.json", {"model_type": "t5"}), "no causal language model|cannot be read"),
    ],
)
def test_a_directory_that_cannot_be_loaded_is_one_clear_line(tmp_path, spoil, message):
    spoil(tiny(tmp_path / "m"))
    (tmp_path / "m" / "evil.py").write_text("raise SystemExit('code of the checkpoint ran')")
    with pytest.raises(UsageError, match=message) as e:
        reasoner_of(f"hf:{tmp_path / 'm'}")
    assert "\n" not in str(e.value)


def test_options_of_a_local_model(raw, tmp_path):
    assert next(reasoner_of(f"hf:{raw}?dtype=bfloat16").model.parameters()).dtype == torch.bfloat16
    with pytest.raises(UsageError, match="has no chat template"):
        reasoner_of(f"hf:{raw}?chat=true")
    odd = tmp_path / "a, (b)?"
    odd.symlink_to(raw)
    name = f"hf:{tmp_path}/a%2C%20%28b%29%3F"
    assert reasoner_of(name).directory == odd
    assert reasoner_of(reasoner_of(name).name).directory == odd


def test_two_models_from_the_command_line(raw):
    d = spec(f"hf:{raw}?temperature=1", budget=12, boundary='" # "')
    rows = [
        json.loads(x)
        for x in call("generate", "-d", d, "-n", 8, "--json", "--seed", 3, "Sort: b a", "List: a").stdout.splitlines()
    ]
    assert [r["reasoning_tokens"] for r in rows] == [12, 12]
    again = call("generate", "-d", d, "-n", 8, "--json", "--seed", 3, "--batch", 1, "List: a")
    assert json.loads(again.stdout)["reasoning"] == rows[1]["reasoning"]
    plain = call("generate", "-n", 8, "--json", f"List: a{rows[1]['reasoning']} # ")
    assert json.loads(plain.stdout)["tokens"] == rows[1]["tokens"]
