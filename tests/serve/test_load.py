"""Many requests at once, some malformed and some given up: nothing is lost, and every text is the model's own."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time

import httpx
import pytest

from decoders import Generator
from support.serving import until

SPECS = ["threshold", "threshold:tau=0.99", "llada", "left_to_right", "wino", "persistent_drafts", "dream", "saber"]


def request(rng, i):
    words = rng.sample("kcxatbdefghmn", rng.randrange(3, 10))
    kind = rng.choice(["Sort", "Reverse", "Copy"])
    return {
        "prompt": f"{kind}: {' '.join(words)}\n", "max_tokens": rng.randrange(8, 40), "seed": i,
        "decoder": rng.choice(SPECS), "cache": rng.choice(["exact", "none", "dual"]), "stream": rng.random() < 0.5,
        "diffusing": False,
    }


async def one(client, body, fate):
    """What became of a request: its text, its status, or nothing, if it was given up."""
    if fate == "malformed":
        body = {**body, "max_tokens": "many"}
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        if answer.status_code != 200:
            return answer.status_code
        text = ""
        async for line in answer.aiter_lines():
            if fate == "cancelled":
                return None
            if body["stream"] and line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
            elif not body["stream"]:
                text += line
        return text if body["stream"] else json.loads(text)["choices"][0]["text"]


async def all_of(url, bodies, fates):
    """The outcomes, and the seconds each took, 32 at a time."""
    gate, seconds = asyncio.Semaphore(32), []
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=32)) as client:

        async def gated(body, fate):
            async with gate:
                began = time.monotonic()
                found = await one(client, body, fate)
                seconds.append(time.monotonic() - began)
                return found

        return await asyncio.gather(*(gated(*x) for x in zip(bodies, fates, strict=True))), sorted(seconds)


@pytest.mark.slow
def test_two_hundred_mixed_requests(start, alone):
    rng, count = random.Random(0), 200
    server = start(Generator("nano", slots=16))
    bodies = [request(rng, i) for i in range(count)]
    fates = [rng.choices(["good", "malformed", "cancelled"], [8, 1, 1])[0] for _ in range(count)]
    for body, fate in zip(bodies, fates, strict=True):
        body["stream"] |= fate == "cancelled"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, seconds = asyncio.run(all_of(server.url, bodies, fates))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = server.app.generator.service.engine
    until(lambda: engine.idle and server.app.desk.open == 0)
    for body, fate, text in zip(bodies, fates, found, strict=True):
        if fate == "good":
            how = {"decoder": body["decoder"], "cache": body["cache"], "length": body["max_tokens"]}
            assert text == alone(body["prompt"], seed=body["seed"], **how)[0].text, body
        else:
            assert text == (400 if fate == "malformed" else None)
    p50, p95 = (seconds[int(q * len(seconds))] for q in (0.5, 0.95))
    print(f"p50 {p50:.2f} s, p95 {p95:.2f} s, memory {before // 1024} to {after // 1024} MiB")
    assert after - before < 300 * 1024
