"""Wrappers lose nothing of what they wrap."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner

from decoders import Around, Blocks, Decoder, Generator, State, UsageError, decode, get, option
from decoders.cli import main
from decoders.core import asks, leftmost
from decoders.registry import entries
from decoders.strategies.fast_dllm import Threshold
from decoders.testing.laws import batch_invariant
from decoders.testing.moves import given_stays_given
from decoders.testing.toy import ToyModel
from decoders.testing.wrappers import check_kept, check_small, rewrapped, wraps
from support.marks import turns

TOY = ToyModel(stop_ids=(9,))
BLOCKS = ToyModel(stop_ids=(9,), block_causal=True, seed=2)
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
WRAPPERS = [e.name for e in entries("strategies") if isinstance(get(e.name), Around)]


def test_these_are_the_wrappers():
    found = "ada_block after_reasoning eos_padding eos_stop freedave frontier length_penalty nucleus prophet"
    assert found.split() == WRAPPERS


# --- what used to be lost
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["frontier:w=99,base=({})", "eos_stop:trust=1.0,base=({})", "length_penalty:weight=0.0,base=({})"]
)
def test_the_padding_of_a_base_stays(spec):
    base = "eos_padding:pad=8"
    d = get(spec.format(base))
    assert d.padding == 8
    (row,), (plain,) = (decode(TOY, x, ROWS[:1], length=12) for x in (d, get(base)))
    assert len(row.canvas) == 23
    assert row == plain


def test_paddings_add_up():
    assert get("eos_padding:pad=3,base=(eos_padding:pad=8)").padding == 11


@pytest.mark.parametrize("spec", ["eos_stop:trust=1.0,base=({})", "frontier:w=99,base=({})", "eos_padding:base=({})"])
@pytest.mark.parametrize("base", ["daedal", "ada_block:block=3,look=5,delimiters=1+2+3", "prophet", "planned"])
def test_the_windows_of_a_base_stay(spec, base):
    model = replace(TOY, stop_ids=()) if "padding" in spec else TOY  # without a stop token nothing is padded
    wrapped, plain = (decode(model, get(x), ROWS, length=12, windows=Blocks(4)) for x in (spec.format(base), base))
    assert [row.tokens for row in wrapped] == [row.tokens for row in plain]
    assert get(spec.format(base)).windows(Blocks(4), False).size == get(base).windows(Blocks(4), False).size > 4


def test_windows_that_read_a_memo_find_it_inside_of_a_wrapper():
    base = "hybrid:mode=block,budget=3"
    for spec in ("eos_stop:trust=1.0,base=({})", "frontier:w=99,base=({})", "length_penalty:weight=0.0,base=({})"):
        wrapped, plain = (decode(BLOCKS, get(x), ROWS, length=12, windows=Blocks(4)) for x in (spec.format(base), base))
        assert [row.tokens for row in wrapped] == [row.tokens for row in plain]


@pytest.mark.parametrize(
    "spec", ["{}", "eos_stop:base=({})", "frontier:base=({})", "prophet:base=(frontier:base=({}))"]
)
def test_what_a_base_is_made_for_is_asked_of_the_model(spec):
    d = get(spec.format("hybrid:mode=block"))
    says = "works on block-causal models only, and this model is not one"
    with pytest.raises(UsageError, match=says):
        Generator("nano", d)
    with pytest.raises(UsageError, match=says):
        decode(TOY, d, ROWS, length=4)


@pytest.mark.parametrize(
    ("spec", "base"), [("eos_stop", "s2d2"), ("frontier", "slow_fast"), ("frontier", "s2d2"), ("prophet", "p2")]
)
def test_phases_and_outcomes_are_told(spec, base):
    d, b = get(f"{spec}:base={base}"), get(base)
    assert d.phases == b.phases != ()
    assert d.outcomes == b.outcomes


def traced(tmp_path: Path, spec: str, *more: str) -> list[dict]:
    file = tmp_path / "trace.jsonl"
    args = ["generate", "-d", spec, "-n", "12", "--ignore-eos", "--trace", str(file), "--watch", *more, "Sort: d b a c"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    assert "draft" in done.output
    return [json.loads(line)["rows"][0] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("more", [(), ("--constraint", "regex:[a-z ]*")])
def test_who_watches_hears_of_phases_and_outcomes(tmp_path, more):
    rows = traced(tmp_path, "eos_stop:base=(s2d2:route=min_span,min_span=3,tau=0.99)", *more)
    assert {row["phase"] for row in rows} == {"draft", "verify"}
    assert {change["outcome"] for row in rows for change in row["committed"]} >= {"accepted"}


@pytest.mark.parametrize(
    ("spec", "unbiased"),
    [
        ("frontier:base=first_hitting", True), ("freedave:base=first_hitting", True),
        ("ada_block:base=first_hitting", True), ("frontier", False), ("length_penalty:base=first_hitting", False),
        ("prophet:base=first_hitting", False),
    ],
)
def test_samples_stay_the_models_own_where_a_wrapper_changes_none(spec, unbiased):
    assert get(spec).unbiased is unbiased


@pytest.mark.parametrize("base", ["hybrid:mode=block,budget=3", "hybrid:mode=frontier,budget=3"])
def test_a_memo_of_dataclasses_is_each_rows_own_inside_of_a_wrapper(base):
    """Rows enter windows, and end, each at its own time."""
    for spec in ("length_penalty", "eos_stop"):
        d = get(f"{spec}:base=({base})")
        together = decode(BLOCKS, d, ROWS, length=12, windows=Blocks(4))
        assert together == [decode(BLOCKS, d, [row], length=12, windows=Blocks(4))[0] for row in ROWS]


@pytest.mark.parametrize(
    "spec",
    [
        "frontier:base=remdm", "frontier:w=2,base=predictor_corrector", "prophet:block=4,base=p2",
        "ada_block:block=3,base=remdm", "ada_block:block=3,base=predictor_corrector",
    ],
)
def test_a_base_that_spends_all_its_steps_or_takes_back_comes_to_an_end(spec):
    for toy in (TOY, BLOCKS):
        rows = decode(toy, get(spec), ROWS, length=12, windows=Blocks(4), max_steps=100)
        assert {row.finish_reason for row in rows} <= {"stop", "length"}


def test_bases_that_a_wrapper_cannot_take_are_refused():
    with pytest.raises(UsageError, match="AdaBlock: Daedal changes the length of its window"):
        get("ada_block:base=daedal")
    with pytest.raises(
        UsageError, match="freedave has only logits of its guesses, and DAWN reads more of a prediction"
    ):
        get("freedave:base=dawn")
    for spec in ("frontier", "eos_stop", "prophet", "ada_block"):
        with pytest.raises(UsageError, match="cannot wrap WINO, whose forwards show more than the window"):
            get(f"{spec}:base=wino")


# --- every wrapper around every base
# -----------------------------------------------------------------------------------------

PROBES = ["daedal", "eos_padding:pad=2", "s2d2", "hybrid:mode=block,budget=2", "remdm", "klass", "planned"]
"""Bases that between them ask for everything that can be lost."""


@pytest.mark.parametrize("spec", WRAPPERS)
def test_nothing_is_lost_of_any_base(spec):
    """The law `wraps` runs each of them too, in the slow run."""
    for wrapper in rewrapped(get(spec)):
        check_kept(wrapper.base, wrapper)


@pytest.mark.parametrize(("spec", "base"), turns(WRAPPERS, PROBES))
def test_wrappers_end_by_legal_moves(spec, base):
    try:
        d = get(f"{spec}:base=({base})")
    except UsageError:
        refused = {"ada_block": {"daedal"}, "freedave": {"daedal", "s2d2", "hybrid", "planned"}}
        assert base.partition(":")[0] in refused[spec]
        return
    check_small(d)


# --- a wrapper as a stranger writes one
# --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alternating(Around):
    """Lets its base decide every other position first, and the rest when those are decided; it counts the forwards of
    the first half."""

    base: Decoder = option(Threshold(), "the rule that commits")

    def own(self, s: State) -> torch.Tensor:
        return torch.zeros_like(s.key)

    def inner(self, s: State) -> State:
        first = s.open & (s.position % 2 == 0)
        return s.within(~s.open | first | ~first.any(-1, keepdim=True), s.opened, s.memo)

    def outer(self, s: State, t: State) -> State:
        return self.keeping(t, s.memo.own + (s.open & (s.position % 2 == 0)).any(-1))


@pytest.mark.parametrize("law", [batch_invariant, given_stays_given], ids=lambda law: law.__name__)
@pytest.mark.parametrize("base", ["threshold", "s2d2", "eos_padding"])
def test_a_wrapper_of_a_few_lines(law, base):
    law(Alternating(get(base)))


def test_a_wrapper_keeps_what_it_keeps():
    seen = []
    watch = lambda f, p, c: seen.append((c.open[0].tolist(), c.memo))
    decode(TOY, Alternating(get("llada")), [[1, 2, 3]], length=6, stop=False, watch=watch)
    halves = [sum(open[4::2]) for open, _ in seen]
    assert halves[2:] == [0] * 4  # 4, 6 and 8 take three forwards
    assert seen[-1][1].own.tolist() == [3]
    assert seen[-1][1].base is None


@dataclass(frozen=True)
class Blind(Around):
    """Shows nothing but the leftmost open position, and lets what it hides be taken for decided."""

    base: Decoder = option(Threshold(), "")
    revises: ClassVar[bool] = True

    def inner(self, s: State) -> State:
        return replace(s, open=s.open & leftmost(s.open))


@pytest.mark.slow
def test_what_a_base_does_to_what_is_hidden_from_it_is_not_taken_over():
    wraps(Blind(get("threshold")))  # around p2 and others that change what is decided


def test_a_wrapper_is_probed_as_its_base_is():
    assert asks(get("frontier:base=(planned)")) == asks(get("planned"))
    assert asks(get("eos_stop:base=daedal")) == asks(get("daedal"))
