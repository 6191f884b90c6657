"""What a server does with mistakes, with too much, and with clients that go away."""

from __future__ import annotations

import json
import logging
import socket
import threading

import openai
import pytest

from decoders import Generator
from support.serving import until

SORT = "Sort: k c x a t\n"
GOOD = {"prompt": SORT, "max_tokens": 8}
CHAT = "/v1/chat/completions"


def bad(**fields):
    return {**GOOD, **fields}


MISTAKES = {
    "no prompt": ({}, "prompt is missing"),
    "a list": ([1], "the body must be a JSON object"),
    "an empty prompt": (bad(prompt=""), "the prompt is empty"),
    "no prompts": (bad(prompt=[]), "must be a text"),
    "token ids": (bad(prompt=[1, 2]), "token ids are not supported"),
    "lone surrogate": (bad(prompt="\ud800"), "not valid Unicode"),
    "lone surrogate elsewhere": (bad(decoder="\ud800"), "unknown strategy"),
    "a lone surrogate as a field": (bad(**{"\ud800": 1}), "there is no field"),
    "a huge number": (bad(seed=10**400), "seed must be a whole number"),
    "a huge fraction": (bad(temperature=10**300), "temperature must be a number"),
    "unknown field": (bad(max_token=3), "there is no field 'max_token'; did you mean 'max_tokens'?"),
    "wrong type": (bad(max_tokens="8"), "max_tokens must be a whole number"),
    "true is no number": (bad(max_tokens=True), "max_tokens must be a whole number"),
    "no tokens": (bad(max_tokens=0), "max_tokens must be a whole number of at least 1"),
    "too long": (bad(max_tokens=5000), "beyond the 1024"),
    "far too long": (bad(max_tokens=10**12), "beyond the 1024"),
    "a seed that is none": (bad(seed=0.5), "seed must be a whole number"),
    "too hot": (bad(temperature=-1), "temperature must be a number from 0"),
    "top_p": (bad(top_p=2), "top_p must be a number from 0 to 1"),
    "n": (bad(n=1000), "n must be a whole number from 1 to 128"),
    "n of many": (bad(prompt=[SORT] * 60, n=3), "180 texts are more than the 128"),
    "unknown decoder": (bad(decoder="treshold"), "did you mean 'threshold'?"),
    "unknown option": (bad(decoder="threshold:tua=0.9"), "did you mean 'tau'?"),
    "option out of range": (bad(decoder="threshold:tau=7"), "tau must be"),
    "unknown cache": (bad(cache="nothing"), "unknown cache"),
    "an option twice": (bad(decoder="llada:temperature=1", temperature=1), "leave one out"),
    "a class": (bad(decoder="os:system"), "which a request may not"),
    "a class inside": (bad(decoder="eos_stop:base=(os:system)"), "which a request may not"),
    "a class as a cache": (bad(cache="os:system"), "which a request may not"),
    "a file": (bad(decoder="role_order:head=/etc/passwd"), "head names something outside"),
    "a file inside": (bad(decoder="eos_stop:base=(pc_sampler:corpus=/etc/passwd)"), "corpus names something outside"),
    "another machine": (bad(decoder="after_reasoning:reasoner=http://x/v1"), "reasoner names something outside"),
    "no reasoner": (bad(decoder="after_reasoning"), "reasoner"),
    "echo": (bad(echo=True), "echo is not supported"),
    "penalty": (bad(presence_penalty=0.5), "presence_penalty is not supported"),
    "best_of": (bad(best_of=3), "best_of is not supported"),
    "tools": (bad(tools=[{"type": "function"}]), "there is no field 'tools'"),
    "logprobs": (bad(logprobs=21), "logprobs must be a whole number from 0 to 20"),
    "top_logprobs": (bad(top_logprobs=2), "there is no field 'top_logprobs'"),
    "a time that is none": (bad(timeout=-1), "timeout must be a number from 0"),
    "empty stop": (bad(stop=""), "a stop string is empty"),
    "stop": (bad(stop=[1]), "stop must be"),
    "stops": (bad(stop=["a"] * 17), "stop must be"),
    "holes without holes": (bad(infill=True, max_tokens=None), "no hole to fill"),
    "holes from left to right": (bad(infill=True, stream=True), "not filled from left to right"),
    "logprobs of holes": (bad(infill=True, logprobs=0), "leave out logprobs or infill"),
    "mask in suffix": (bad(suffix="<|mask|>"), "neither text can hold <|mask|>"),
    "drafts that are not streamed": (bad(diffusing=True), "set stream as well"),
    "stream options": (bad(stream_options={"include_usage": True}), "needs stream"),
    "format": (bad(response_format={"type": "xml"}), "response_format.type must be"),
    "schema": (bad(response_format={"type": "json_schema"}), "json_schema.schema must be"),
    "schema that is none": (
        bad(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}), "schema"
    ),
    "what does not fit": (
        bad(max_tokens=2, response_format={"type": "json_schema", "json_schema": {"schema": {"const": "a" * 99}}}), ""
    ),
}


def told(answer):
    """The message of a refusal, which is one line in OpenAI's form."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"]
    return error["message"]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(server, name):
    body, message = MISTAKES[name]
    answer = server.http.post("/v1/completions", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert message in told(answer)
    assert server.http.get("/health").status_code == 200


@pytest.mark.parametrize("name", ["an empty prompt", "too long", "a class inside", "what does not fit"])
def test_a_mistake_in_a_stream_is_told_by_its_status(server, name):
    answer = server.http.post("/v1/completions", json={**MISTAKES[name][0], "stream": True})
    assert answer.status_code == 400
    assert MISTAKES[name][1] in told(answer)


def test_what_has_no_effect_may_be_said(server):
    idle = {"presence_penalty": 0, "frequency_penalty": 0.0, "echo": False, "best_of": 1, "user": "me"}
    assert server.http.post("/v1/completions", json={**GOOD, **idle, "suffix": None}).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"prompt": NaN}', b"[" * 100_000, b'{"prompt": 1e999}'])
def test_a_body_that_is_no_json(server, content):
    answer = server.http.post("/v1/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    told(answer)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (None, "messages is missing"), ([], "messages is missing"), ([1], "messages[0] must be a JSON object"),
        ([{"role": "user"}], "messages[0].content must be"), ([{"content": "a"}], "messages[0].role is missing"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "content[0].type must be text"),
        ([{"role": "user", "content": "a", "nmae": "b"}], "no field 'messages[0].nmae'"),
    ],
)
def test_messages_that_are_none(server, messages, message):
    answer = server.http.post(CHAT, json={"messages": messages})
    assert answer.status_code == 400
    assert message in told(answer)


def test_other_paths_methods_models_and_kinds(server):
    assert server.http.get("/v1/nothing").status_code == 404
    told(server.http.get("/v1/nothing"))
    assert server.http.get("/v1/completions").status_code == 405
    answer = server.http.post("/v1/completions", content=json.dumps(GOOD))
    assert answer.status_code == 415
    assert "Content-Type" in told(answer)
    answer = server.http.post("/v1/completions", json={**GOOD, "model": "gpt"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    answer = server.http.post("/v1/completions", json={**GOOD, "model": "nano@"})
    assert answer.status_code == 400
    answer = server.http.post("/v1/completions", json={**GOOD, "model": "nano@llada", "decoder": "llada"})
    assert "leave one out" in told(answer)


def test_a_body_over_the_limit(start):
    server = start(body=1000)
    for content in (b"x" * 1001, (b"x" * 600 for _ in range(2))):
        answer = server.http.post("/v1/completions", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        told(answer)


def test_a_key(start):
    server = start(key="secret")
    assert server.client.models.list().data
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer \xff"}):
        raw = {k: v.encode("latin-1") for k, v in headers.items()}
        answer = server.http.post("/v1/completions", json=GOOD, headers=raw)
        assert answer.status_code == 401
        told(answer)
    assert server.http.get("/health").status_code == 200
    with pytest.raises(openai.AuthenticationError):
        server.client.with_options(api_key="other").models.list()


def test_a_local_server_answers_to_its_own_names(start):
    server = start(local=True)
    port = server.http.base_url.port
    for host, status in (("localhost", 200), (f"127.0.0.1:{port}", 200), ("[::1]:80", 200), ("evil.example:8000", 403)):
        answer = server.http.get("/v1/models", headers={"Host": host})
        assert answer.status_code == status
    told(answer)


SLOW = {"prompt": "Sort: " + "k c x a t " * 40, "max_tokens": 500, "decoder": "left_to_right", "cache": "none"}
"""Half a thousand forwards, unless it ends early."""


def begin(server, body, path="/v1/completions"):
    """A request on a connection of its own, which is handed out."""
    content = json.dumps(body).encode()
    s = socket.create_connection(("127.0.0.1", server.http.base_url.port), timeout=30)
    s.sendall(
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), len(content), content)
    )
    return s


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(start, stream):
    server = start(Generator("nano", slots=1))
    engine = server.app.generator.service.engine
    body = {**SLOW, "stream": stream, "response_format": NOTHING_BUT_AS}
    gone = begin(server, body)
    if stream:
        assert gone.recv(64)
    until(lambda: engine.running == 1)
    gone.close()
    until(lambda: engine.idle and server.app.desk.open == 0)
    assert engine.forwards < 400
    until(lambda: 'status="499"} 1.0' in server.http.get("/metrics").text)
    assert server.http.post("/v1/completions", json=GOOD).status_code == 200


NOTHING_BUT_AS = {"type": "json_schema", "json_schema": {"schema": {"const": "a" * 450}}}
"""Keeps a text going for as many forwards as it has letters."""


def test_a_full_queue_refuses(start):
    server = start(Generator("nano", slots=1), queue=1)
    held = [begin(server, {**SLOW, "response_format": NOTHING_BUT_AS}) for _ in range(2)]
    until(lambda: server.app.desk.open == 2)
    for body in (GOOD, {**GOOD, "stream": True}):
        answer = server.http.post("/v1/completions", json=body)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        told(answer)
    assert server.http.get("/ready").status_code == 503
    for s in held:
        s.close()
    until(lambda: server.app.desk.open == 0)
    assert server.http.get("/ready").status_code == 200
    assert server.http.post("/v1/completions", json=GOOD).status_code == 200
    answer = server.http.post("/v1/completions", json={**GOOD, "n": 3})
    assert answer.status_code == 400
    assert "3 texts are more than the 2" in told(answer)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_has_its_time_and_no_more(start, stream):
    server = start(Generator("nano", slots=1), deadline=30)
    body = {**SLOW, "response_format": NOTHING_BUT_AS, "stream": stream}
    answer = server.http.post("/v1/completions", json={**body, "timeout": 0.3})
    error = json.loads(answer.text.split("data: ")[-1])["error"] if stream else answer.json()["error"]
    assert error["message"].startswith("the request was not answered within 0.")
    assert answer.status_code == (200 if stream and answer.text.startswith("data: ") else 504)
    answer = server.http.post("/v1/completions", json={**GOOD, "timeout": 31})
    assert answer.status_code == 400
    assert told(answer) == "timeout is 31, and this server answers within 30 s"
    until(lambda: server.app.generator.service.engine.idle)
    assert server.client.completions.create(model="nano", **GOOD, extra_body={"timeout": 29.5}).choices[0].text


def test_the_time_of_the_server_is_that_of_a_request_that_names_none(start):
    server = start(Generator("nano", slots=1), deadline=0.2)
    answer = server.http.post("/v1/completions", json={**SLOW, "response_format": NOTHING_BUT_AS})
    assert answer.status_code == 504
    assert told(answer)


def test_what_never_fits_into_the_memory_is_refused(start):
    server = start(Generator("nano", slots=2, memory=2_000_000))
    assert server.http.post("/v1/completions", json=GOOD).status_code == 200
    answer = server.http.post("/v1/completions", json={**GOOD, "max_tokens": 600})
    assert answer.status_code == 400
    assert "and the memory budget is 1.91 MiB; raise it, or ask for less" in told(answer)


def test_metrics_count(start):
    server = start()
    made = [
        server.http.post("/v1/completions", json={**GOOD, "decoder": spec}).json()["usage"]
        for spec in ("threshold", "threshold:tau=0.99", "left_to_right")
    ]
    text = server.http.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    def value(name, **labels):
        said = ",".join(f'{k}="{v}"' for k, v in labels.items())
        return float(lines[f"{name}{{{said}}}" if said else name])

    assert value("decoders_tokens_total", decoder="threshold") == sum(u["completion_tokens"] for u in made[:2])
    assert value("decoders_row_forwards_total", decoder="left_to_right") == made[2]["forwards"]
    assert value("decoders_forwards") == sum(u["forwards"] for u in made)
    assert value("decoders_requests_total", route="/v1/completions", status="200") == 3
    assert value("decoders_tokens_per_forward_count", decoder="threshold") == 2
    for name in ("queue_seconds", "first_settled_seconds", "text_seconds"):
        assert value(f"decoders_{name}_count") == 3
    assert value("decoders_positions_total", how="computed") > 0
    assert value("decoders_positions_total", how="reused") > 0
    assert value("decoders_slots") == 2
    assert value("decoders_slots_running") == value("decoders_queue") == 0
    assert 0 < value("decoders_slot_occupancy") <= 1


def test_the_log_has_ids_and_no_prompts(start, caplog):
    server = start()
    with caplog.at_level(logging.DEBUG):
        answer = server.http.post("/v1/completions", json=GOOD, headers={"X-Request-Id": "mine-1"})
        server.http.post("/v1/completions", json={**GOOD, "decoder": "Sort: zz"}, headers={"X-Request-Id": "a b"})
    assert answer.headers["x-request-id"] == "mine-1"
    said = [r.said for r in caplog.records if r.name == "decoders.serve"]
    assert said[0]["id"] == "mine-1"
    assert said[0]["usage"]["forwards"] > 0
    assert said[1]["id"] != "a b"
    assert said[1]["error"] == "UsageError"
    assert all("Sort" not in json.dumps(line) for line in said)


def test_a_decoder_that_fails_ends_its_own_requests(start, monkeypatch, caplog):
    from decoders.strategies.llada import LLaDA

    server = start()
    monkeypatch.setattr(LLaDA, "step", lambda *_: 1 / 0)
    with caplog.at_level(logging.ERROR):
        answer = server.http.post("/v1/completions", json={**GOOD, "decoder": "llada"})
        streamed = server.http.post("/v1/completions", json={**GOOD, "decoder": "llada", "stream": True})
    assert (answer.status_code, streamed.status_code) == (500, 500)
    assert "internal error" in told(answer)
    assert any(r.exc_info for r in caplog.records if r.name == "decoders.serve")
    assert server.http.post("/v1/completions", json=GOOD).status_code == 200


def test_requests_at_once_share_the_engine(server, alone):
    found, prompts = {}, [f"Sort: {' '.join('kcxatbd'[i:])}\n" for i in range(5)] * 2

    def ask(i, prompt):
        body = {"prompt": prompt, "max_tokens": 16, "seed": i, "temperature": 1}
        found[i] = server.http.post("/v1/completions", json=body).json()["choices"][0]["text"]

    threads = [threading.Thread(target=ask, args=x) for x in enumerate(prompts)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    own = alone(prompts, seeds=range(len(prompts)), temperature=1, length=16)
    assert [found[i] for i in range(len(prompts))] == [g.text for g in own]
