"""`Generator.run`: what is handed out, in which order, and that errors of one prompt do not end the others."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import pytest

from decoders import Generation, Generator, UsageError
from decoders.job import AHEAD, Job
from decoders.models.source import load_model
from decoders.reasoning.base import ReasonerError, Reasoning
from decoders.text.records import or_raise

PROMPTS = ["Sort: c a b", "Sort: f e d c", "Copy: x y", "Copy: a b c d e", "Sort: b a"]
LONG = "a" * 2000


@pytest.fixture(scope="module")
def nano():
    return load_model("nano")


def test_each_prompt_is_handed_out_with_its_index_in_batches(nano):
    run = Generator(nano, "ancestral")
    seeds, batches = [5, 4, 3, 2, 1], []
    alone = [run(p, length=16, seed=s)[0].tokens for p, s in zip(PROMPTS, seeds, strict=True)]
    found = list(run.run(PROMPTS, length=16, seeds=seeds, batch=2, on_batch=batches.append))
    assert sorted(i for i, _ in found) == [0, 1, 2, 3, 4]
    assert [dict(found)[i].tokens for i in range(5)] == alone
    # the two longest start together, and each of the others takes a place that has become free
    assert batches[0].prompts == (3, 1)
    assert sorted(i for b in batches for i in b.prompts) == [0, 1, 2, 3, 4]
    assert all(len(b.prompts) <= 2 for b in batches)
    assert [m.tokens for m in run(PROMPTS, length=16, seeds=seeds, batch=3)] == alone


def test_results_come_as_they_finish(nano):
    """What is not asked for is not decoded."""
    batches = []
    results = Generator(nano).run(PROMPTS, length=8, batch=2, on_batch=batches.append)
    assert batches == []
    first = next(results)[0]
    assert first in batches[0].prompts
    assert [len(b.prompts) for b in batches] == [2]


def test_only_a_few_requests_exist_at_a_time(nano, monkeypatch):
    """However many prompts there are; and what has been handed out is not kept."""
    made, slots = list[weakref.ref](), 2

    def request(job, *args, **more):
        made.append(weakref.ref(r := whole(job, *args, **more)))
        return r

    whole = Job.request
    monkeypatch.setattr(Job, "request", request)
    alive = []
    for _, result in Generator(nano).run(PROMPTS[:1] * 30, length=8, batch=slots):
        assert or_raise(result).waiting_seconds >= 0
        alive.append(sum(r() is not None for r in made))
    assert len(made) == 30
    assert max(alive) <= (AHEAD + 2) * slots


def test_a_prompt_that_cannot_be_decoded_does_not_end_the_others(nano):
    batches = []
    prompts = [PROMPTS[0], "", LONG, PROMPTS[1], "\ud800", PROMPTS[2]]
    run = Generator(nano, "llada")
    found = dict(run.run(prompts, length=8, batch=4, on_batch=batches.append))
    assert sorted(found) == list(range(6))
    assert [i for i, made in found.items() if isinstance(made, UsageError)] == [1, 2, 4]
    assert [("empty" in str(found[1])), ("1024" in str(found[2])), ("Unicode" in str(found[4]))] == [True] * 3
    assert [sorted(b.prompts) for b in batches] == [[0, 3, 5]]  # those that can be are still decoded together
    assert [found[i].tokens for i in (0, 3, 5)] == [m.tokens for m in run(PROMPTS[:3], length=8)]
    with pytest.raises(UsageError, match="empty"):
        run(prompts, length=8)


def test_what_only_decoding_finds_out_is_handed_out_too(nano):
    """How many blocks a row of a block-causal model has depends on its prompt, and a budget has to divide into them."""
    run = Generator("nano:attention=block", "llada:steps=4")
    lengths = [len(run.encode(p)) for p in PROMPTS]
    block = 4
    bad = {i for i, n in enumerate(lengths) if 4 % (-(-(n + 2 * block) // block) - n // block)}
    assert 0 < len(bad) < len(PROMPTS)
    found = dict(run.run(PROMPTS, length=2 * block, block=block))
    assert {i for i, made in found.items() if isinstance(made, UsageError)} == bad
    assert all("split evenly" in str(found[i]) for i in bad)


def test_events_and_batches_name_prompts_by_their_index(nano):
    heard: dict[int, list[int]] = {}
    run = Generator(nano, "threshold")

    def listen(e):
        if e.kind == "committed":
            heard.setdefault(e.row, []).extend(e.tokens)

    found = dict(run.run(["", *PROMPTS], length=16, batch=2, on_event=listen))
    assert {i: tuple(heard.get(i, ())) for i in range(1, 6)} == {i: found[i].tokens for i in range(1, 6)}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"stop": ["a", ""]}, "stop string is empty"),
        ({"infill": True, "stop": "a"}, "infill"),
        ({"seeds": [1]}, "seeds"),
        ({"seed": 2**63}, "64 bits"),
        ({"batch": 0}, "a batch needs at least one prompt"),
        ({"block": 0}, "block"),
    ],
)
def test_what_concerns_all_prompts_is_raised_at_once(nano, how, message):
    """Not only when the first result is asked for."""
    with pytest.raises(UsageError, match=message):
        Generator(nano).run(PROMPTS, **{"length": 8, **how})


def test_nothing_to_do_is_no_result(nano):
    assert list(Generator(nano).run([])) == Generator(nano)([]) == []


def test_a_constraint_that_cannot_fit_is_raised_at_once_and_a_mask_in_a_prompt_is_its_own_error(nano, tmp_path):
    with pytest.raises(UsageError, match="there is room for 2"):
        Generator(nano, constraint="regex:abcdefghijklmnop").run(PROMPTS, length=2)
    path = tmp_path / "template"
    path.write_text("a <|mask|> b")
    run = Generator(nano, constraint=f"template:{path}")
    found = dict(run.run(["x", f"x {run.mask}", "y"]))
    assert "cannot hold" in str(found[1])
    assert all(isinstance(found[i], Generation) and found[i].text.startswith("a ") for i in (0, 2))


@dataclass
class Moody:
    """A reasoner that fails some prompts. `asked`: the batches it was given."""

    name: str = "moody"
    asked: list[list[str]] = field(default_factory=list)

    def write(self, prompts, *, seeds, boundary, budget):
        self.asked.append(list(prompts))
        return [self.one(p) for p in prompts]

    def one(self, prompt):
        if prompt.startswith("no"):
            return ReasonerError(f"moody says {prompt}", everyone=prompt == "nobody")
        return Reasoning(" z" * (5000 if prompt == "much" else 1), 1, 0.0, "stop", True, self.name)


@pytest.fixture
def moody(nano, monkeypatch):
    reasoner = Moody()
    monkeypatch.setattr("decoders.generator.reasoner_of", lambda said: reasoner)
    return Generator(nano, "after_reasoning:reasoner=a:b"), reasoner


def test_failures_of_a_reasoner_are_told_apart_and_come_before_their_batch(moody):
    run, reasoner = moody
    batches = []
    found = list(run.run(["a", "no", "", "much", "b"], length=8, batch=4, on_batch=batches.append))
    assert [i for i, _ in found] == [1, 2, 3, 0, 4]
    kinds = {i: type(made) for i, made in found}
    assert kinds == {0: Generation, 1: ReasonerError, 2: UsageError, 3: ReasonerError, 4: Generation}
    assert "the prompt and its reasoning have" in str(dict(found)[3])
    assert reasoner.asked == [["a", "no", "much"], ["b"]]  # what cannot be decoded anyway is not reasoned about
    assert [(b.prompts, [r.text for r in b.reasonings]) for b in batches] == [((0,), [" z"]), ((4,), [" z"])]


def test_where_everyone_fails_later_batches_are_left_out(moody):
    run, reasoner = moody
    found = dict(run.run(["a", "nobody", "b", "c"], length=8, batch=2))
    assert {i: type(made) for i, made in found.items()} == {0: Generation, 1: ReasonerError}
    assert reasoner.asked == [["a", "nobody"]]
    with pytest.raises(UsageError, match="cannot be used with infill"):
        run.run(["a"], infill=True)


def test_reasonings_that_are_given_are_not_asked_for_again(moody):
    run, reasoner = moody
    kept = run.reason(["a", "b"], seeds=[0, 0], length=8)
    before = len(reasoner.asked)
    made = [or_raise(m) for _, m in run.run(["a", "b"], length=8, reasonings=kept)]
    assert [m.reasoning for m in made] == kept
    assert len(reasoner.asked) == before
