"""What is importable from `decoders` itself: all that strategies and caches are written with, and `decode`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import decoders
from decoders import UsageError, core, decode, get, get_cache
from decoders.testing.toy import ToyModel

PACKAGE = Path(decoders.__file__).parent
OURS = {"options", "written"}
"""How the built-in strategies say their own spelling."""


@pytest.mark.parametrize("folder", ["caches", "strategies", "strategies/latent"])
def test_what_ours_are_written_with_is_at_hand(folder: str) -> None:
    used = {
        name.name
        for file in (PACKAGE / folder).glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "decoders.core"
        for name in node.names
    }
    assert len(used) > 5
    assert used - OURS <= set(decoders.__all__)


def test_every_name_is_there_and_is_that_of_the_core() -> None:
    for name in decoders.__all__:
        found = getattr(decoders, name)
        assert name in decoders.PLACES or found is getattr(core, name)


def test_decode_takes_specs() -> None:
    model, prompts = ToyModel(seed=3), [[1, 2, 3], [4]]
    blocks = decoders.Blocks(4)
    made = decode(model, get("threshold:tau=0.4"), prompts, length=8, windows=blocks, cache=get_cache("dual"))
    assert decode(model, "threshold:tau=0.4", prompts, length=8, windows=blocks, cache="dual") == made
    assert decode(model, "threshold:tau=0.4", prompts, length=8, windows=blocks) != made


def test_decode_takes_the_cache_of_a_preset() -> None:
    """`fast-dllm` comes with `dual`, which reads what it does not compute."""
    rows = decode(ToyModel(), "fast-dllm", [[1, 2, 3]], length=8, windows=decoders.Blocks(4))
    assert rows[0].positions_reused > 0
    assert decode(ToyModel(), "threshold", [[1, 2, 3]], length=8)[0].positions_reused == 0


@pytest.mark.parametrize(
    ("decoder", "cache", "told"),
    [("treshold", None, "unknown strategy 'treshold'; did you mean 'threshold'"),
     ("threshold", "duel", "unknown cache 'duel'; did you mean 'dual'")],
)
def test_a_spec_that_makes_nothing_is_one_line(decoder: str, cache: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        decode(ToyModel(), decoder, [[1]], length=4, cache=cache)
