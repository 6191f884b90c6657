"""`/v1/decisions` with OpenAI's client, `/v1/systemone` with jevcompat's conformance suite, and what both refuse."""

from __future__ import annotations

import json
import threading

import httpx
import openai
import pytest

from decoders import Generator
from decoders.decide import Choice, Predicate, Score
from support.serving import until

OPENAI, SYSTEM_ONE = "/v1/decisions", "/v1/systemone"
ASKED = [
    {"type": "predicate", "instructions": "Is it sorted?", "name": "sorted"},
    {"type": "choice", "instructions": "Which?", "choices": [{"value": "x", "description": "an x"}, {"value": True}]},
    {"type": "score", "instructions": "How?", "levels": [{"label": "short"}, {"label": "long", "description": "x"}]},
]
OWN = [Predicate("Is it sorted?"), Choice("Which?", {"x": "an x", "true": None}), Score("How?", ["short", "long - x"])]
NOUL = {"type": "noul", "instructions": "Is it sorted?"}


def one(**question):
    return {"input": "k c", "questions": [{"type": "choice", "instructions": "?", **question}]}


def jev(**question):
    return {"state": "k c", "questions": {"q": {"instructions": "?", **question}}}


def test_openai_s_client_gets_what_the_model_alone_says(server, alone):
    made = server.client.decisions.create(model="nano", input="k c x", questions=ASKED)
    own = alone.decide("k c x", OWN)
    predicate, choice, score = made.answers
    assert (predicate.type, predicate.name, choice.name) == ("predicate", "sorted", None)
    assert predicate.probability == pytest.approx(own["0"].value, rel=1e-3)
    assert [(p.value, pytest.approx(p.probability, rel=1e-3)) for p in choice.probabilities] == [
        *zip(["x", True], own["1"].probabilities, strict=True)
    ]
    assert choice.choice == max(choice.probabilities, key=lambda p: p.probability).value
    assert [(p.value, p.label) for p in score.probabilities] == [(0, "short"), (1, "long")]
    assert score.score == pytest.approx(sum(p.value * p.probability for p in score.probabilities))
    assert 0 <= score.confidence <= 1
    assert made.usage.total_tokens == made.usage.input_tokens == own.tokens
    assert (made.usage.output_tokens, made.usage.forwards) == (0, own.rows)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{"role": "user", "content": "k c"}], "k c"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "k"}, {"type": "input_json", "data": {"c": 1}}]}],
         'k\n{"c": 1}'),
        ([{"role": "system", "content": "a"}, {"type": "message", "role": "assistant", "content": "b"}],
         "system: a\n\nassistant: b"),
        ([{"role": "user", "content": "a"}, {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}],
         'user: a\n\n{"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}'),
    ],
)  # fmt: skip
def test_messages_are_text(server, alone, given, text):
    answer = server.http.post(OPENAI, json={"input": given, "questions": ASKED[:1], "prompt_cache_key": "a"}).json()
    (own,) = alone.decide(text, OWN[:1]).answers.values()
    assert answer["answers"][0]["probability"] == pytest.approx(own.value, rel=1e-3)


MISTAKES = {
    "no input": ({"questions": ASKED}, "input is missing"),
    "no questions": ({"input": "a"}, "1 to 400 questions, not 0"),
    "no list": ({"input": "a", "questions": {}}, "questions must be a list"),
    "a decoder": ({"input": "a", "questions": ASKED, "model": "nano@llada"}, "a decision does not use a decoder"),
    "unknown field": ({"input": "a", "questions": ASKED, "temprature": 1}, "no field 'temprature'"),
    "no message": ({"input": [], "questions": ASKED}, "input must be a text or a list of messages"),
    "a role": ({"input": [{"role": "x", "content": "a"}], "questions": ASKED}, "input[0].role must be user"),
    "an image": (
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}], "questions": ASKED}, "is 'input_image'"
    ),
    "text as JSON": (
        {"input": [{"role": "user", "content": [{"type": "input_json", "data": "a"}]}], "questions": ASKED},
        "data must be an object",
    ),
    "unknown kind": (one(type="noul"), "questions[0].type must be predicate, choice or score"),
    "no choices": (one(), "questions[0]: a choice needs 2 to 255 options, not 0"),
    "a number": (one(choices=[{"value": 1}, {"value": "a"}]), "choices[0].value must be a text, true or false"),
    "twice": (one(choices=[{"value": True}, {"value": "true"}]), "questions[0].choices has 'true' twice"),
    "an empty option": (one(choices=[{"value": " "}, {"value": "true"}]), "an option is empty"),
    "unknown field of a question": (one(levels=[]), "no field 'questions[0].levels'"),
    "no level": (one(type="score"), "a score needs 2 to 10 levels, not 0"),
    "nothing asked": ({"input": "a", "questions": [{"type": "predicate"}]}, "needs instructions"),
    "lone surrogate": ({"input": "\ud800", "questions": ASKED}, "not valid Unicode"),
    "too long": ({"input": "a " * 3000, "questions": ASKED}, "beyond the 1024 of nano"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(server, name):
    body, message = MISTAKES[name]
    answer = server.http.post(OPENAI, content=json.dumps(body), headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]
    assert "\n" not in error["message"]


SYSTEM_ONE_MISTAKES = {
    "no state": ({"questions": {"q": NOUL}}, "state is missing"),
    "no questions": ({"state": "a"}, "questions must be an object, not null"),
    "an empty id": ({"state": "a", "questions": {"": NOUL}}, "the id of a question is empty"),
    "null": ({"state": "a", "questions": {"q": None}}, "questions.q must be a JSON object, not null"),
    "unknown kind": (jev(type="predicate"), "questions.q.type must be noul, choice or score"),
    "sides": (jev(type="noul", criteria={"maybe": "x"}), "criteria must be true and false"),
    "a list of options": (jev(type="choice", criteria=["a", "b"]), "criteria must be an object of options"),
    "a map of levels": (jev(type="score", criteria={"0": "a"}), "criteria must be a list of levels, not an object"),
    "one option": (jev(type="choice", criteria={"a": None}), "2 to 255 options, not 1"),
    "unknown field": (jev(type="noul", criterion=None, criteri={}), "no field 'questions.q.criteri'"),
}


@pytest.mark.parametrize("name", SYSTEM_ONE_MISTAKES)
def test_mistakes_have_system_one_s_form_on_its_route(server, name):
    body, message = SYSTEM_ONE_MISTAKES[name]
    answer = server.http.post(SYSTEM_ONE, json=body)
    (detail,) = answer.json()["detail"]
    assert (answer.status_code, detail["loc"][0]) == (422, "body")
    assert message in detail["msg"]


def test_other_refusals_have_a_type_and_a_message_on_that_route(start):
    server = start(key="secret")
    good = {"state": "a", "questions": {"q": NOUL}}
    refused = server.http.post(SYSTEM_ONE, json=good)
    assert (refused.status_code, refused.json()["detail"]["error_type"]) == (401, "authentication_error")
    with_key = {"authorization": "Bearer secret"}
    unknown = server.http.post(SYSTEM_ONE, json={**good, "model": "x"}, headers=with_key)
    assert (unknown.status_code, unknown.json()["detail"]["error_type"]) == (404, "not_found_error")
    assert server.http.post(SYSTEM_ONE, content="{}", headers=with_key).status_code == 415
    made = server.http.post(SYSTEM_ONE, json={**good, "model": "jev-latest"}, headers=with_key | {"x-request-id": "me"})
    assert (made.status_code, made.headers["x-request-id"], made.json()["model"]) == (200, "me", "nano")


def test_a_full_server_says_so_and_decisions_are_counted(start):
    server = start(Generator("nano", slots=1), queue=0)
    started = threading.Event()
    long = {"prompt": "Sort: b a\n", "max_tokens": 900, "decoder": "left_to_right", "stream": True}

    def text():
        with server.http.stream("POST", "/v1/completions", json=long):
            started.set()
            until(done.is_set, 60)

    done, thread = threading.Event(), threading.Thread(target=text)
    thread.start()
    try:
        assert started.wait(120)
        for route, body in ((OPENAI, {"input": "a", "questions": ASKED}), (SYSTEM_ONE, jev(type="noul"))):
            refused = server.http.post(route, json=body)
            assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    finally:
        done.set()
        thread.join()
    until(lambda: server.app.desk.open == 0)
    with pytest.raises(openai.BadRequestError):
        server.client.decisions.create(model="nano", input="a", questions=[])
    server.client.decisions.create(model="nano", input="a", questions=ASKED)
    numbers = server.http.get("/metrics").text
    assert 'decoders_answers_total{type="choice"} 1.0' in numbers
    assert f'decoders_requests_total{{route="{OPENAI}",status="200"}} 1.0' in numbers
    assert f'decoders_requests_total{{route="{SYSTEM_ONE}",status="429"}} 1.0' in numbers


def test_a_client_that_goes_away_takes_its_questions_with_it(start):
    server = start(Generator("nano", slots=1), queue=8)
    long = {"prompt": "a", "suffix": "b", "max_tokens": 900, "decoder": "left_to_right", "stream": True}
    with server.http.stream("POST", "/v1/completions", json=long):
        until(lambda: server.app.generator.service.engine.running == 1)
        with pytest.raises(httpx.ReadTimeout):
            server.http.post(OPENAI, json={"input": "a", "questions": ASKED}, timeout=0.2)
        until(lambda: server.app.desk.open == 1)
        until(lambda: len(server.app.generator.service.open) <= 1)


def conforms(server, **how):
    """What the suite finds wrong, and its report."""
    runner = pytest.importorskip("jevcompat.runner", reason="jevcompat is not installed")
    report = runner.run(server.url, timeout=300, **how)
    return [(r.id, r.findings[0].message) for r in report.results if r.status == "fail"], report


SHORT = {"models-endpoint", "choice-basic", "score-levels", "invalid", "unknown-model", "unicode", "sdk-python"}


def test_nothing_in_some_short_cases_of_the_conformance_suite_is_wrong(server):
    wrong, report = conforms(server, only=SHORT)
    assert wrong == []
    assert report.aborted is None
    assert not report.case_errors
    assert not report.inconclusive


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "secret"])
def test_the_server_conforms_to_system_one(start, key):
    """All requirements, but those on a server with a key where there is none, and the other way round."""
    wrong, report = conforms(start(key=key) if key else start(), key=key)
    assert wrong == []
    assert report.verdict == "conformant"
    skipped = {r.id for r in report.results if r.status == "skip"}
    assert skipped == ({"auth.ignored-when-off"} if key else {"auth.bearer", "auth.missing", "auth.invalid"})
