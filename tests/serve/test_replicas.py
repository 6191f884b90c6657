"""Several replicas behind one process: the same answers as of one, and what becomes of them when a replica dies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from decoders import UsageError
from decoders.cli import serve as command
from decoders.serve.replies import LOG
from decoders.serve.setup import Setup
from support.commands import call
from support.serving import running, serving, until

pytest.importorskip("ray.serve", reason="needs the extra serve-ray")
import ray
from ray.exceptions import ActorDiedError

from decoders.serve.replicas.cluster import placed
from decoders.serve.replicas.ingress import Ingress, texts_of
from decoders.serve.replicas.replica import GRACE, Replica
from decoders.serve.replicas.shortest import Shortest
from decoders.serve.replicas.sums import labelled

SETUP = Setup("nano", "threshold", None, 0.0, 2, "", 4, 1000)
BODY = {"prompt": "Sort: k c x a t\n", "max_tokens": 16, "seed": 3}
SLOW = {**BODY, "decoder": "left_to_right", "cache": "none"}


class Fake:
    """A handle of replicas in this process. `fates`: for each request in turn, after how many messages its replica
    dies; None: it lives."""

    def __init__(self, replica, fates=()):
        self.replica, self.fates = replica, list(fates)
        self.answer = SimpleNamespace(options=lambda stream: SimpleNamespace(remote=self.remote))
        self.begun = self.ended = 0

    def remote(self, asked):
        said, self.begun = self.said(asked, self.fates.pop(0) if self.fates else None), self.begun + 1
        return Said(said)

    async def said(self, asked, fate):
        count = 0
        source = self.replica.answer(asked)
        try:
            async for some in source:
                for message in some:
                    if count == fate:
                        raise ActorDiedError
                    count += 1
                    yield [message]
        finally:
            await source.aclose()
            self.ended += 1

    def broadcast(self, what):
        async def found(**how):
            return [("one", self.replica.app.metrics.text().decode()), ActorDiedError()]

        return SimpleNamespace(results_async=found)


class Said:
    """What a handle gives: it can be cancelled."""

    def __init__(self, source):
        self.source = source

    def __aiter__(self):
        return self.source

    def cancel(self):
        pass


@pytest.fixture(scope="module")
def replica():
    before = LOG.handlers, LOG.propagate
    found = Replica(SETUP)
    LOG.handlers, LOG.propagate = before
    yield found
    found.app.generator.service.close()


@pytest.fixture
def behind(replica):
    """A server in front of one replica, or of several that are one."""
    ends = []

    def one(fates=(), key=None, replicas=2, setup=SETUP):
        handle = Fake(replica, fates)
        ingress = Ingress(handle, replica.about(), replicas, setup, key, local=False)
        url, end = serving(ingress.asgi)
        http = httpx.Client(base_url=url, timeout=60)
        ends.extend([http.close, end])
        return SimpleNamespace(handle=handle, ingress=ingress, http=http)

    yield one
    for end in ends:
        end()


def text_of(answer):
    return answer.json()["choices"][0]["text"]


def streamed(answer):
    """The text of a stream, and its last event."""
    events = [line[6:] for line in answer.text.split("\n\n") if line]
    found = [json.loads(x) for x in events if x != "[DONE]"]
    return "".join(x["choices"][0]["text"] for x in found if "choices" in x), events[-1]


def test_answers_are_those_of_one_process(behind, alone):
    s = behind()
    expected = alone(BODY["prompt"], length=16, seed=3)[0].text
    answer = s.http.post("/v1/completions", json=BODY, headers={"X-Request-Id": "mine"})
    assert (text_of(answer), answer.headers["x-request-id"]) == (expected, "mine")
    assert streamed(s.http.post("/v1/completions", json={**BODY, "stream": True})) == (expected, "[DONE]")
    assert "<!doctype html>" in s.http.get("/").text
    assert s.http.get("/v1/models").json()["data"][0]["id"] == "nano"
    assert s.http.get("/health").text == "ok\n"
    assert s.http.get("/ready").text == "ready\n"


@pytest.mark.parametrize(("status", "how"), [
    (404, {"url": "/v1/nothing", "method": "GET"}), (405, {"method": "GET"}), (415, {"content": b"x"}),
    (400, {"content": b"{", "headers": {"Content-Type": "application/json"}}), (413, {"json": {"prompt": "a" * 2000}}),
    (400, {"json": {"prompt": "a", "n": 64}}), (400, {"json": {"prompt": "a", "decoder": "treshold"}}),
])
def test_mistakes_are_one_line(behind, status, how):
    answer = behind().http.request(**{"method": "POST", "url": "/v1/completions", **how})
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]["message"]


def test_the_key_is_asked_for_in_front(behind):
    s = behind(key="secret")
    assert s.http.post("/v1/completions", json=BODY).status_code == 401
    assert s.handle.begun == 0
    assert s.http.post("/v1/completions", json=BODY, headers={"Authorization": "Bearer secret"}).status_code == 200


@pytest.mark.parametrize("fates", [[0], [1], [0, 1], [2]])
def test_a_request_whose_replica_dies_before_it_is_answered_is_begun_again(behind, alone, fates):
    s = behind(fates)
    answer = s.http.post("/v1/completions", json=BODY)
    assert text_of(answer) == alone(BODY["prompt"], length=16, seed=3)[0].text
    assert s.handle.begun == 1 + len(fates)
    assert f"decoders_retried_total {len(fates)}.0" in s.http.get("/metrics").text


def test_a_stream_is_begun_again_until_something_of_it_was_sent(behind, alone):
    expected = alone(SLOW["prompt"], length=16, seed=3, decoder="left_to_right", cache="none")[0].text
    body = {**SLOW, "stream": True}
    for fate in (0, 1):
        assert streamed(behind([fate]).http.post("/v1/completions", json=body)) == (expected, "[DONE]")
    s = behind([3])
    text, last = streamed(s.http.post("/v1/completions", json=body))
    assert 0 < len(text) < len(expected)
    assert expected.startswith(text)
    assert json.loads(last)["error"]["code"] == "replica_lost"
    assert s.handle.begun == 1


def test_a_request_that_its_replicas_die_of_ends(behind):
    s = behind([0] * 9)
    answer = s.http.post("/v1/completions", json=BODY)
    assert (answer.status_code, s.handle.begun) == (503, 3)
    assert answer.json()["error"]["message"] == "3 replicas died while they worked on this request"


def test_more_than_all_replicas_hold_is_refused_and_what_was_let_in_waits_for_one(behind, replica):
    s = behind()
    with s.ingress.gate.taken(s.ingress.gate.room):
        answer = s.http.post("/v1/completions", json=BODY)
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
        assert s.http.get("/ready").status_code == 503
    found, desk = [], replica.app.desk
    with desk.taken(desk.room):
        thread = threading.Thread(target=lambda: found.append(s.http.post("/v1/completions", json=BODY)))
        thread.start()
        until(lambda: s.handle.ended > 1)  # the replica said twice that it is full
    thread.join(120)
    assert found[0].status_code == 200


def test_a_client_that_leaves_ends_the_work(behind, replica):
    s = behind()
    with s.http.stream("POST", "/v1/completions", json={**SLOW, "max_tokens": 40, "stream": True}) as answer:
        next(answer.iter_lines())
    until(lambda: s.handle.ended == 1 and replica.app.desk.open == 0 and s.ingress.gate.open == 0)


def test_the_metrics_are_of_all_replicas_that_answer(behind):
    s = behind()
    s.http.post("/v1/completions", json=BODY)
    counted = 'decoders_requests_total{route="/v1/completions",status="200"} 1.0'
    until(lambda: counted in s.http.get("/metrics").text)
    assert 'decoders_slots{replica="one"} 2.0' in s.http.get("/metrics").text
    both = labelled({"a": "# TYPE x_total counter\nx_total{d=\"y\"} 2\n", "b": "# TYPE x_total counter\nx_total 3\n"})
    assert b'x_total{d="y",replica="a"} 2.0\nx_total{replica="b"} 3.0' in both
    assert both.count(b"# TYPE x_total counter") == 1


def test_what_goes_wrong_in_a_replica_is_in_the_log_in_front(behind, replica, capfd, monkeypatch):
    s = behind()
    monkeypatch.setattr(replica.app.generator, "submit", lambda *x, **y: 1 / 0)
    LOG.handlers = [*LOG.handlers, replica.log]
    try:
        answer = s.http.post("/v1/completions", json=BODY, headers={"X-Request-Id": "bad"})
    finally:
        LOG.handlers = LOG.handlers[:-1]
    assert answer.status_code == 500
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert (line["id"], "ZeroDivisionError" in line["trace"]) == ("bad", True)


@pytest.mark.parametrize(("body", "count"), [
    (b"{", 1), (b"[]", 1), (b'{"prompt": "a"}', 1), (b'{"prompt": ["a", "b"], "n": 3}', 6), (b'{"n": "x"}', 1),
    (b'{"messages": [], "n": 2}', 2),
])
def test_how_many_texts_a_body_asks_for(body, count):
    assert texts_of(body) == count


def test_of_two_replicas_the_one_with_fewer_texts():
    found = Shortest.__new__(Shortest)
    sent = {"a": 3, "b": 1}
    found._replica_queue_len_cache = SimpleNamespace(get=sent.get)
    found.initialize_state()
    there = [SimpleNamespace(replica_id=x) for x in sent]

    def first():
        return asyncio.run(found.choose_replicas(there))[0][0].replica_id

    def asked(id, texts):
        return SimpleNamespace(args=[SimpleNamespace(texts=texts)], metadata=SimpleNamespace(internal_request_id=id))

    assert first() == "b"
    found.on_request_routed(asked("one", 9), "b", None)
    assert first() == "a"
    found.on_request_completed("b", "one")
    found.on_request_completed("b", "unknown")
    assert first() == "b"


def test_each_replica_has_a_gpu_or_its_share_of_the_cores():
    gpus, cores = [{"GPU": 2.0, "CPU": 8.0}, {"CPU": 4.0}], [{"CPU": 7.0}, {"CPU": 4.0}]
    count, each, setup = placed(SETUP, None, gpus)
    assert (count, each, setup.options) == (2, {"num_gpus": 1, "num_cpus": 0}, {"device": "cuda"})
    on_cpu = replace(SETUP, options={"device": "cpu"})
    assert [placed(s, n, m)[:2] for s, n, m in (
        (on_cpu, 1, gpus), (SETUP, None, cores), (SETUP, 3, cores), (SETUP, 11, cores),
    )] == [(1, {"num_cpus": 8}), (2, {"num_cpus": 4}), (3, {"num_cpus": 3}), (11, {"num_cpus": 1})]
    for n, there, said in ((3, gpus, "has 2"), (12, cores, "has 11"), (None, [{}], "has 0")):
        with pytest.raises(UsageError, match=said):
            placed(SETUP, n, there)


def test_a_model_that_cannot_be_loaded_is_told_in_one_line():
    before = LOG.handlers, LOG.propagate
    wrong = Replica(replace(SETUP, decoder="treshold"))
    LOG.handlers, LOG.propagate = before
    assert "did you mean 'threshold'?" in wrong.about().error
    wrong.check_health()
    assert asyncio.run(anext(wrong.answer(None)))[0]["status"] == 429
    wrong.started -= GRACE + 1
    with pytest.raises(UsageError, match="did you mean"):
        wrong.check_health()


# --- with Ray

def replicas_of(pid):
    """The processes of replicas below a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        name = Path(f"/proc/{child}/cmdline").read_text()
        found += [int(child)] * name.startswith("ray::ServeReplica") + replicas_of(child)
    return found


def load(url, bodies, killed):
    """Post all bodies at once, 16 at a time; each answer, or what was said instead."""
    async def all_of():
        gate = asyncio.Semaphore(16)
        async with httpx.AsyncClient(base_url=url, timeout=300) as client:
            async def one(body):
                async with gate:
                    answer = await client.post("/v1/completions", json=body)
                    return answer

            tasks = [asyncio.create_task(one(b)) for b in bodies]
            done = 0
            while done < len(bodies) // 4:
                await asyncio.sleep(0.02)
                done = sum(t.done() for t in tasks)
            killed()
            return await asyncio.gather(*tasks)

    return asyncio.run(all_of())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the replicas in /proc")
def test_two_replicas_one_of_them_killed_under_load(alone):
    rng = random.Random(0)
    bodies = [{
        "prompt": f"Sort: {' '.join(rng.sample('kcxatbdefghmn', rng.randrange(3, 10)))}\n", "seed": i,
        "max_tokens": rng.randrange(16, 40), "decoder": rng.choice(["left_to_right", "llada", "threshold"]),
        "cache": rng.choice(["exact", "none", "dual"]), "stream": i % 3 == 0,
    } for i in range(60)]
    with running("--ray", "--replicas", "2", "--slots", "4") as (process, url):
        replicas = replicas_of(process.pid)
        assert len(replicas) == 2
        found = load(url, bodies, lambda: os.kill(replicas[0], signal.SIGKILL))
        broken = 0
        for body, answer in zip(bodies, found, strict=True):
            expected = alone(
                body["prompt"], seed=body["seed"], length=body["max_tokens"], decoder=body["decoder"],
                cache=body["cache"],
            )[0].text
            assert answer.status_code == 200
            text, last = streamed(answer) if body["stream"] else (text_of(answer), "[DONE]")
            if last == "[DONE]":
                assert text == expected, body
            else:
                assert expected.startswith(text)
                assert json.loads(last)["error"]["code"] == "replica_lost"
                broken += 1
        assert broken <= 16 // 3 + 1
        again = re.search(r"decoders_retried_total (\d+)", httpx.get(f"{url}/metrics").text)
        print(f"{again[1]} begun again, {broken} streams broken off")
        until(lambda: httpx.get(f"{url}/metrics", timeout=30).text.count("decoders_slots{") == 2, 120)
        answers, path = [], f"{url}/v1/completions"
        last = threading.Thread(target=lambda: answers.append(httpx.post(path, json=SLOW, timeout=300)))
        last.start()
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        last.join(300)
        assert answers[0].status_code == 200
        assert process.wait(120) == 0
        assert "Traceback" not in process.stderr.read()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in replicas), 30)


def test_replicas_are_of_ray(monkeypatch):
    done = call("serve", "--replicas", "2")
    assert (done.exit_code, done.stderr) == (2, "Error: --replicas is for --ray\n")
    monkeypatch.setattr(ray, "init", lambda **how: pytest.fail("a cluster for a mistake"))
    done = call("serve", "--ray", "-d", "treshold", "--port", "0")
    assert (done.exit_code, "did you mean 'threshold'?" in done.stderr) == (2, True)
    monkeypatch.setattr(command, "NEEDS_RAY", ("ray", "no_such_package"))
    done = call("serve", "--ray")
    said = "Error: decoders serve --ray needs no_such_package: pip install 'dllm-decoders[serve-ray]'\n"
    assert (done.exit_code, done.stderr) == (2, said)
