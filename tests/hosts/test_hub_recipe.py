"""`custom_generate="ORG/NAME"`: the repository that plugins/custom_generate/build.py writes, as a local directory."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from transformers import GenerationMixin

import decoders
from decoders import UsageError, hf
from decoders.errors import OldSpelling
from support.hosted import MASK, PROMPTS, At, Recorder, characters, run, tiny

BUILD = Path(__file__).parents[2] / "plugins" / "custom_generate" / "build.py"


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hub") / "generate"
    runpy.run_path(str(BUILD))["build"](directory)
    return directory


@pytest.fixture
def by_name(repository, monkeypatch, tmp_path):
    """Arguments that name the repository; the code that transformers copies stays out of the user's home."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"custom_generate": str(repository), "trust_remote_code": True}


@pytest.mark.parametrize(
    "how",
    [
        {"decoder": "threshold:tau=0.7", "kv_policy": "dual", "block": 8},
        {"decoder": "dream:by=entropy", "do_sample": True, "temperature": 0.8, "top_k": 9, "seed": 3},
        {"num_return_sequences": 2, "do_sample": True, "temperature": 2.0, "seed": 1},
        {"stopping_criteria": [At(13)]},
        {"stop_strings": ["a", "k"], "tokenizer": characters(), "eos_token_id": None},
    ],
)
def test_it_is_what_the_function_gives(model, by_name, how):
    assert run(model, **how, **by_name).tolist() == run(model, **how).tolist()


def test_a_streamer_hears_the_tokens(model, by_name, monkeypatch):
    one, other = Recorder(), Recorder()
    with monkeypatch.context() as m:
        m.setattr(hf, "handed_to_transformers", lambda: pytest.fail("looked up what it was given"))
        run(model, PROMPTS[:1], decoder="left_to_right", streamer=one, **by_name)
    run(model, PROMPTS[:1], decoder="left_to_right", streamer=other)
    assert one.heard == other.heard


def test_the_old_name_of_the_policy_and_refusals(model, by_name):
    with pytest.warns(OldSpelling, match="kv_policy"):
        old = run(model, cache="dual", block=8, **by_name)
    assert old.tolist() == run(model, kv_policy="dual", block=8).tolist()
    with pytest.raises(UsageError, match="assisted generation cannot be honoured"):
        run(model, PROMPTS[:1], assistant_model=model, **by_name)
    with pytest.raises(UsageError, match="synced_gpus cannot be honoured"):
        run(model, synced_gpus=True, **by_name)


def test_a_model_that_brings_it_generates_by_it(model, by_name, repository):
    """As `from_pretrained(..., trust_remote_code=True)` sets it up for a repository that holds weights too."""
    own = GenerationMixin.load_custom_generate(model, str(repository), trust_remote_code=True)
    prompt = torch.tensor(PROMPTS[:1])
    made = own(prompt, model=model, mask_id=MASK, max_new_tokens=16, seed=1)
    expected = model.generate(prompt, custom_generate=decoders.generate, mask_id=MASK, max_new_tokens=16, seed=1)
    assert made.tolist() == expected.tolist()


def test_the_card_says_what_there_is(repository):
    card = (repository / "README.md").read_text()
    assert "- custom_generate" in card
    assert "`threshold`" in card
    assert "`kv_policy`" in card
    assert (repository / "custom_generate" / "requirements.txt").read_text().startswith("dllm-decoders>=0")
