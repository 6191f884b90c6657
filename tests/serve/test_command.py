"""`decoders serve` as it is installed: how it starts, how it ends, and what it says."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time

import click
import httpx
import pytest

from decoders import specs
from decoders.cli import serve as command
from support.commands import call
from support.serving import running

LONG = {
    "prompt": "Sort: a\n", "max_tokens": 40, "decoder": "left_to_right", "cache": "none",
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"const": "a" * 30}}},
}


@pytest.mark.slow
def test_a_first_signal_lets_requests_end_and_a_second_does_not():
    with running() as (process, url):
        found = []

        def ask():
            found.append(httpx.post(f"{url}/v1/completions", json=LONG, timeout=300))

        thread = threading.Thread(target=ask)
        thread.start()
        slots = "decoders_slots_running 1.0"
        while slots not in httpx.get(f"{url}/metrics").text:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        thread.join(300)
        assert found[0].status_code == 200
        assert found[0].json()["choices"][0]["text"] == '"' + "a" * 30 + '"'
        assert process.wait(120) == 0
        assert "Traceback" not in process.stderr.read()
    with running() as (process, url), socket.create_connection(url.removeprefix("http://").split(":")) as s:
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        s.sendall(b"Content-Length: 5\r\n\r\n")  # and no more
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
        assert "Traceback" not in process.stderr.read()


def test_mistakes_are_one_line(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call("serve", "--port", str(taken.getsockname()[1]))
    assert (done.exit_code, "cannot listen on 127.0.0.1" in done.stderr) == (2, True)
    done = call("serve", "-d", "treshold", "--port", "0")
    assert (done.exit_code, "did you mean 'threshold'?" in done.stderr) == (2, True)
    assert "No such option" in call("serve", "--tensor-parallel-size", "4").stderr
    monkeypatch.setattr(command, "NEEDS", ("starlette", "no_such_package"))
    done = call("serve")
    assert done.stderr == "Error: decoders serve needs no_such_package: pip install 'dllm-decoders[serve]'\n"
    assert done.exit_code == 2


@pytest.mark.parametrize(("said", "size"), [("1024", 1024), ("500MB", 5 * 10**8), ("1.5 gib", 3 << 29), ("2KiB", 2048)])
def test_a_size(said, size):
    assert command.size(None, None, said) == size


@pytest.mark.parametrize("said", ["0", "much", "4 GiBs", "-1", "1e3", "0.1"])
def test_what_is_no_size(said):
    done = call("serve", "--port", "0", "--memory", said)
    assert (done.exit_code, "is not a size; write a number of bytes, 500MB or 4GiB" in done.stderr) == (2, True)


def test_memory_and_deadline_reach_the_server(monkeypatch):
    from decoders.serve import app, run

    class Seen(app.App):
        def __post_init__(self):
            super().__post_init__()
            seen.append((self.generator.service.engine.memory, self.deadline))

    seen = []
    monkeypatch.setattr("decoders.serve.setup.App", Seen)
    monkeypatch.setattr(run, "serve", lambda *_: None)
    assert call("serve", "--port", "0", "--memory", "300KiB", "--deadline", "2.5").exit_code == 0
    assert seen == [(300 << 10, 2.5)]
    assert call("serve", "--port", "0", "--deadline", "0").exit_code == 2


def test_the_backend_vllm_is_the_command_of_the_plugin(monkeypatch):
    done = call("serve", "--backend", "vllm", "-m", "x", "--max-num-seqs", "4")
    assert (done.exit_code, "--backend vllm needs the plugin" in done.stderr) == (2, True)
    seen = []

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.option("-m")
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def plugin(m, rest):
        seen.append((m, rest))

    monkeypatch.setattr(specs, "table", lambda kind: {"serve": ()} if kind == "commands" else {})
    monkeypatch.setattr(specs, "load", lambda kind, name: plugin)
    for backend in (["--backend=vllm"], ["--backend", "vllm"]):
        assert call("serve", "-m", "x", *backend, "--max-num-seqs", "4").exit_code == 0
    assert seen == [("x", ("--max-num-seqs", "4"))] * 2


def test_help_imports_no_server():
    code = (
        "import sys, decoders.cli.app; "
        "print([m for m in ('starlette', 'uvicorn', 'prometheus_client', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("spec", ["nano", "nano:attention=block"])
def test_a_spec_is_called_by_the_name_of_its_model(spec):
    assert command.model_name(spec, "nano") == "nano"
