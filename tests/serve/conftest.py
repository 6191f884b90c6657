"""Servers of nano, and the model alone to compare with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import decoders.models.nano as embedded
from decoders import Generator
from support.serving import started


@pytest.fixture(scope="module")
def alone():
    """The model by itself."""
    return Generator("nano")


@pytest.fixture(scope="module")
def server():
    found, end = started(Generator("nano", slots=4))
    yield found
    end()


@pytest.fixture
def start():
    """Start further servers, which end with the test."""
    ends = []

    def one(generator=None, **how):
        found, end = started(generator or Generator("nano", slots=2), **how)
        ends.append(end)
        return found

    yield one
    for end in ends:
        end()


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory):
    """nano with a chat template: the last message is the prompt."""
    where = tmp_path_factory.mktemp("models") / "nanochat"
    shutil.copytree(Path(embedded.__file__).parent, where, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    described = json.loads((where / "tokenizer_config.json").read_text())
    described["chat_template"] = "{{ messages[-1].content }}\n"
    (where / "tokenizer_config.json").write_text(json.dumps(described))
    return where
