"""Many requests at once, some malformed and some given up: nothing is lost, and every text is the model's own."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from dataclasses import dataclass

import httpx
import pytest

from decoders import Generator
from decoders.constraints.merge import Merge
from decoders.serve.edits import GROWTH, MERGED
from support.serving import until

SPECS = ["threshold", "threshold:tau=0.99", "llada", "left_to_right", "wino", "persistent_drafts", "dream", "saber"]
MARK = "... existing code ..."


@dataclass(frozen=True)
class Sent:
    """A request: where it goes, and what `Generator` alone is asked for the same text."""

    path: str
    body: dict
    own: object

    def expected(self, alone):
        how = {k: self.body[k] for k in ("seed", "decoder", "cache")}
        return self.own(alone, how)


def request(rng, i):
    words = rng.sample("kcxatbdefghmn", rng.randrange(3, 10))
    kind = rng.choice(["Sort", "Reverse", "Copy"])
    prompt, length = f"{kind}: {' '.join(words)}\n", rng.randrange(8, 40)
    body = {
        "seed": i, "decoder": rng.choice(SPECS), "cache": rng.choice(["exact", "none", "dual"]),
        "stream": rng.random() < 0.5,
    }
    make = rng.choices([text, middle, region, merge], [7, 1, 1, 1])[0]
    return make(rng, prompt, length, body)


def text(rng, prompt, length, body):
    more = {"logprobs": rng.choice([0, 2])} if rng.random() < 0.2 else {}
    return Sent(
        "/v1/completions", body | more | {"prompt": prompt, "max_tokens": length, "timeout": 600},
        lambda alone, how: alone(prompt, length=length, **how)[0].text,
    )


def middle(rng, prompt, length, body):
    suffix, holes = f" {rng.choice('xyz')}\n", length // 4
    return Sent(
        "/v1/fim/completions", body | {"prompt": prompt, "suffix": suffix, "max_tokens": holes},
        lambda alone, how: filled(alone, prompt, holes, suffix, how).text,
    )


def filled(alone, before, holes, after, how):
    """What stands between two texts; its `logprobs` are its own."""
    (made,) = alone(before + alone.mask * holes + after, infill=True, logprobs=True, **how)
    begin = len(alone.encode(before))
    return made.__class__(**vars(made) | {"text": alone.loaded.tokenizer.decode(made.tokens[begin : begin + holes])})


def region(rng, prompt, length, body):
    below = f"Copy: {rng.choice('xyz')}"
    content = (
        f"<|current_file_content|>\n{prompt}<|code_to_edit|>\n<|cursor|>\n<|/code_to_edit|>\n{below}\n"
        "<|/current_file_content|>"
    )

    def own(alone, how):
        made = [filled(alone, prompt, n + 1, below, how) for n in GROWTH if 0 < n < length]
        best = max(made, key=lambda g: (g.text.endswith("\n"), sum(g.logprobs) / len(g.logprobs)))
        return "```\n" + best.text.rstrip("\n") + "\n```"

    messages = [{"role": "user", "content": content}]
    return Sent("/v1/edit/completions", body | {"messages": messages, "max_tokens": length}, own)


def merge(rng, prompt, length, body):
    original, new = tuple(rng.sample("abcdef", 3)), (rng.choice("xyz"),)
    joined = "\n".join(original)
    content = (
        f"<|original_code|>\n{joined}\n<|/original_code|>\n\n"
        f"<|update_snippet|>\n{MARK}\n{new[0]}\n{MARK}\n<|/update_snippet|>"
    )

    def own(alone, how):
        held = Merge("", original, (new,), True, True, alone.ids)
        (made,) = alone(f"{content}\n\n{MERGED}", length=held.longest + 1, constraint=held, **how)
        return made.text.removesuffix("\n")

    return Sent("/v1/apply/completions", body | {"messages": [{"role": "user", "content": content}]}, own)


async def one(client, sent, fate):
    """What became of a request: its text, its status, or nothing, if it was given up."""
    body = {**sent.body, "max_tokens": "many"} if fate == "malformed" else sent.body
    async with client.stream("POST", sent.path, json=body) as answer:
        if answer.status_code != 200:
            return answer.status_code
        whole = ""
        async for line in answer.aiter_lines():
            if fate == "cancelled":
                return None
            if not body["stream"]:
                whole += line
            elif line.startswith("data: {"):
                whole += said(json.loads(line[6:])["choices"][0])
        return whole if body["stream"] else said(json.loads(whole)["choices"][0])


def said(choice):
    return choice["text"] if "text" in choice else choice.get("message", choice.get("delta"))["content"]


async def all_of(url, requests, fates):
    """The outcomes, the seconds that each took, and the memory after each, 32 at a time."""
    gate, seconds, levels = asyncio.Semaphore(32), [], []
    async with httpx.AsyncClient(base_url=url, timeout=900, limits=httpx.Limits(max_connections=32)) as client:

        async def gated(sent, fate):
            async with gate:
                began = time.monotonic()
                found = await one(client, sent, fate)
                seconds.append(time.monotonic() - began)
                levels.append(resident())
                return found

        found = await asyncio.gather(*(gated(*x) for x in zip(requests, fates, strict=True)))
    return found, sorted(seconds), levels


def resident():
    """MiB that this process has now."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() >> 20


@pytest.mark.slow
def test_five_hundred_mixed_requests(start, alone):
    rng, count = random.Random(0), 500
    server = start(Generator("nano", slots=16), queue=500)
    requests = [request(rng, i) for i in range(count)]
    fates = ["malformed"] * (count // 10) + ["cancelled"] * (count // 10)
    fates = rng.sample(fates + ["good"] * (count - len(fates)), count)
    for sent, fate in zip(requests, fates, strict=True):
        sent.body["stream"] |= fate == "cancelled"
    found, seconds, levels = asyncio.run(all_of(server.url, requests, fates))
    until(lambda: server.app.generator.service.engine.idle and server.app.desk.open == 0)
    p50, p95 = (seconds[int(q * count)] for q in (0.5, 0.95))
    paths = {p: sum(s.path == p for s in requests) for p in sorted({s.path for s in requests})}
    print(f"p50 {p50:.2f} s, p95 {p95:.2f} s, MiB after each hundred {levels[99::100]}, {paths}")
    for sent, fate, outcome in zip(requests, fates, found, strict=True):
        if fate == "good":
            assert outcome == sent.expected(alone), sent
        else:
            assert outcome == (400 if fate == "malformed" else None)
    assert max(levels) - levels[99] < 150
