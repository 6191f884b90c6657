"""OpenAI's own client against the server: every text is what the model alone writes."""

from __future__ import annotations

import json

import openai
import pytest

from decoders import Generator
from support.serving import started

SORT, EXTRACT = "Sort: k c x a t\n", "Extract: Anna is 31 years old.\n"
SPECS = ["threshold", "llada", "left_to_right", "wino", "persistent_drafts"]


def test_models_are_the_model_and_the_model_with_each_decoder(server):
    names = [m.id for m in server.client.models.list()]
    assert names[0] == "nano"
    assert {"nano@threshold", "nano@persistent_drafts"} <= set(names)
    assert "nano@after_reasoning" not in names  # whose reasoner a request cannot name


@pytest.mark.parametrize("spec", SPECS)
def test_a_completion_is_the_text_of_the_model_alone(server, alone, spec):
    made = server.client.completions.create(
        model="nano", prompt=SORT, max_tokens=16, seed=3, extra_body={"decoder": spec, "cache": "none"}
    )
    (own,) = alone(SORT, decoder=spec, cache="none", length=16, seed=3)
    (choice,) = made.choices
    assert (choice.text, choice.finish_reason) == (own.text, own.finish_reason)
    assert made.usage.completion_tokens == own.generated_tokens
    assert made.usage.prompt_tokens == len(alone.encode(SORT))
    assert made.usage.forwards == own.nfe
    assert made.usage.tokens_per_forward == own.tokens_per_forward
    assert choice.decoding["commit_steps"] == list(own.commit_steps)


def test_a_decoder_can_stand_in_the_name_of_the_model(server, alone):
    made = server.client.completions.create(model="nano@threshold:tau=0.999", prompt=SORT, max_tokens=16)
    (own,) = alone(SORT, decoder="threshold:tau=0.999", length=16)
    assert (made.choices[0].text, made.usage.forwards) == (own.text, own.nfe)
    assert made.model == "nano@threshold:tau=0.999"


def test_several_prompts_and_samples(server, alone):
    prompts, how = [SORT, "Reverse: a b c\n"], {"temperature": 1.5}
    made = server.client.completions.create(
        model="nano", prompt=prompts, n=3, seed=7, max_tokens=12, top_p=0.95, **how
    )
    own = alone(prompts, n=3, seed=7, length=12, top_p=0.95, **how)
    assert [c.text for c in made.choices] == [g.text for g in own]
    assert [c.index for c in made.choices] == list(range(6))
    assert made.usage.prompt_tokens == sum(len(alone.encode(p)) for p in prompts)


def test_without_a_seed_texts_differ_and_say_theirs(server, alone):
    made = [
        server.client.completions.create(model="nano", prompt=SORT, max_tokens=16, temperature=50).choices[0]
        for _ in range(4)
    ]
    assert len({c.text for c in made}) > 1
    (own,) = alone(SORT, seed=made[0].decoding["seed"], temperature=50, length=16)
    assert own.text == made[0].text


def test_stop_strings(server, alone):
    made = server.client.completions.create(model="nano", prompt=SORT, max_tokens=16, stop=[" k"])
    assert (made.choices[0].text, made.choices[0].finish_reason) == (" a c", "stop")


def test_log_probabilities_are_those_at_commitment(server, alone):
    made = server.client.completions.create(model="nano", prompt=SORT, max_tokens=16, logprobs=0)
    (own,) = alone(SORT, length=16, logprobs=True)
    said = made.choices[0].logprobs
    assert said.token_logprobs == pytest.approx(own.logprobs)
    assert "".join(said.tokens) == own.text
    assert len(said.tokens) == len(own.tokens) >= 5
    assert all(own.text[i:].startswith(t) for i, t in zip(said.text_offset, said.tokens, strict=True))


def test_the_likeliest_tokens_are_those_at_commitment(server, alone):
    how = {"model": "nano@llada:temperature=1.0", "prompt": SORT, "max_tokens": 16, "seed": 5, "logprobs": 3}
    (choice,) = server.client.completions.create(**how).choices
    (own,) = alone(SORT, decoder="llada:temperature=1.0", length=16, seed=5, top_logprobs=3)
    assert choice.text == own.text
    said = choice.logprobs
    for piece, value, top, found in zip(
        said.tokens, said.token_logprobs, said.top_logprobs, own.top_logprobs, strict=True
    ):
        assert len(top) in (3, 4)
        assert sorted(top.values())[-3:] == pytest.approx(sorted(x for _, x in found), abs=1e-5)
        assert top[piece] == pytest.approx(value)
    *_, last = server.client.completions.create(**how, stream=True)
    assert last.choices[0].logprobs.top_logprobs == said.top_logprobs
    (plain,) = server.client.completions.create(**{**how, "logprobs": 0}).choices
    assert (plain.logprobs.token_logprobs, plain.logprobs.top_logprobs) == (pytest.approx(said.token_logprobs), None)


@pytest.mark.parametrize("spec", SPECS)
def test_a_stream_is_the_same_text_in_pieces(server, alone, spec):
    chunks = list(
        server.client.completions.create(
            model="nano", prompt=SORT, max_tokens=16, n=2, seed=1, stream=True, extra_body={"decoder": spec},
            stream_options={"include_usage": True},
        )
    )
    own = alone(SORT, decoder=spec, length=16, n=2, seed=1)
    for i, g in enumerate(own):
        pieces = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == i]
        assert "".join(p.text for p in pieces) == g.text
        assert pieces[-1].finish_reason == g.finish_reason
        assert all(p.finish_reason is None for p in pieces[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage.forwards == sum(g.nfe for g in own)
    if spec == "left_to_right":
        assert len(chunks) > 8


def test_a_stream_holds_back_what_may_be_a_stop_string(server):
    chunks = server.client.completions.create(
        model="nano@left_to_right", prompt=SORT, max_tokens=16, stop=" k t", stream=True
    )
    assert "".join(c.choices[0].text for c in chunks) == " a c"


def test_a_suffix_is_written_up_to(server, alone):
    made = server.client.completions.create(model="nano", prompt="Sort: d b a c\n a", suffix=" c d", max_tokens=1)
    assert made.choices[0].text == " b"
    assert made.usage.completion_tokens == 1
    assert made.usage.prompt_tokens == len(alone.encode("Sort: d b a c\n a c d"))
    chunks = server.client.completions.create(
        model="nano", prompt="Sort: d b a c\n a", suffix=" c d", max_tokens=1, stream=True
    )
    assert "".join(c.choices[0].text for c in chunks) == " b"


def test_holes_are_filled(server, alone):
    prompt = "Sort: d b a c\n a<|mask|> c<|mask|>"
    made = server.client.completions.create(model="nano", prompt=prompt, extra_body={"infill": True})
    (own,) = alone(prompt, infill=True)
    assert made.choices[0].text == own.text == "Sort: d b a c\n a b c d"


SCHEMA = {
    "type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"], "additionalProperties": False,
}


def test_json_that_a_schema_describes(server):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    made = server.client.completions.create(
        model="nano", prompt=EXTRACT, max_tokens=48, extra_body={"response_format": form}
    )
    found = json.loads(made.choices[0].text)
    assert set(found) == {"name", "age"}
    assert isinstance(found["age"], int)
    made = server.client.completions.create(
        model="nano", prompt=EXTRACT, max_tokens=64, extra_body={"response_format": {"type": "json_object"}}
    )
    assert isinstance(json.loads(made.choices[0].text), dict)


def test_drafts_show_the_canvas_settle(server, alone):
    chunks = list(
        server.client.completions.create(
            model="nano@threshold:tau=0.99", prompt=SORT, max_tokens=12, stream=True, extra_body={"diffusing": True}
        )
    )
    (own,) = alone(SORT, decoder="threshold:tau=0.99", length=12)
    drafts = [c.choices[0].draft for c in chunks[:-1]]
    assert [d["step"] for d in drafts] == sorted({d["step"] for d in drafts})
    assert len(drafts) > 1
    assert None in drafts[0]["pieces"]
    for d, chunk in zip(drafts, chunks, strict=False):
        assert chunk.choices[0].text == "".join("\u2591" if p is None else p for p in d["pieces"])
        assert own.text.startswith("".join(d["pieces"][: d["settled"]]))
    assert chunks[-1].choices[0].text == own.text


@pytest.fixture(scope="module")
def chat(chat_model):
    found, end = started(Generator(str(chat_model), slots=4))
    yield found
    end()


def test_chat(chat):
    model = chat.client.models.list().data[0].id
    parts = [{"type": "text", "text": SORT[:-1]}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]
    made = chat.client.chat.completions.create(
        model=model, messages=messages, max_completion_tokens=16, logprobs=True, n=2, seed=0
    )
    plain = [messages[0], {"role": "user", "content": SORT[:-1]}]
    (own,) = chat.app.generator([plain], length=16, logprobs=True)
    assert own.text == " a c k t x"
    assert [c.message.content for c in made.choices] == [own.text] * 2
    assert made.choices[0].message.role == "assistant"
    assert [x.logprob for x in made.choices[0].logprobs.content] == pytest.approx(own.logprobs)
    chunks = list(chat.client.chat.completions.create(model=model, messages=messages, max_tokens=16, stream=True))
    assert "".join(c.choices[0].delta.content for c in chunks) == own.text
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_likeliest_tokens_of_a_chat(chat):
    how = {
        "model": chat.app.name, "messages": [{"role": "user", "content": SORT[:-1]}], "max_tokens": 16,
        "logprobs": True, "top_logprobs": 2,
    }
    (choice,) = chat.client.chat.completions.create(**how).choices
    assert "".join(x.token for x in choice.logprobs.content) == choice.message.content == " a c k t x"
    for x in choice.logprobs.content:
        assert len(x.top_logprobs) == 2
        assert x.top_logprobs[0].logprob >= x.top_logprobs[1].logprob
        assert (x.top_logprobs[0].token, x.top_logprobs[0].logprob) == (x.token, pytest.approx(x.logprob, abs=1e-5))
        assert bytes(x.top_logprobs[0].bytes).decode() == x.token
    *_, last = chat.client.chat.completions.create(**how, stream=True)
    assert last.choices[0].logprobs.model_dump() == choice.logprobs.model_dump()
    with pytest.raises(openai.BadRequestError, match="top_logprobs needs logprobs"):
        chat.client.chat.completions.create(**{**how, "logprobs": False})


def test_a_parsed_answer_of_a_chat(chat):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    made = chat.client.chat.completions.create(
        model=chat.app.name, messages=[{"role": "user", "content": EXTRACT[:-1]}], max_tokens=48, response_format=form
    )
    assert set(json.loads(made.choices[0].message.content)) == {"name", "age"}


def test_a_chat_needs_a_template(server):
    with pytest.raises(openai.BadRequestError, match="needs a chat template"):
        server.client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "a"}])
