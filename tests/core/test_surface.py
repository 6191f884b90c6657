"""What is importable from `decoders` itself: all that strategies and caches are written with, and `decode`."""

from __future__ import annotations

import ast
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import decoders
from decoders import Around, Decoder, Pred, State, UsageError, core, decode, get, get_cache, only, top
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


@dataclass(frozen=True)
class Stuck(Decoder):
    """Decides nothing but the last position, as an end token."""

    def step(self, s: State, p: Pred) -> State:
        last = top(only(s.open, s.position.float()), 1) & (s.step == 0)[:, None]
        return s.commit(last, torch.full_like(s.tokens, 9), p.best()[1])


@dataclass(frozen=True)
class Calm(Around):
    """A wrapper."""

    base: Decoder = Stuck()


@pytest.mark.parametrize(("decoder", "name"), [(Stuck(), "Stuck"), (Calm(), "Calm (Stuck)")])
def test_a_decoder_that_makes_no_progress_is_named_in_a_line(decoder: Decoder, name: str) -> None:
    with pytest.warns(RuntimeWarning) as told:
        (row,) = decode(ToyModel(stop_ids=(9,)), decoder, [[1]], length=4)
    (message,) = (str(w.message) for w in told)
    assert message.startswith(f"row 0: the decoder {name} makes no progress: by forward ")
    assert "\n" not in message
    assert row.finish_reason == "no_progress"
    error = row.error()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("most", [3, None])
def test_an_end_token_right_of_what_is_undecided_is_no_text(most: int | None) -> None:
    """The row ended before anything left of it was decided."""
    (row,) = core.decode(ToyModel(stop_ids=(9,)), Stuck(), [[1]], length=4, max_steps=most)
    assert row.finish_reason == ("max_steps" if most else "no_progress")
    assert row.canvas[-1] == 9
    assert row.tokens == ()
