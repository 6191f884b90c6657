"""Tiny random checkpoints of one family, given by --family, as its real ones lie on a disk."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from engines import Served, engine
from vllm.exceptions import VLLMValidationError

import decoders
from decoders.text.stopping import NoStopInHoles

SPECS = (
    "threshold:tau=0.5", "threshold:tau=0.3,temperature=1.0", "llada", "left_to_right:temperature=1.0",
    "llada2:tau_mask=0.3,tau_edit=0.3", "hybrid:budget=5", "hybrid:ar=wide,budget=13,temperature=0.7",
)
SHIFTED = (
    "s2d2", "s2d2:temperature=1.0", "s2d2:route=ucb,block_steps=3,temperature=1.0", "s2d2_editing", "coupled",
    "hybrid:ar=wide,budget=5,answer=(s2d2:temperature=1.0)",
)
"""Several positions from what is left of each: for models whose output i predicts position i + 1."""
SEED = 8
"""Under 7, one draw of fast_dllm_v2 lies 6e-8 from the border between two tokens, which is less than the rounding of a
forward: the library's own loop turns with weights that are changed by one part in ten million."""


@pytest.fixture(scope="module")
def family(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--family")


@pytest.fixture(scope="module")
def served(family: str, tmp_path_factory: pytest.TempPathFactory) -> Served:
    directory = tiny.write(tmp_path_factory.mktemp("checkpoints") / family, family)
    code = {"trust_remote_code": True} if family == "llada2" else {}  # vLLM runs it with its own code
    return Served(engine(directory, max_model_len=192), decoders.load(str(directory), **code))


def test_equals_the_librarys_loop(served: Served, family: str, made: Any) -> None:
    specs = (*SPECS, *(SHIFTED if served.loaded.model.shifted else ()))
    mixed = [(made(n, n), spec, length) for spec in specs for n in (1, 21, 64) for length in (40, 19)]
    expected = [served.own(spec, p, length, seed=SEED) for p, spec, length in mixed]
    assert len({tuple(x) for x in expected}) > len(specs)
    assert served.tokens([(p, served.params(spec, length, seed=SEED)) for p, spec, length in mixed]) == expected


def test_ids_without_text_are_never_generated(served: Served, made: Any) -> None:
    """The head of these models is wider than the vocabulary of their tokenizers, as in real checkpoints."""
    core = served.loaded.tokenizer.core
    vocab = served.llm.llm_engine.model_config.get_vocab_size()
    assert vocab > core.get_vocab_size()
    asked = [(made(9, i), served.params("llada:temperature=20.0", 24, seed=i, ignore_eos=True)) for i in range(8)]
    found = [t for x in served.run(asked) for t in x.token_ids]
    assert len(found) == 8 * 24
    assert all(core.id_to_token(t) for t in found)


def test_decoders_that_it_cannot_hold(served: Served, family: str) -> None:
    if served.loaded.model.shifted:
        pytest.skip("a shifted model holds them all")
    for spec in SHIFTED:
        with pytest.raises(VLLMValidationError, match="takes a doubled sequence"):
            served.tokens([([5, 6], served.params(spec, 8))])


def test_infill(served: Served, made: Any) -> None:
    mask, prompt = served.loaded.model.mask_id, made(37, 1)
    holes = [mask, 5, mask, mask, *made(40, 2), mask, 6, mask]
    rule = NoStopInHoles(0, served.loaded.model.stop_ids)
    filled = iter(served.own("threshold:tau=0.5", [*prompt, *holes], 0, infill=True, rules=[rule]))
    expected = [next(filled) if t == mask else t for t in holes]
    assert served.tokens([(prompt, served.params("threshold:tau=0.5", len(holes), infill=holes, ignore_eos=True))]) == [
        expected
    ]
