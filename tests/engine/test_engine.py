"""The engine: rows come and go, and what becomes of each is what it would be alone."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

import pytest
import torch

from decoders.core import Blocks, Decoder, NonFiniteError, Plan, StalledError, UsageError, decode
from decoders.engine import CancelledError, DeadlineError, Engine, Request, sizes
from decoders.models.guidance import Guided
from decoders.registry import get, get_cache
from decoders.testing.toy import ToyModel

MODEL, ENDLESS = ToyModel(stop_ids=(3,)), ToyModel()
WHOLE = 1 << 40


def plan(spec="threshold:tau=0.3", block=WHOLE, cache="exact"):
    return Plan(get(spec), Blocks(block), get_cache(cache))


def alone(r, model=MODEL):
    (row,) = decode(
        model, r.plan.decoder, [r.prompt], length=r.length, windows=r.plan.windows, cache=r.plan.cache, seed=r.key,
        infill=r.infill, max_steps=r.max_steps,
    )
    return row


def mixed(seed, count=40):
    """Requests of many decoders, caches, windows, lengths and prompts."""
    rng = random.Random(seed)
    specs = ["threshold:tau=0.3", "llada:temperature=1.0", "s2d2", "daedal", "wino", "eos_stop:base=entropy_bound"]
    for _ in range(count):
        kind = plan(rng.choice(specs), rng.choice([8, WHOLE]), rng.choice(["exact", "none", "dual"]))
        prompt = tuple(rng.randrange(9) for _ in range(rng.randrange(1, 90)))
        steps = rng.choice([None, None, None, 5])
        yield Request(
            prompt, rng.randrange(4, 40), kind, rng.randrange(1000), max_steps=steps, logprobs=rng.random() < 0.2,
            top_logprobs=rng.choice([0] * 8 + [3]),
        )


@dataclass(frozen=True)
class Fixed(ToyModel):
    """Its sessions keep their rows where they are."""

    capabilities = ToyModel.capabilities - {"movable"}


@pytest.mark.parametrize(
    ("model", "seed"), [(MODEL, 0), (Guided(MODEL, 0.5), 1), (Fixed(stop_ids=(3,)), 2)],
    ids=["plain", "guided", "fixed"],
)
def test_a_row_is_what_it_would_be_alone_whatever_comes_and_goes(model, seed):
    """Random arrivals, a third of them cancelled sooner or later."""
    rng, engine = random.Random(seed), Engine(model, slots=5)
    waiting, asked, ended = list(mixed(seed)), [], []
    while waiting or not engine.idle:
        for _ in range(rng.randrange(3)):
            if waiting:
                asked.append(waiting.pop())
                engine.submit(asked[-1])
        if asked and rng.random() < 0.05:
            engine.cancel(rng.choice(asked))
        ended += engine.step()
        assert engine.running <= 5
    assert len(ended) == len(set(map(id, ended))) == len(asked) == 40
    cancelled = [r for r in ended if isinstance(r.error, CancelledError)]
    whole = [r for r in ended if r.error is None]
    assert len(cancelled) + len(whole) == 40
    assert cancelled
    for r in whole:
        expected = alone(r, model)
        assert r.result.row == expected
        assert r.result.row.positions_computed == expected.positions_computed
        assert len(r.result.committed) == len(expected.tokens)
    assert engine.occupied / engine.offered > 0.7


def test_a_slot_that_becomes_free_is_taken_at_once():
    engine = Engine(ENDLESS, slots=2)
    requests = [Request((1, 2), 30, plan("left_to_right"), max_steps=n) for n in (3, 30, 4, 5)]
    ended = [r.max_steps for r in engine.run(requests)]
    assert ended == [3, 4, 5, 30]
    assert engine.forwards == 30  # and not 30 + 5, as two batches would take
    assert all(r.result.waiting >= 0 <= r.result.running for r in requests)


def test_on_a_cpu_several_canvases_share_the_slots(monkeypatch):
    monkeypatch.setattr(sizes, "PORTION", 3 * 16)
    engine = Engine(ENDLESS, slots=8)
    kind = plan("left_to_right", cache="none")
    requests = [Request((i % 5,), 8 + i % 3, kind, key=i, max_steps=4 + i) for i in range(20)]
    for r in requests:
        engine.submit(r)
    engine.step()
    assert sorted(g.rows for g in engine.groups) == [2, 3, 3]  # three of 16 columns run fast, so as many as evenly fit
    while not engine.idle:
        there = engine.running + sum(map(len, engine.waiting.values()))
        done = engine.step()
        assert all(g.rows <= 3 for g in engine.groups)
        assert engine.running + len(done) == min(there, 8)
    assert all(r.result.row == alone(r, ENDLESS) for r in requests)


def test_how_many_rows_a_canvas_has():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [sizes.most_rows(cpu, slots, 96) for slots in (1, 8, 16, 17, 32, 40)] == [1, 8, 16, 9, 16, 14]
    assert [sizes.most_rows(cpu, 4, columns) for columns in (400, 1536, 9999)] == [2, 1, 1]
    assert sizes.most_rows(cuda, 32, 9999) == 32


def test_a_canvas_grows_with_what_waits_and_shrinks_again():
    engine, sizes = Engine(ENDLESS, slots=8), []
    first = Request((1,), 40, plan("left_to_right"))
    engine.submit(first)
    sizes += [engine.step() or engine.groups[0].rows]
    more = [Request((i,), 32, plan("left_to_right"), key=i, max_steps=10) for i in range(5)]
    for r in more:
        engine.submit(r)
    while not engine.idle:
        engine.step()
        sizes += [g.rows for g in engine.groups]
    assert sizes[0] == 1
    assert max(sizes) == 8
    assert sizes[-1] == 1
    assert all(r.result.row == alone(r, ENDLESS) for r in (first, *more))


def test_rows_of_very_different_lengths_have_canvases_of_their_own():
    engine = Engine(ENDLESS, slots=8)
    for length in (10, 11, 100, 90):
        engine.submit(Request((1,), length, plan("left_to_right")))
    engine.step()
    assert sorted((g.kind.columns, len(g.running)) for g in engine.groups) == [(16, 2), (104, 2)]


def test_canvases_take_turns_by_the_time_that_they_took():
    engine = Engine(ENDLESS, slots=4)
    for spec in ("left_to_right", "threshold:tau=1.0"):
        engine.submit(Request((1, 2, 3), 60, plan(spec), max_steps=50))
    while not engine.idle:
        engine.step()
        if len(engine.groups) == 2:
            a, b = (g.spent for g in engine.groups)
            assert abs(a - b) < max(a, b) * 0.5 + 0.5
    assert engine.forwards == 100


@dataclass(frozen=True)
class Raises(Decoder):
    """Fails at its third step."""

    def step(self, s, p):
        if int(s.clock.max()) == 2:
            raise ZeroDivisionError("mine")
        return s.commit(s.open & (s.position == s.position[:, :1]), *p.best())


@dataclass(frozen=True)
class Stuck(Decoder):
    """Commits nothing."""

    def step(self, s, p):
        return s


def test_a_decoder_that_raises_ends_its_own_requests_only():
    engine = Engine(MODEL, slots=4)
    bad = [Request((1,), 8, Plan(Raises(), Blocks(8), get_cache("exact"))) for _ in range(2)]
    good = [Request((i,), 12, plan("left_to_right")) for i in range(3)]
    assert len(list(engine.run([*bad, *good]))) == 5
    assert all(isinstance(r.error, ZeroDivisionError) for r in bad)
    assert all(r.error is None and r.result.row == alone(r) for r in good)


def test_a_decoder_without_progress_ends_with_an_error():
    stuck = Request((1,), 8, Plan(Stuck(), Blocks(8), get_cache("exact")))
    good = Request((1,), 8, plan("left_to_right"))
    list(Engine(MODEL, slots=2).run([stuck, good]))
    assert isinstance(stuck.result.row.error(), StalledError)
    assert good.result.row == alone(good)
    (row,) = decode(MODEL, Stuck(), [[1]], length=4)
    assert (row.finish_reason, row.nfe, row.tokens) == ("no_progress", 512, ())
    assert "makes no progress" in str(row.error())


def test_a_pause_within_a_budget_of_steps_is_no_standstill():
    (row,) = decode(MODEL, get("ancestral:steps=1500"), [[1]], length=2, stop=False)
    assert (row.finish_reason, len(row.tokens)) == ("length", 2)


def test_a_deadline_ends_a_request_that_runs_and_one_that_waits():
    engine = Engine(MODEL, slots=1)
    soon = time.monotonic() + 0.05
    requests = [Request((1,), 50, plan("left_to_right"), deadline=soon) for _ in range(2)]
    last = Request((1,), 4, plan("left_to_right"))
    for r in (*requests, last):
        engine.submit(r)
    engine.step()
    time.sleep(0.06)
    while not engine.idle:
        engine.step()
    assert all(isinstance(r.error, DeadlineError) for r in requests)
    assert last.result.row == alone(last)


def test_what_can_never_fit_is_refused_and_what_does_not_fit_now_waits():
    each = Engine(MODEL).bytes(Engine(MODEL).kind(Request((1,), 8, plan())))
    engine = Engine(MODEL, slots=8, memory=3 * each)
    with pytest.raises(UsageError, match="memory budget"):
        engine.submit(Request((1,), 600, plan()))
    requests = [Request((i,), 8, plan(), key=i) for i in range(7)]
    for r in requests:
        engine.submit(r)
    while not engine.idle:
        engine.step()
        assert sum(g.rows for g in engine.groups) <= 3
    assert all(r.result.row == alone(r) for r in requests)


def test_a_request_that_cannot_be_laid_out_does_not_end_the_others():
    engine = Engine(MODEL, slots=4)
    kind = plan("llada:steps=4", block=8)
    requests = [Request((1,), 32, kind), Request((2,), 24, kind), Request((3,), 16, kind)]
    ended = list(engine.run(requests))
    assert len(ended) == 3
    assert "split evenly over 3 blocks" in str(requests[1].error)
    assert all(r.result.row == alone(r) for r in (requests[0], requests[2]))


@pytest.mark.parametrize(("slots", "memory"), [(0, None), (1, 0)])
def test_impossible_sizes_are_refused(slots, memory):
    with pytest.raises(UsageError, match="must be at least 1"):
        Engine(MODEL, slots=slots, memory=memory)


def test_log_probabilities_are_those_at_commitment():
    """One position a forward, left to right: they add up to that of the text, which a causal reading knows too."""
    r = Request((1, 2), 6, plan("left_to_right"), logprobs=True)
    list(Engine(ENDLESS).run([r]))
    seen = []

    def watch(f, p, c):
        token = int(c.tokens[0, 2 + len(seen)])
        seen.append(float(p.prob(torch.full_like(f.at, token))[0, len(seen)].log()))

    decode(ENDLESS, r.plan.decoder, [r.prompt], length=6, windows=r.plan.windows, watch=watch)
    tokens = len(r.result.row.tokens)
    assert r.result.logprobs == pytest.approx(tuple(seen[:tokens]), rel=1e-5)
    assert r.result.committed == tuple(range(tokens))


def test_the_likeliest_tokens_are_those_at_commitment():
    """Beside rows that want none or others, and they change nothing."""
    specs = ["left_to_right", "threshold:tau=0.3", "llada:temperature=1.0"]
    asked = [Request((1, 2), 6, plan(s), key=5, top_logprobs=k) for s in specs for k in (0, 1, 4, 99)]
    list(Engine(ENDLESS, slots=4).run(asked))
    for r in asked:
        assert r.result.row == alone(r, ENDLESS)
        if not r.top_logprobs:
            assert (r.result.logprobs, r.result.top_logprobs) == (None, None)
            continue
        assert len(r.result.top_logprobs) == len(r.result.row.tokens)
        for token, said, top in zip(r.result.row.tokens, r.result.logprobs, r.result.top_logprobs, strict=True):
            assert len(top) == min(r.top_logprobs, ENDLESS.vocab)
            assert [x for _, x in top] == sorted((x for _, x in top), reverse=True)
            assert dict(top).get(token, said) == pytest.approx(said, rel=1e-5)
            if len(top) == ENDLESS.vocab:
                assert sum(math.exp(x) for _, x in top) == pytest.approx(1, rel=1e-5)
    first = [r.result.top_logprobs[0] for r in asked[:4] if r.top_logprobs]
    assert first[0][0][0] == first[1][0][0]


def test_revisions_are_counted():
    r = Request((1, 2), 16, plan("remdm:steps=32,eta=0.5"), key=3, logprobs=True)
    list(Engine(ENDLESS).run([r]))
    assert r.result.revised > 0
    assert all(x is None or math.isfinite(x) for x in r.result.logprobs)


def test_drafts_are_told_once_and_a_listener_can_have_enough():
    drafts, calls = [], []

    def halt(row, tokens):
        calls.append(len(tokens))
        return len(tokens) >= 5

    r = Request((1,), 30, plan("left_to_right"), hear=drafts.append, halt=halt)
    list(Engine(ENDLESS).run([r]))
    assert (r.result.row.finish_reason, r.result.row.nfe) == ("stop", 5)
    assert [d.settled for d in drafts] == [1, 2, 3, 4, 5]
    assert drafts[-1].tokens[:5] == r.result.row.tokens[:5]
    assert calls == [1, 2, 3, 4, 5]


@dataclass(frozen=True)
class Breaking(ToyModel):
    """Says nothing of rows that hold the token 7."""

    def session(self, spec):
        inner = super().session(spec)

        def forward(f):
            p = inner(f)
            broken = (f.tokens[:, :-1] == 7).any(-1)
            p.logits[broken] = torch.nan
            return p

        return forward


def test_logits_that_are_not_finite_end_their_own_row():
    model = Breaking(stop_ids=(3,))
    bad, good = Request((7,), 8, plan()), Request((1,), 8, plan("left_to_right:temperature=0.0"))
    list(Engine(model, slots=2).run([bad, good]))
    assert isinstance(bad.result.row.error(), NonFiniteError)
    assert good.result.row.finish_reason in ("length", "stop", "non_finite")
