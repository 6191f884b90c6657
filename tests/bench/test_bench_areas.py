"""One decoder's area against others': what `decoders bench areas` computes of made-up runs, and what it says of wrong
ones."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders_bench.areas.measure import RESAMPLES, areas, measured, pairs, resampled, save, shared
from decoders_bench.areas.tables import reading, section
from decoders_bench.cli import bench
from decoders_bench.common.results import weights
from decoders_bench.quality.rows import Row, Run
from decoders_bench.quality.summary import curves, points


def rows(
    curve: str, value: float, share: float, nfe: int, items: int = 60, rungs: tuple[str, ...] = ("easy", "hard")
) -> list[Row]:
    out = []
    for rung in rungs:
        for template in range(2):
            for i in range(items):
                right = Random(f"{rung}{i}").random() < share  # the same problems are hard for everyone
                name = f"{curve}:x={value}"
                cell = f"{name}{rung}{template}"
                spent = {"nfe": nfe, "tokens": 20, "positions": 100, "seconds": 0.1}
                said = {"answer": "", "output": "", "prompt": "", "expected": ""}
                how = ("nano", name, curve, "x", value, "exact", None)
                out.append(Row(*how, "chain", rung, template, 0, cell, i, right=right, **said, **spent))
    return out


def run(path, *parts: list[Row]) -> Run:
    found = [r for part in parts for r in part]
    environment = {"hardware": "a processor of tests", "nano": weights()}
    return Run(
        path, {"command": "decoders bench quality", "environment": environment, "grid": {"split": "test"}}, found, []
    )


OURS = rows("mine", 1, 0.9, 4) + rows("mine", 2, 0.87, 3)
SLOWER = rows("slower", 1, 0.9, 8) + rows("slower", 2, 0.87, 6)
SAME = rows("same", 1, 0.9, 4) + rows("same", 2, 0.87, 3)


def test_the_difference_of_areas_is_the_summarys_and_its_interval_holds_it():
    found = {x.curve: x for x in areas("all", OURS + SLOWER + SAME, "mine")}
    whole = {c.curve: c.aup for c in curves(points(OURS + SLOWER + SAME))}
    assert {c: x.aup for c, x in found.items()} == whole
    assert found["slower"].more == whole["mine"] - whole["slower"] > 0
    assert 0 < found["slower"].low < found["slower"].more < found["slower"].high
    # paired: the same rows on every draw of problems
    assert (found["same"].more, found["same"].low, found["same"].high) == (0, 0, 0)


def test_sweeps_of_two_options_are_two_curves():
    twice = [replace(r, decoder=r.decoder.replace("x=", "y="), swept="y") for r in SLOWER]
    found = {x.curve: x.aup for x in areas("all", OURS + SLOWER + twice, "mine")}
    assert set(found) == {"mine", "slower, by x", "slower, by y"}


def test_a_draw_of_problems_keeps_the_number_in_every_rung():
    draws = resampled(OURS, 0)
    assert draws.shape == (RESAMPLES, 120)
    assert (draws[:, :60].sum(1) == 60).all()
    assert (draws[:, 60:].sum(1) == 60).all()


def test_a_pair_speaks_of_ours():
    worse = rows("worse", 1, 0.4, 4)
    (pair,) = pairs("all", OURS + worse, "mine")
    assert (pair.ours, pair.verdict) == ("mine:x=1", "better")
    assert pair.difference > 0
    assert pair.low > 0
    assert (pair.won > 0, pair.lost) == (True, 0)
    (pair,) = pairs("all", OURS + rows("fast", 1, 0.4, 1), "mine")
    assert (pair.verdict, pair.p) == ("fewer forwards than ours", None)


def test_ours_is_chosen_on_the_problems_that_it_is_not_compared_on():
    """Two points of ours, each right on every second problem alone: each half takes the one that is wrong there."""
    even, odd = (
        [replace(r, right=r.item % 2 == i) for r in rows("mine", i, 0.5, 3 + i, rungs=("easy",))] for i in (0, 1)
    )
    other = [replace(r, right=False) for r in rows("other", 1, 0.5, 9, rungs=("easy",))]
    (pair,) = pairs("all", even + odd + other, "mine")
    assert pair.ours == "mine:x=1 or mine:x=0"
    assert (pair.won, pair.lost, pair.ours_nfe) == (0, 0, 3.5)


def test_runs_are_compared_on_what_all_were_asked_and_held_out_rungs_apart(tmp_path):
    fewer = rows("other", 1, 0.8, 5, items=30)
    both = [run(tmp_path, OURS), run(tmp_path, fewer)]
    assert len({r.question for r in shared(both)}) == 30 * 4
    found = measured(both, "mine", {"chain/easy"})
    assert {x["rungs"] for x in found["areas"]} == {"all", "held out", "chain/easy", "chain/hard"}
    assert found["problems"] == 60
    path = tmp_path / "found.json"
    save(path, found)
    assert json.loads(path.read_text()) == found
    text = section(path)
    assert "a processor of tests; test split, 2 wording(s), 60 problems of 2 rungs, 120 questions a point." in text
    assert "held out rungs (ours more, 95 %)" in text


def test_the_reading_names_the_largest_other_area_where_it_is_larger_and_the_most_accurate_settings(tmp_path):
    ahead = [replace(r, nfe=1) if r.rung == "hard" else r for r in rows("other", 1, 0.95, 5)]
    path = tmp_path / "found.json"
    save(path, measured([run(tmp_path, OURS + SLOWER + ahead)], "mine", {"chain/easy"}))
    found = json.loads(path.read_text())
    area = {(x["rungs"], x["curve"]): x["aup"] for x in found["areas"]}
    wide, held, larger, accurate = reading(path).splitlines()
    assert wide.startswith(f"- Over all rungs the area of `mine` is {area['all', 'mine']:.0f}. The largest of another ")
    assert f"that of `other`, {area['all', 'other']:.0f} (ours more by -" in wide
    assert wide.endswith("Of 2 differences 1 have an interval above 0.")
    assert held.startswith(f"- Over held out rungs the area of `mine` is {area['held out', 'mine']:.0f}.")
    hard = f"chain/hard (`other`, {area['chain/hard', 'other']:.0f} against {area['chain/hard', 'mine']:.0f})"
    assert larger == f"- Another decoder has a larger area on {hard}."
    assert accurate.startswith("- The most accurate setting of ours is `mine:x=1` with ")
    assert "of all others, `other:x=1` with " in accurate
    save(path, measured([run(tmp_path, OURS + SLOWER)], "mine", set()))
    assert "- Another decoder has a larger area on no rung." in reading(path)


def test_wrong_runs_and_names_are_one_line(tmp_path):
    apart = rows("other", 1, 0.8, 5, rungs=("other",))
    with pytest.raises(UsageError, match="no question that all"):
        shared([run(tmp_path, OURS), run(tmp_path, apart)])
    other = [replace(r, cache="dual") for r in SLOWER]
    with pytest.raises(UsageError, match="several models, caches or blocks"):
        shared([run(tmp_path, OURS), run(tmp_path, other)])
    with pytest.raises(UsageError, match="nobody is not among the decoders"):
        areas("all", OURS, "nobody")
    done = CliRunner().invoke(bench, ["areas", str(tmp_path), "--of", "mine"])
    assert done.exit_code != 0
    assert isinstance(done.exception, UsageError | SystemExit)
