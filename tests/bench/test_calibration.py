"""`decoders bench calibration`, and its figures against plain Python."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

from decoders import Generator
from decoders_bench.calibration.cases import Case, cases, labels_of, places
from decoders_bench.calibration.measure import BINS, measured
from decoders_bench.calibration.tables import curve_table, load, task_table
from decoders_bench.cli import bench
from decoders_bench.tasks import GENERATED, items


@pytest.fixture(scope="module")
def nano():
    return Generator("nano")


def drawn(n, sharper=1.0, seed=0):
    """Holes of a model that says what is so; or, `sharper`, says too surely what it says."""
    rng, found = random.Random(seed), []
    for i in range(n):
        p = [rng.random() ** 2 for _ in range(4)]
        truth = rng.choices(range(4), p)[0]
        p = [x**sharper for x in p]
        found.append(Case(i // 5, tuple(x / sum(p) for x in p), truth, 0.5))
    return found


def test_the_figures_are_those_of_plain_python():
    found = drawn(200)
    got = measured("a", "all", "m", found)
    best = [max(range(4), key=c.probabilities.__getitem__) for c in found]
    assert got.right == pytest.approx(sum(b == c.truth for b, c in zip(best, found, strict=True)) / 200)
    bins = [[(max(c.probabilities), b == c.truth) for b, c in zip(best, found, strict=True)
             if int(max(c.probabilities) * BINS) == k] for k in range(BINS)]  # fmt: skip
    assert got.ece == pytest.approx(sum(abs(sum(p - r for p, r in b)) for b in bins) / 200)
    brier = sum(sum((p - (i == c.truth)) ** 2 for i, p in enumerate(c.probabilities)) for c in found) / 200
    assert got.brier == pytest.approx(brier)
    assert (got.items, got.holes, got.labels, got.mass, got.brier_uniform) == (40, 200, 4, 0.5, 0.75)
    assert got.ece_interval[0] <= got.ece <= got.ece_interval[1]
    assert got.brier_interval[0] < got.brier < got.brier_interval[1]
    assert [b.holes for b in got.curve] == [len(b) for b in bins if b]
    for b in got.curve:
        assert b.low <= b.right <= b.high


def test_a_model_that_is_calibrated_is_told_from_one_that_is_not():
    honest, sharp = measured("a", "all", "m", drawn(3000)), measured("a", "all", "m", drawn(3000, sharper=4))
    assert honest.ece_interval[0] < honest.ece_calibrated < honest.ece_interval[1]
    assert sharp.ece_interval[0] > 3 * sharp.ece_calibrated
    assert sharp.brier > honest.brier


def test_holes_are_those_whose_label_is_known_and_was_asked_for(nano):
    (item,) = items(GENERATED["sudoku"], "easy", "test", 1)
    answer, truths = places(nano, item)
    given = item.problem["given"]
    assert {at for at, x in enumerate(given) if x == 0} == truths.keys()
    assert [labels_of(item)[truths[at]] for at in truths] == [f" {item.problem['grid'][at]}" for at in truths]
    assert nano.loaded.tokenizer.decode(answer) == item.answer


@pytest.mark.parametrize("task", ["sudoku", "list", "shuffle", "chain", "answer_first"])
def test_what_is_read_is_asked_of_every_hole(nano, task):
    asked = items(GENERATED[task], "easy", "test", 3)
    whole, half = (list(cases(nano, asked, part, 0)) for part in (False, True))
    assert len(whole) == sum(len(places(nano, item)[1]) for item in asked)
    assert 3 <= len(half) < len(whole)
    assert {c.item for c in half} == {0, 1, 2}
    assert half == list(cases(nano, asked, True, 0))


def test_the_command_writes_rows_that_make_its_tables(tmp_path):
    file = tmp_path / "calibration.json"
    args = ["calibration", "-n", "4", "-t", "sudoku/easy", "-t", "list/easy", "-o", str(file), "--json"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    rows = load(file)
    assert [(r.task, r.open) for r in rows] == [
        (task, part) for part in ("all", "half") for task in ("sudoku/easy", "list/easy", "all")
    ]
    assert rows[2].holes == rows[0].holes + rows[1].holes
    assert rows[2].items == 8
    assert task_table(rows) in done.stdout
    assert curve_table(rows) in done.stdout
    assert len(json.loads(done.stdout.splitlines()[-1])["rows"]) == 6


def test_a_task_without_such_labels_is_refused():
    done = CliRunner().invoke(bench, ["calibration", "-t", "extract"])
    assert done.exit_code != 0
    assert "has no labels" in str(done.exception or done.output)
