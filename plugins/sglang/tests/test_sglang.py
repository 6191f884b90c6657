"""The plugin in a stand-in of SGLang, or in SGLang's own loops where SGLANG_SOURCE says where they are."""

from __future__ import annotations

import gc
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

import decoders
from decoders.constraints.constrained import Constrained
from decoders.constraints.grammar import Regex
from decoders.constraints.spelling import spellings
from decoders.core import Blocks, Decoder, Pred, State, Suppress, UsageError, decode, leftmost

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import standin  # noqa: E402

W = 8
TEXTS = ["Sort: d b a c\n", "Reverse: a b c d e f g h i j k l m n o p\n", "Copy: x\n"]
SPECS = [
    "threshold", "threshold:tau=0.6,temperature=0.8", "sdar:block_steps=4", "llada2",
    "sdar:by=entropy_bounded,temperature=1.0", "llada:steps=12",
]


@pytest.fixture(scope="module")
def nano() -> Any:
    torch.set_num_threads(1)
    return decoders.load("nano", attention="block")


@pytest.fixture(scope="module")
def theirs() -> Any:
    before = {name: m for name, m in sys.modules.items() if name.partition(".")[0] == "sglang"}
    standin.install()
    from decoders_sglang.plugin import register

    standin.load_plugins(register)
    yield sys.modules["sglang.srt.dllm.algorithm"]
    for name in [n for n in sys.modules if n.partition(".")[0] in ("sglang", "decoders_sglang")]:
        del sys.modules[name]
    sys.modules.update(before)


def config(name: str, fdfo: bool, **options: Any) -> Any:
    return SimpleNamespace(
        algorithm=name, algorithm_config=options, block_size=W, mask_id=1, max_running_requests=8,
        first_done_first_out_mode=fdfo
    )


def requests(nano: Any, **said: Any) -> list[standin.Req]:
    """One for each text, with rows of whole blocks."""
    prompts = [nano.tokenizer.encode(t) for t in TEXTS]
    return [standin.Req(str(i), p, 3 * W - len(p) % W, 7 + i, dict(said)) for i, p in enumerate(prompts)]


def served(theirs: Any, nano: Any, spec: str, fdfo: bool, reqs: list[standin.Req], model: Any = None) -> dict[str, Any]:
    """What SGLang makes of requests."""
    made = config(spec, fdfo)
    algorithm = theirs.get_algorithm(made)
    standin.admit(algorithm, made, nano, reqs)
    return standin.serve(algorithm, model or nano.model, reqs)


def own(nano: Any, decoder: Decoder, r: standin.Req) -> list[int]:
    """What the library makes of one."""
    row = decode(
        nano.model, decoder, [r.prompt], length=r.length, seeds=[r.seed], windows=Blocks(W), stop=False,
        rules=[Suppress(nano.never)],
    )[0]
    return list(row.canvas[len(r.prompt) :])


def text(nano: Any, tokens: list[int]) -> str:
    """What SGLang gives of a row: what stands before the first stop token."""
    stop = next((i for i, t in enumerate(tokens) if t in nano.model.stop_ids), None)
    return str(nano.tokenizer.decode(tokens[:stop]))


@pytest.mark.parametrize("fdfo", [False, True], ids=["sync", "fdfo"])
@pytest.mark.parametrize("spec", SPECS)
def test_tokens_are_the_librarys(theirs: Any, nano: Any, spec: str, fdfo: bool) -> None:
    reqs = requests(nano)
    together = served(theirs, nano, spec, fdfo, reqs)
    assert together == {r.rid: own(nano, decoders.get(spec), r) for r in reqs}


@pytest.mark.parametrize("fdfo", [False, True], ids=["sync", "fdfo"])
@pytest.mark.parametrize("spec", ["threshold", "llada2", "sdar:temperature=1.0"])
def test_constraints_hold_beside_rows_without_one(theirs: Any, nano: Any, spec: str, fdfo: bool) -> None:
    pattern, reqs = r"[a-d]( [a-d]){2,9}", requests(nano)
    for r in reqs[:2]:
        r.sampling_params.regex = pattern
    together = served(theirs, nano, spec, fdfo, reqs)
    known = spellings(nano.tokenizer, nano.model.vocab, (*nano.never, *nano.model.stop_ids))
    automaton = Regex(pattern).automaton(known, nano.model.vocab, nano.model.stop_ids)
    for r in reqs[:2]:
        assert together[r.rid] == own(nano, Constrained(decoders.get(spec), automaton, 256), r)
        assert re.fullmatch(pattern, text(nano, together[r.rid]))
    assert together["2"] == own(nano, decoders.get(spec), reqs[2])
    assert all(r.sampling_params.regex is None for r in reqs)  # SGLang is to make no grammar of it


def test_rows_end_where_their_request_does(theirs: Any, nano: Any) -> None:
    """In the middle of a block, under a constraint that has to know."""
    [r] = requests(nano, json_schema=json.dumps({"type": "array", "items": {"enum": [1, 2]}, "minItems": 3}))[2:]
    r.length = r.sampling_params.max_new_tokens = W + 3
    [tokens] = served(theirs, nano, "threshold", True, [r]).values()
    assert len(tokens) == W + 3
    found = json.loads(text(nano, tokens))
    assert len(found) >= 3
    assert {*found} <= {1, 2}


@pytest.mark.parametrize(("spec", "said", "problem"), [
    ("threshold", {"regex": "(ab ){40}"}, "and there is room for"), ("threshold", {"regex": "("}, "regular expression"),
    ("threshold", {"json_schema": "{"}, "is no JSON"), ("threshold", {"ebnf": "root ::= x"}, "take regex, json_schema"),
    ("threshold", {"regex": "a", "max_new_tokens": None}, "give max_new_tokens"),
    ("llada:steps=16", {"max_new_tokens": None}, "give max_new_tokens"),
    ("llada:steps=16", {}, "take a multiple of 3"),
])
def test_requests_that_cannot_be_are_refused(
    theirs: Any, nano: Any, spec: str, said: dict[str, Any], problem: str
) -> None:
    reqs = requests(nano, **said)
    with pytest.raises(ValueError, match=re.escape(problem)):
        served(theirs, nano, spec, True, reqs)
    assert not sys.modules["decoders_sglang.requests"].ADMITTED


class Broken:
    """A model whose logits are NaN in every block from `start` on of rows that hold `prompt`."""

    def __init__(self, model: Any, start: int, prompt: list[int]) -> None:
        self.model, self.start, self.prompt = model, start, prompt
        self.vocab = model.vocab

    def session(self, spec: Any) -> Any:
        forward = self.model.session(spec)

        def run(f: Any) -> Any:
            p = forward(f)
            bad = f.tokens[0, : len(self.prompt)].tolist() == self.prompt and int(f.at[0, 0]) >= self.start
            return replace(p, logits=torch.full_like(p.logits, torch.nan)) if bad else p

        return run


@pytest.mark.parametrize("fdfo", [False, True], ids=["sync", "fdfo"])
def test_logits_that_are_not_finite_end_their_row_with_an_error(theirs: Any, nano: Any, fdfo: bool) -> None:
    reqs = requests(nano)
    bad = reqs[0]
    model = Broken(nano.model, len(bad.prompt) // W * W + W, bad.prompt)
    together = served(theirs, nano, "threshold", fdfo, reqs, model)
    assert "not finite" in bad.to_finish.message
    assert bad.to_finish.status_code == 500
    for r in reqs[1:]:
        assert r.to_finish is None
        assert together[r.rid] == own(nano, decoders.get("threshold"), r)


@pytest.mark.parametrize("fdfo", [False, True], ids=["sync", "fdfo"])
def test_a_decoder_that_commits_nothing_ends_its_row_with_an_error(theirs: Any, nano: Any, fdfo: bool) -> None:
    """In a block later than the first, so that what earlier ones spent is not held against it."""
    [r] = requests(nano)[2:]
    made = config(f"{__name__}:LazyLater", fdfo)
    algorithm = sys.modules["decoders_sglang.algorithm"].algorithm_class(made.algorithm)(made)
    standin.admit(algorithm, made, nano, [r])
    standin.serve(algorithm, nano.model, [r])
    assert f"makes no progress: by forward {W - len(r.prompt) + 513}" in r.to_finish.message


@dataclass(frozen=True)
class LazyLater(Decoder):
    """One position a forward in the first block of so many, and nothing in the others."""

    def step(self, s: State, p: Pred) -> State:
        return s.commit(leftmost(s.open) & (s.position < W), *p.best())


def test_ids_without_text_are_never_generated(theirs: Any, nano: Any) -> None:
    """The head of the model is wider than its tokenizer: here, its tokenizer lacks what the model would say."""
    reqs = requests(nano)
    said = served(theirs, nano, "threshold", True, reqs)["0"]
    vocabulary = {text: i for text, i in nano.tokenizer.fast.get_vocab().items() if i != said[0]}
    lacking = Mock(spec=["get_vocab", "eos_token_id"], eos_token_id=0, **{"get_vocab.return_value": vocabulary})
    again = requests(nano)
    loaded = SimpleNamespace(tokenizer=SimpleNamespace(fast=lacking), model=nano.model)
    assert said[0] not in served(theirs, loaded, "threshold", True, again)["0"]


def test_a_request_that_is_over_is_forgotten(theirs: Any, nano: Any) -> None:
    reqs = requests(nano)
    served(theirs, nano, "threshold", True, reqs)
    admitted = sys.modules["decoders_sglang.requests"].ADMITTED
    assert {*admitted} == {"0", "1", "2"}
    del reqs
    gc.collect()
    assert not admitted


def test_its_own_algorithms_stay(theirs: Any) -> None:
    for name, cls in theirs.algo_name_to_cls.items():
        assert theirs.get_algorithm_cls(name) is cls


def test_options_come_from_the_file_and_the_spec(theirs: Any) -> None:
    from decoders_sglang.requests import Options

    made = theirs.get_algorithm(config("threshold:tau=0.5", True, tau=0.7, temperature=0.3, seed=4, stop_ids=[0]))
    assert made.options == Options(decoders.get("threshold:tau=0.5,temperature=0.3"), 4, (0,))


@pytest.mark.parametrize(("spec", "said"), [
    ("treshold", "did you mean 'threshold'"), ("threshold:tow=1", "has no option 'tow'"),
    ("s2d2", "makes causal forward passes"),
    ("fast-dllm", "the cache is SGLang's"), ("hybrid", "lays out the row itself"),
])
def test_what_it_cannot_host_is_refused_at_launch(theirs: Any, spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        theirs.get_algorithm_cls(spec).configure_server_args(SimpleNamespace())
