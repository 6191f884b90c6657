"""A real language model: real weights, a real tokenizer of 49,152 tokens, real text."""

from __future__ import annotations

import json
import re

import httpx
import openai
import pytest
import torch

from decoders import Generator
from support.serving import running

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("default")]

LENGTH = 32
ASKED = (
    "What is the capital of {}?", "Write one sentence about {}.", "Name three things that one finds in {}.",
    "Translate into French: I live in {}.", "Is {} larger than Iceland? Answer yes or no.",
)
PLACES = "France", "Japan", "Brazil", "Kenya", "India", "Canada", "Norway", "Egypt", "Chile", "Vietnam"
QUESTIONS = [asked.format(place) for place in PLACES for asked in ASKED]


def ids(smollm2, question):
    messages = [{"role": "user", "content": question}]
    return smollm2.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


@pytest.fixture(scope="module")
def searched(smollm2):
    """What transformers' own greedy search finds, for each of the 50 questions, without what ends it."""
    out = []
    for question in QUESTIONS:
        prompt = torch.tensor([ids(smollm2, question)])
        with torch.inference_mode():
            found = smollm2.model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=LENGTH,
                pad_token_id=smollm2.tokenizer.pad_token_id,
            )[0, prompt.shape[1] :].tolist()
        out.append([t for t in found if t != smollm2.tokenizer.eos_token_id])
    return out


@pytest.fixture(scope="module")
def alone(smollm2):
    return Generator(smollm2.loaded, "left_to_right")(QUESTIONS, length=LENGTH)


def test_the_template_is_that_of_the_tokenizer(smollm2):
    for question in QUESTIONS[:5]:
        assert smollm2.loaded.chat([{"role": "user", "content": question}]) == ids(smollm2, question)


def test_left_to_right_is_the_greedy_search_of_transformers(searched, alone):
    assert len(searched) == 50
    assert [list(g.tokens) for g in alone] == searched


def test_a_jacobi_iteration_finds_the_same_in_fewer_forwards(smollm2, alone, capsys):
    drafted = Generator(smollm2.loaded, "coupled")(QUESTIONS, length=LENGTH)
    assert [g.tokens for g in drafted] == [g.tokens for g in alone]
    spent, usual = (sum(g.nfe for g in made) for made in (drafted, alone))
    with capsys.disabled():
        print(f"\n50 questions: {usual} forwards left to right, {spent} by Jacobi iteration")
    assert spent < usual


def test_a_sample_is_coupled_too(smollm2):
    how = {"length": LENGTH, "seeds": list(range(10))}
    one = Generator(smollm2.loaded, "left_to_right:temperature=0.8,top_p=0.95,race=true")(QUESTIONS[:10], **how)
    other = Generator(smollm2.loaded, "coupled:temperature=0.8,top_p=0.95")(QUESTIONS[:10], **how)
    assert [g.tokens for g in one] == [g.tokens for g in other]
    assert len({g.text for g in one}) == 10


@pytest.mark.parametrize("spec", ["left_to_right", "coupled"])
def test_a_constraint_holds(smollm2, spec, tmp_path):
    pytest.importorskip("outlines_core")
    city = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    (tmp_path / "city.json").write_text(json.dumps(city | {"additionalProperties": False}))
    how = {"length": 24, "constraint": f"json:{tmp_path / 'city.json'}"}
    (g,) = Generator(smollm2.loaded, spec)("Where is the Eiffel Tower? Answer in JSON.", **how)
    assert json.loads(g.text)["city"] == "Paris"


def test_the_likelihood_of_a_true_answer_is_higher(smollm2):
    from decoders.likelihood import Scorer

    asked = "The capital of France is"
    true, false = Scorer(smollm2.loaded)([(asked, " Paris"), (asked, " Oslo")])
    assert true.nats > false.nats + 2


def test_it_is_served(smollm2, alone):
    with running("-m", str(smollm2.place), "-d", "left_to_right") as (_, url):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300)
        messages = [{"role": "user", "content": QUESTIONS[0]}]
        name = client.models.list().data[0].id
        said = client.chat.completions.create(model=name, messages=messages, max_tokens=LENGTH)
        assert said.choices[0].message.content == alone[0].text
        parts = client.chat.completions.create(model=name, messages=messages, max_tokens=LENGTH, stream=True)
        text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
        assert text == alone[0].text
        assert re.search(r"decoders_\w+", httpx.get(f"{url}/metrics", timeout=60).text)
