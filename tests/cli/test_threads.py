"""Commands with a small network on a CPU use one thread, unless the user chose a number."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from decoders import Generator
from decoders.cli import threads
from decoders.cli.app import main
from decoders.cli.threads import CHOSEN, one_thread_if_small, parameters
from decoders.models.source import load_model


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("command", [
    ["generate", "Sort: b a", "--max-steps", "1"], ["compare", "Sort: b a", "-d", "threshold", "--max-steps", "1"],
    ["bench", "demo", "-d", "threshold", "-t", "list/easy"],
])
def test_commands_with_nano_use_one_thread(command):
    assert CliRunner().invoke(main, command).exit_code == 0
    assert torch.get_num_threads() == 1


def test_a_decision_uses_one_thread(tmp_path):
    asked = {"input": "a", "questions": [{"type": "predicate", "instructions": "Is it so?"}]}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    done = CliRunner().invoke(main, ["decide", str(tmp_path / "asked.json")])
    assert done.exit_code == 0, done.stderr
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", CHOSEN)
def test_a_number_that_the_user_chose_is_kept(monkeypatch, name):
    monkeypatch.setenv(name, "2")
    one_thread_if_small(load_model("nano").model)
    assert torch.get_num_threads() == 2


def test_a_large_network_keeps_its_threads(monkeypatch):
    model = load_model("nano").model
    monkeypatch.setattr(threads, "SMALL", parameters(model))
    one_thread_if_small(model)
    assert torch.get_num_threads() == 2


def test_a_network_elsewhere_or_unknown_keeps_its_threads():
    network = torch.nn.Linear(2, 2)
    one_thread_if_small(SimpleNamespace(device=torch.device("meta"), network=network))
    one_thread_if_small(SimpleNamespace(device=torch.device("cpu")))
    assert torch.get_num_threads() == 2
    one_thread_if_small(SimpleNamespace(device=torch.device("cpu"), network=network))
    assert torch.get_num_threads() == 1


def test_the_python_interface_changes_no_threads():
    Generator("nano")("Sort: b a", max_steps=1)
    assert torch.get_num_threads() == 2
