"""Decisions of whole models, held against plain forwards of a network, and through the engine beside other work."""

from __future__ import annotations

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import decoders.models.nano as embedded
from decoders import Generator, UsageError
from decoders.core import Forward, Pred, RowError, SessionSpec
from decoders.decide import Choice, Predicate, Score
from decoders.decide.decider import Decider
from decoders.models.adapter import TransformersModel
from decoders.models.loaded import Loaded
from decoders.models.wrapper import Wrapper

MASK, END = 23, 22
TEXT, LETTERS = "abcde", "abcdefghijklmnopqrstu"
QUESTIONS = {
    "true": Predicate("Is it sorted?", true="from a to z"), "which": Choice("Which?", {"one": "1", "two": None}),
    "how": Score("How long?", ["short", "middling", "long"]),
}


class Characters:
    """A token a character; whatever is no letter is one of the letters too. The mask is written `?`."""

    def encode(self, text):
        return [MASK if c == "?" else LETTERS.find(c) if c in LETTERS else ord(c) % len(LETTERS) for c in text]

    def decode(self, tokens):
        return "".join("?" if t == MASK else (LETTERS + "$")[t] for t in tokens)


def generator(net, **how):
    model = TransformersModel(net, **{"mask_id": MASK, "stop_ids": (END,), **how})
    return Generator(Loaded(model, Characters(), "tiny", 8, never=(MASK,), positions=4000))


@pytest.fixture(scope="module")
def nano():
    return Generator("nano", slots=4)


def plain(net, tokens, sees=None):
    """(L, V) the probabilities at each position without the mask token; column i sees those left of `sees[i]`."""
    L = len(tokens)
    until = torch.tensor(sees or [L] * L)
    bias = torch.zeros(L, L, dtype=torch.float64).masked_fill(torch.arange(L) >= until[:, None], -1e300)[None, None]
    with torch.inference_mode():
        out = net(input_ids=torch.tensor([tokens]), attention_mask=bias, position_ids=torch.arange(L)[None]).logits[0]
    return out.index_fill(-1, torch.tensor([MASK]), -torch.inf).softmax(-1)


def ids(text):
    return Characters().encode(text)


def normal(weights):
    return pytest.approx([float(w) / float(sum(weights)) for w in weights], abs=1e-9)


def test_a_masked_model_reads_one_hole_behind_a_text(net):
    p = plain(net, [*ids(TEXT), MASK])[-1]
    (found,) = generator(net).read(TEXT, ["f", "g", "h"])
    assert found.probabilities == normal(p[ids("fgh")])
    assert found.mass == pytest.approx(float(p[ids("fgh")].sum()))


def test_a_masked_model_reads_all_holes_of_a_text_in_one_forward(net):
    own = generator(net)
    before = own.service.engine.forwards
    found = own.read("ab?de?", ["f", "g"])
    assert own.service.engine.forwards == before + 1
    p = plain(net, ids("ab?de?"))
    assert [r.probabilities for r in found] == [normal(p[i][ids("fg")]) for i in (2, 5)]
    behind = generator(net).read(TEXT, ["f", "g"], holes=3)
    p = plain(net, [*ids(TEXT), MASK, MASK, MASK])
    assert [r.probabilities for r in behind] == [normal(p[i][ids("fg")]) for i in (5, 6, 7)]


def test_labels_of_several_tokens_by_the_chain_rule(net):
    """The longest has three tokens, so there are three positions; `fg` begins another and so ends with an end."""
    p = [plain(net, [*ids(TEXT), *ids(x), *[MASK] * (3 - len(x))])[5 + len(x)] for x in ("", "f", "fg", "h")]
    f, g, h, i = ids("fghi")
    weights = [p[0][f] * p[1][g] * p[2][END], p[0][f] * p[1][g] * p[2][h], p[0][f] * p[1][h], p[0][h] * p[3][i]]
    (found,) = generator(net).read(TEXT, ["fg", "fgh", "fh", "hi"])
    assert found.probabilities == normal(weights)
    assert found.mass == pytest.approx(float(sum(weights)))


def test_a_causal_model_follows_from_the_left(net):
    own = generator(net, block_causal=True, attention_block=1)
    tokens = [*ids(TEXT), *ids("f")]
    p = plain(net, tokens, [i + 1 for i in range(len(tokens))])
    shifted = TransformersModel(net, mask_id=MASK, stop_ids=(END,), block_causal=True, attention_block=1, shifted=True)
    causal = Generator(replace(own.loaded, model=shifted))
    (found,) = causal.read(TEXT, ["fg", "fh", "g"])
    f, g, h = ids("fgh")
    assert found.probabilities == normal([p[4][f] * p[5][g], p[4][f] * p[5][h], p[4][g]])
    with pytest.raises(UsageError, match="a causal one the first hole"):
        causal.read("ab?d?", ["f", "g"])


def test_a_block_causal_model_sees_the_block_of_the_hole_and_what_is_left_of_it(net):
    own = generator(net, block_causal=True, attention_block=4)
    tokens = [*ids("abcdef"), MASK, *ids("h"), *ids("ij")]
    p = plain(net, tokens, [min((i // 4 + 1) * 4, len(tokens)) for i in range(len(tokens))])
    (found,) = own.read("abcdef?hij", ["f", "g"])
    assert found.probabilities == normal(p[6][ids("fg")])
    with pytest.raises(UsageError, match="a block-causal model reads the holes of one block"):
        own.read("a?cdef?", ["f", "g"])


@pytest.mark.parametrize(
    "how", [{}, {"block_causal": True, "attention_block": 4}, {"block_causal": True, "attention_block": 1}], ids=str
)
def test_every_kind_of_model_answers_typed_questions(net, how):
    found = generator(net, **how).decide({"text": [TEXT]}, QUESTIONS)
    assert list(found.answers) == list(QUESTIONS)
    for answer in found.answers.values():
        assert sum(answer.probabilities) == pytest.approx(1)
        assert 0 < answer.mass < 1


def test_an_answer_does_not_depend_on_what_else_is_asked(nano):
    together = nano.decide("k c x a t", QUESTIONS)
    for name, q in QUESTIONS.items():
        (alone,) = nano.decide("k c x a t", [q]).answers.values()
        assert together[name].probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    reverse = nano.decide("k c x a t", dict(reversed(QUESTIONS.items())))
    assert list(reverse.answers) == list(reversed(QUESTIONS))
    assert reverse["how"].probabilities == pytest.approx(together["how"].probabilities, abs=1e-5)


def test_questions_of_like_lengths_are_read_in_one_forward(nano):
    before = nano.service.engine.forwards
    made = nano.decide("k c x a t", [Choice(f"Which one of them is {x}?", {"one": None, "two": None}) for x in "abcd"])
    assert (made.rows, nano.service.engine.forwards) == (4, before + 1)


def test_decisions_and_texts_share_an_engine(nano):
    """From several threads, beside texts: what everybody gets is what they get alone."""
    text, own = nano(["Sort: k c x a t\n"], length=16)[0].text, nano.decide("k c", [QUESTIONS["how"]])["0"]
    streams = [nano.submit("Sort: k c x a t\n", length=16) for _ in range(6)]
    with ThreadPoolExecutor(4) as pool:
        decided = list(pool.map(lambda _: nano.decide("k c", [QUESTIONS["how"]])["0"], range(8)))
    assert {s.result().text for s in streams} == {text}
    for answer in decided:
        assert answer.probabilities == pytest.approx(own.probabilities, abs=1e-5)


def test_options_that_have_no_room_are_asked_in_parts(nano):
    options = {f"Queue {i:03d}": f"Tickets that belong into queue {i}" for i in range(60)}
    found = nano.decide("Charged twice.", [Choice("Which?", options)])
    assert found.rows > 1
    (answer,) = found.answers.values()
    assert len(answer.probabilities) == 60
    assert sum(answer.probabilities) == pytest.approx(1)


def test_nano_knows_the_next_letter(nano):
    (found,) = nano.read("Sort: d b a c\n a b<|mask|> d", [" a", " b", " c", " d"])
    assert found.labels[max(range(4), key=found.probabilities.__getitem__)] == " c"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda g: g.decide("a", {}), "there is no question"),
        (lambda g: g.decide("a", ["?"]), "'0' is no Predicate, Choice or Score but a str"),
        (lambda g: g.decide("a", {"q": Predicate("x " * 2000)}), "question 'q': the text and the question have"),
        (lambda g: g.decide({"a": math.nan}, [Predicate("?")]), "has to be a text, or JSON"),
        (lambda g: g.decide("\ud800", [Predicate("?")]), "not valid Unicode"),
        (lambda g: g.decide("a", {"q": Predicate("\ud800")}), "question 'q': the prompt is not valid Unicode"),
        (lambda g: g.read("a", []), "at least 2 labels, not 0"),
        (lambda g: g.read("a", [" b"]), "at least 2 labels, not 1"),
        (lambda g: g.read("a", [" b", " b"]), "the label ' b' is there twice"),
        (lambda g: g.read("a", [" b", ""]), "a label has to be a text, not ''"),
        (lambda g: g.read("a", [" b", "<|mask|>"]), r"the label '<\|mask\|>' has no tokens in the tokenizer of nano"),
        (lambda g: g.read("a", [" b", " c"], holes=0), "at least one hole, not 0"),
        (lambda g: g.read("a", [" b", " c"], holes=5000), "beyond the 1024 of nano"),
        (lambda g: g.read("a<|mask|>", ["12", "13"]), "a label of several tokens"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(nano, ask, message):
    with pytest.raises(UsageError, match=message) as e:
        ask(nano)
    assert "\n" not in str(e.value)


def test_guidance_and_too_much_are_refused():
    with pytest.raises(UsageError, match="does not go with guidance"):
        Generator("nano", guidance=1.0).decide("a", [Predicate("?")])


def test_too_many_rows_are_refused(nano, monkeypatch):
    monkeypatch.setattr("decoders.decide.decider.MOST_ROWS", 3)
    with pytest.raises(UsageError, match="more than the 3 of one call"):
        nano.decide("a", [QUESTIONS["how"]] * 4)


@dataclass(frozen=True)
class Silent(Wrapper):
    """A model whose predictions are no numbers, or rule some tokens out."""

    model: object
    value: float
    only: tuple[int, ...] = ()

    def session(self, spec: SessionSpec):
        inner = self.model.session(spec)

        def run(f: Forward) -> Pred:
            p = inner(f)
            logits = p.logits.clone()
            logits[..., list(self.only) or slice(None)] = self.value
            return replace(p, logits=logits)

        return run


def test_predictions_that_are_no_numbers(net):
    own = generator(net)
    broken = Generator(replace(own.loaded, model=Silent(own.loaded.model, math.nan)))
    with pytest.raises(RowError, match="not finite"):
        broken.read(TEXT, ["f", "g"])
    impossible = Generator(replace(own.loaded, model=Silent(own.loaded.model, -math.inf, tuple(ids("fg")))))
    with pytest.raises(UsageError, match="none of the labels any probability"):
        impossible.read(TEXT, ["f", "g"])


def test_a_decision_can_be_cancelled(nano):
    pending = Decider(nano).submit("a", [Predicate(str(i)) for i in range(40)])
    pending.cancel()
    with pytest.raises(UsageError, match="cancelled"):
        pending.result(10)
    assert nano.read("Sort: b a\n", [" a", " b"])[0].probabilities[0] > 0.5  # and the engine goes on


def test_a_chat_template_is_used_where_there_is_one(tmp_path):
    where = tmp_path / "nanochat"
    shutil.copytree(Path(embedded.__file__).parent, where, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    config = (where / "tokenizer_config.json").read_text().rstrip().removesuffix("}").rstrip()
    (where / "tokenizer_config.json").write_text(config + ', "chat_template": "{{ messages[-1].content }}\\nAnswer: "}')
    found = Generator(str(where)).decide("a b", QUESTIONS)
    assert {round(sum(a.probabilities), 6) for a in found.answers.values()} == {1}
    plain = Generator(str(where), chat=False).decide("a b", QUESTIONS)
    assert plain["how"].probabilities != found["how"].probabilities
