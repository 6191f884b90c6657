"""What is told of a strategy that breaks laws: the cause once, and where it is."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

from decoders import Decoder, Pred, State, UsageError, get, leftmost, only, top
from decoders.core import Row
from decoders.testing import LAWS, check
from decoders.testing.bad import BatchMean, Fair
from decoders.testing.laws import FAST
from decoders.testing.telling import apart
from decoders.testing.trial import Trial, tried


def choose(s: State, p: Pred):
    likeliest = int(p.best()[1].max().mul(100).item())  # here
    return top(only(s.open, p.best()[1]), list(range(30))[likeliest])


@dataclass(frozen=True)
class ReadsInAFunction(Decoder):
    """Uses what it read on the host as an index, which raises before anything else is wrong."""

    def step(self, s: State, p: Pred) -> State:
        return s.commit(choose(s, p), *p.best())


@dataclass(frozen=True)
class Misspelt(Decoder):
    def step(self, s: State, p: Pred) -> State:
        return s.comit(leftmost(s.open), *p.best())


class NotFrozen(Fair):
    tau: float = 0.5


def line_of(text: str) -> int:
    """Where a text stands in this file for the first time."""
    return next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if text in line)


def test_a_number_read_on_the_host_is_the_cause_and_what_it_leads_to_is_named_once() -> None:
    trial = tried(LAWS, ReadsInAFunction())
    assert len(trial.broken) == 15
    assert trial.broken[0].law == "meta_safe"
    assert {v.because for v in trial.broken[1:]} == {"meta_safe"}
    (finding,) = trial.findings
    assert finding.startswith("meta_safe: one window: a value is read on the host")
    assert f"test_trial.py:{line_of('# here')}, in choose: likeliest = int(" in finding
    assert finding.endswith("This may be why pure and 13 others are broken too: mend it first.")


def test_a_slip_is_told_once_with_its_line() -> None:
    trial = tried(LAWS, Misspelt())
    assert len(trial.broken) == 15
    (finding,) = trial.findings
    first, place = finding.splitlines()
    assert first == "meta_safe and 14 others: AttributeError: 'State' object has no attribute 'comit'"
    assert f"test_trial.py:{line_of('s.comit')}, in step: return s.comit(leftmost(s.open)" in place
    assert all(v.same for v in trial.broken[1:])


def test_a_class_that_is_no_frozen_dataclass_is_told_so_in_one_line() -> None:
    trial = tried(FAST, NotFrozen())
    assert trial.broken[0].message == (
        "NotFrozen is no frozen dataclass, so tau can't be set; write @dataclass(frozen=True) above the class"
    )
    for spec in (f"{__name__}:NotFrozen", f"{__name__}:NotFrozen:tau=0.3"):
        with pytest.raises(UsageError, match=r"NotFrozen is no frozen dataclass, so tau can't be set"):
            get(spec)


def test_rows_that_differ_stand_under_one_another() -> None:
    trial: Trial = tried(LAWS, BatchMean())
    (finding,) = trial.findings
    assert [v.law for v in trial.broken] == ["batch_invariant", "engine_agrees"]
    _, alone, together, caret, place, after = finding.splitlines()
    assert alone.startswith("    alone        1  2  3 | ")
    assert together.startswith("    in a batch   1  2  3 | ")
    at = caret.index("^")
    assert alone[:at] .replace("alone     ", "") == together[:at].replace("in a batch", "")
    assert alone[at] != together[at]
    assert place.endswith(f"bad.py:{inspect.getsourcelines(BatchMean.step)[1]}, in BatchMean.step")
    assert after == "    This may be why engine_agrees is broken too: mend it first."


def test_rows_of_the_same_tokens_show_their_forwards() -> None:
    runs = {name: [Row((5,), nfe, "length", (1, 5))] for name, nfe in (("alone", 3), ("in a batch", 4))}
    assert apart("here", [[1]], runs).splitlines()[1:] == [
        "    alone       1 | 5  (3 forwards, length)", "    in a batch  1 | 5  (4 forwards, length)"
    ]


def test_check_raises_what_was_found() -> None:
    with pytest.raises(AssertionError, match=r"breaks 15 of 17 laws\n\nmeta_safe and 14 others: AttributeError"):
        check(Misspelt())


def test_a_class_that_lies_in_no_file_is_tried_all_the_same() -> None:
    """As one that was typed into a session."""
    session = {"__name__": "a_session", "Misspelt": Misspelt, "dataclass": dataclass}
    step = "    def step(self, s, p):\n        return s.comit()"
    exec(f"@dataclass(frozen=True)\nclass Typed(Misspelt):\n{step}", session)
    trial = tried(FAST, session["Typed"]())
    assert trial.findings[0].startswith("meta_safe and 7 others: AttributeError: 'State' object has no attribute")
