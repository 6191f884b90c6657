"""Likelihoods of texts: token ids, templates, windows, what has no likelihood, and every family of checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from decoders import UsageError, load
from decoders.likelihood import Likelihood, Scorer, likelihoods, windows
from decoders.models.loaded import Loaded
from decoders.testing.toy import ToyModel
from support import checkpoints


@dataclass(frozen=True)
class Letters:
    """A token for each letter from a to h, `first` ones before every text, and one for `ab`."""

    first: tuple[int, ...] = ()

    def encode(self, text):
        ids = [ord(c) - ord("a") for c in text.replace("ab", "i").replace(" ", "h")]
        return [*self.first, *ids]

    def decode(self, tokens):
        return "".join(chr(t + ord("a")) for t in tokens)


def toy(positions=None, first=(), chat=None, **how) -> Loaded:
    return Loaded(ToyModel(**how), Letters(first), "toy", 8, positions=positions, chat=chat)


def test_a_text_is_split_where_its_tokens_are_and_blanks_go_to_the_answer():
    score = Scorer(toy())
    assert score.pair("cd", "ef") == ([2, 3], [4, 5])
    assert score.pair("", "ef") == ([], [4, 5])
    assert score.pair("ca", "bd") == ([2, 8], [3])  # joined, with no blank to go by
    assert Scorer(toy(first=(9,))).pair("cd", "ef") == ([9, 2, 3], [4, 5])
    assert Scorer(toy(first=(9,))).pair("", "ef") == ([9], [4, 5])
    nano = Scorer(load("nano"))
    for given, answer in (("Sort: b a ", "c"), ("Sort: b a", " c"), ("Sort: b a\n", "c")):
        before, after = nano.pair(given, answer)
        assert before + after == nano.loaded.tokenizer.encode(given + answer)


def test_a_causal_model_begins_behind_its_stop_token():
    @dataclass(frozen=True)
    class Causal(ToyModel):
        attention_block: int | None = 1

    loaded = replace(toy(), model=Causal(mask_id=None, block_causal=True, stop_ids=(7,)))
    (found,) = Scorer(loaded)([("", "cd")])
    assert found == likelihoods(loaded.model, [([7], [2, 3])])[0]
    assert found.exact


@pytest.mark.parametrize(("given", "answer", "positions", "expected"), [
    ("abc", "de", None, [("abc", "de")]), ("abc", "de", 5, [("abc", "de")]), ("abc", "de", 4, [("bc", "de")]),
    ("abc", "de", 3, [("c", "de")]), ("abc", "de", 2, [("c", "d"), ("d", "e")]),
    ("", "abcdefghij", 4, [("", "abcd"), ("d", "efg"), ("g", "hij")]),
    ("", "abcdefgh", 4, [("", "abcd"), ("d", "efg"), ("efg", "h")]),
    ("a", "bcdefghi", 4, [("a", "bcd"), ("d", "efg"), ("fg", "hi")]),
])  # fmt: skip
def test_windows_predict_every_token_once_and_the_last_one_is_full(given, answer, positions, expected):
    found = list(windows(given, answer, positions))
    assert [("".join(a), "".join(b)) for a, b in found] == expected
    assert "".join(b for _, rest in found for b in rest) == answer


def test_what_is_cut_is_told_and_windows_are_summed():
    score = Scorer(toy(positions=4))
    cut, rolling, whole = score([("abcdef", "gh"), ("", "cdefgh"), ("c", "d")])
    assert (cut.cut, cut.windows, cut.nats) == (3, 1, score([("ef", "gh")])[0].nats)
    assert (rolling.cut, rolling.windows, rolling.tokens) == (0, 2, 6)
    parts = score([("", "cdef"), ("ef", "gh")])
    assert rolling.nats == sum(x.nats for x in parts)
    assert rolling.forwards == sum(x.forwards for x in parts)
    assert (whole.cut, whole.windows) == (0, 1)
    drawn = Scorer(toy(positions=4), draws=4)([("", "cdefgh"), ("", "cdef"), ("ef", "gh")])
    assert drawn[0].error == pytest.approx(math.hypot(drawn[1].error, drawn[2].error))
    assert score.greedy([("", "cdefgh")]) == [all(score.greedy([("", "cdef"), ("ef", "gh")]))]


def test_a_conversation_goes_through_the_template():
    def chat(messages, holes=False, begun=""):
        text = "".join(m["content"] for m in messages)
        return [5, *Letters().encode(text), 6, *Letters().encode(begun)]

    score = Scorer(toy(chat=chat))
    asked = [{"role": "user", "content": "cd"}]
    assert score.pair(asked, "ef") == ([5, 2, 3, 6], [4, 5])
    assert score.pair([*asked, {"role": "assistant", "content": "e"}], "f") == ([5, 2, 3, 6, 4], [5])
    (found,) = score([(asked, "ef")])
    assert found == likelihoods(score.model, [([5, 2, 3, 6], [4, 5])])[0]


@pytest.mark.parametrize(("text", "why"), [
    (("c", ""), "empty answer"), (("c", "k"), "mask token"), (("k", "c"), "mask token"),
    (("c", "z"), "outside the vocab"),
    (("c", "\ud800"), "not valid Unicode"), (("\ud800", "c"), "not valid Unicode"),
    (([{"role": "user", "content": "c"}], "c"), "needs a chat template"),
])  # fmt: skip
def test_a_text_without_a_likelihood_has_the_reason_in_its_place(text, why):
    score = Scorer(toy())
    for found in (score([("c", "d"), text, ("d", "c")]), score.greedy([("c", "d"), text, ("d", "c")])):
        assert isinstance(found[1], UsageError)
        assert why in str(found[1])
        assert all(isinstance(x, Likelihood | bool) for x in (found[0], found[2]))
    assert score([("c", "d"), text])[0] == likelihoods(ToyModel(), [([2], [3])])[0]


@pytest.mark.parametrize("name", ["llada", "dream", "sdar", "fast_dllm_v2", "bert", "diffusion_gemma"])
def test_every_kind_of_checkpoint_has_likelihoods_that_no_batch_changes(name, tmp_path):
    checkpoints.write(tmp_path / "tiny", name)
    loaded = load(str(tmp_path / "tiny"))
    texts = [("abc", "de"), ("a", "bcdefg"), ("abcdefgh", "i"), ("x", "yz")]
    alone, together = (Scorer(loaded, draws=32, batch=n)(texts) for n in (1, 8))
    assert [x.nats for x in alone] == pytest.approx([x.nats for x in together], abs=1e-3)
    assert all(-math.inf < x.nats < 0 for x in alone)
    assert all((x.error == 0) == ((name != "diffusion_gemma" and x.tokens < 6) or name == "sdar") for x in alone)
    assert Scorer(loaded, batch=1).greedy(texts) == Scorer(loaded, batch=8).greedy(texts)
