"""`decoders bench modes`: what is counted, how two decoders are compared, and what the tables say."""

from __future__ import annotations

from random import Random

import pytest
from click.testing import CliRunner

from decoders import UsageError, get
from decoders.cli import main
from decoders_bench.common.statistics import difference
from decoders_bench.modes.measure import BLOCKS, DECODERS, HYBRIDS, Decoded, LeftToRightNano, Trial, run, run_all
from decoders_bench.modes.tables import (
    WORDS,
    best_threshold,
    mode_pairs,
    mode_reading,
    mode_tables,
    mode_verdicts,
    paired,
)
from decoders_bench.quality.matched import BETTER, EVEN, OUTSIDE, WIDE, WORSE
from decoders_bench.tasks import TASKS


def tried(
    decoder: str, right: list[bool], nfe: int, block: int | None = 8, verified: int = 0, accepted: int = 0
) -> Decoded:
    n = len(right)
    return Decoded(Trial("chain", "hard", decoder, block, n), right, [nfe] * n, [20] * n, verified, accepted)


def test_every_decoder_of_the_comparison_is_one_and_fits_its_task():
    for decoder in DECODERS:
        for task, rung in (("chain", "easy"), ("sudoku", "hard")):
            for block in BLOCKS:
                spec = Trial(task, rung, decoder, block).spec
                assert spec is None or get(spec)
    assert [Trial("chain", "easy", d, None).spec is None for d in HYBRIDS] == [True, True, False, False]
    assert [Trial("sudoku", "easy", d, 8).spec is None for d in HYBRIDS] == [False, False, False, True]
    assert f"budget={TASKS['sudoku'].length['easy'] // 2}" in str(Trial("sudoku", "easy", HYBRIDS[2], 8).spec)


def test_a_trial_counts_the_items_it_grades():
    made = run(Trial("chain", "easy", "s2d2", 8, n=3, batch=2))
    assert made is not None
    assert made.right == [True] * 3
    assert all(n >= 2 for n in made.nfe)
    assert 0 < made.verified < sum(made.nfe)  # the others drafted
    assert made.accepted <= 3 * TASKS["chain"].length["easy"]
    plain = run(Trial("chain", "easy", "threshold:tau=0.9", 8, n=3))
    assert plain is not None
    assert (plain.verified, plain.accepted) == (0, 0)


def test_the_reasoners_forwards_count():
    alone = run(Trial("chain", "easy", "left_to_right", None, n=2))
    both = run(Trial("chain", "easy", "after_reasoning", None, n=2))
    assert alone is not None
    assert both is not None
    assert both.right == alone.right == [True, True]
    # the reasoner writes all but the answer, one token a forward, and the answer takes one or two
    assert all(a - 4 <= b <= a + 2 for a, b in zip(alone.nfe, both.nfe, strict=True))


def test_the_reasoner_stops_at_the_boundary():
    (made,) = LeftToRightNano().write(
        ["Q: Ada has 45 eggs. Ada buys 7. How many?"], seeds=[0], boundary=" #", budget=40
    )
    assert "#" not in made.text
    assert made.continues


def test_a_decoder_that_is_none_is_refused_by_the_pool():
    with pytest.raises(UsageError, match="unknown strategy"):
        run_all([Trial("chain", "easy", "nothing", 8, n=1)], 1, lambda _: None)


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 0, 300), (10, 10, 100), (3, 0, 50), (0, 40, 40)])
def test_the_interval_of_a_difference_holds_the_difference(lost, won, n):
    low, high = difference(lost, won, n)
    assert -1 <= low <= (won - lost) / n <= high <= 1
    assert difference(won, lost, n) == pytest.approx((-high, -low))
    assert (low >= -0.01) == ((lost, n) in {(0, 300), (0, 40)})


def test_two_decoders_are_compared_item_by_item():
    a, b = tried("threshold:tau=0.9", [True, True, False, True], 4), tried("s2d2", [True, False, True, True], 8)
    assert paired(a, b).startswith("+0.0 (")
    assert paired(a, b).endswith("p=1.00; 2.00x the forwards")
    assert paired(a, tried("s2d2", [True, False, False, True], 8)).startswith("-25.0 (")


def test_the_best_threshold_may_lose_one_answer():
    sure = tried("threshold:tau=0.95", [True] * 18 + [False] * 2, 9)
    quick = tried("threshold:tau=0.9", [True] * 16 + [False] * 4, 6)
    wrong = tried("threshold:tau=0.7", [True] * 14 + [False] * 6, 3)
    assert best_threshold([sure, quick, wrong, tried("s2d2", [True] * 20, 1)]) == quick
    assert best_threshold([tried("s2d2", [True] * 20, 1)]) is None


def test_no_result_has_a_say_in_what_it_is_held_against():
    """Eight thresholds that guess: the most right one beats a guess that it is not chosen on as often as not."""
    draw = Random(0)
    guess = lambda spec: tried(spec, [draw.random() < 0.5 for _ in range(40)], 4)
    gains, picked = [], []
    for _ in range(200):
        mine, thresholds = guess("s2d2"), [guess(f"threshold:tau=0.{i}") for i in range(1, 9)]
        other = best_threshold([mine, *thresholds])
        assert other is not None
        gains.append(sum(other.right) - sum(mine.right))
        picked.append(max(sum(t.right) for t in thresholds) - sum(mine.right))
    assert abs(sum(gains) / 200) < 3 * (20 / 200) ** 0.5  # each has variance 10
    assert sum(picked) / 200 > 4  # what its own result would have chosen


def test_a_threshold_of_two_halves_says_so():
    first, second = [True, False] * 10, [False, True] * 10
    made = best_threshold([tried("threshold:tau=0.7", first, 4), tried("threshold:tau=0.8", second, 5)])
    assert made is not None
    assert made.trial.decoder == "threshold:tau=0.8 or threshold:tau=0.7"
    assert made.right == [False] * 20
    assert made.nfe == [5, 4] * 10


def test_the_tables_say_whether_the_aims_are_reached():
    n = 300
    base = [tried("left_to_right", [True] * n, 40), tried("threshold:tau=0.9", [True] * n, 8)]
    rows = [
        *base, tried("s2d2", [True] * n, 6, verified=600, accepted=3000),
        tried("hybrid:mode=frontier,w=4", [True] * n, 12),
    ]
    text = mode_reading(rows)
    assert (
        "`s2d2` takes the fewest, 6.0, which is 0.75 times as many, and is right on 100 % where the threshold is right "
        "on 100 %. The aim, 1.3 times fewer forwards, is reached."
    ) in text
    assert (
        "3.33 times fewer forwards than autoregression, and its accuracy is shown to be within 1 point. The aim, twice "
        "as few forwards at that accuracy, is reached."
    ) in text
    slip = [False, False] + [True] * (n - 2)
    text = mode_reading([*base, tried("s2d2", slip, 2, verified=1), tried("hybrid:mode=frontier,w=4", slip, 12)])
    assert "has as many right answers, so none is chosen. The aim, 1.3 times fewer forwards, is not reached" in text
    assert (
        "not shown to be within 1 point. The aim, twice as few forwards at that accuracy, is not reached." in text
    )
    assert "| 5.0 |" in mode_pairs(rows)
    assert "**100** (99-100)<br>6.0 / 3.3" in mode_tables(rows)


def test_the_command():
    done = CliRunner().invoke(
        main, ["bench", "modes", "-n", "1", "-t", "chain/easy", "--block", "4", "-d", "threshold", "--workers", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "Blocks of 4:" in done.stdout
    assert "| `threshold` | **100** (21-100)" in done.stdout


def told(thresholds, mine):
    """The verdict on a decoder in the table."""
    *_, line = mode_verdicts([*thresholds, mine]).splitlines()
    _, block, decoder, *cells, _ = (x.strip() for x in line.split("|"))
    assert (block, decoder) == ("8", f"`{mine.trial.decoder}`")
    (word,) = [word for word, cell in zip(WORDS, cells, strict=True) if cell]
    assert "chain/hard" in cells
    return word


def test_a_verdict_is_of_equal_forwards_and_beyond_chance():
    n = 40
    thresholds = [tried("threshold:tau=0.7", [True] * 20 + [False] * 20, 4), tried("threshold:tau=0.95", [True] * n, 9)]
    right, half, wrong = [True] * n, [True] * 20 + [False] * 20, [False] * n
    assert told(thresholds, tried("s2d2", wrong, 5)) == WORSE
    assert told(thresholds, tried("s2d2", half, 12)) == WORSE  # now the other threshold may be taken
    assert told(thresholds, tried("s2d2", wrong, 3)) == OUTSIDE
    even = [tried("threshold:tau=0.7", half, 4), tried("threshold:tau=0.95", half, 9)]
    assert told(even, tried("s2d2", half, 5)) == EVEN
    assert told(even, tried("s2d2", right, 5)) == BETTER


def test_a_threshold_in_disguise_is_not_better_than_a_coarse_grid():
    """Between two settings that are far apart, a third one of the same curve wins against the cheaper one alone."""
    n, draw = 300, Random(0)
    hard = [draw.random() for _ in range(n)]
    setting = lambda spec, tau, nfe: tried(spec, [x < tau for x in hard], nfe)
    coarse = [setting("threshold:tau=0.7", 0.7, 4), setting("threshold:tau=0.95", 0.99, 8)]
    assert told(coarse, setting("s2d2:route=never", 0.9, 6)) == WIDE


def test_decoders_that_guess_are_rarely_told_apart():
    """Four thresholds and a decoder that are right on half of the items by chance: at most one in twenty is called
    better or worse; 18 of 200 would be beyond chance."""
    draw = Random(0)
    guess = lambda spec, nfe: tried(spec, [draw.random() < 0.5 for _ in range(40)], nfe)
    thresholds = lambda: [guess(f"threshold:tau=0.{i}", i) for i in (5, 7, 8, 9)]
    called = [told(thresholds(), guess("s2d2", draw.choice([6, 8]))) for _ in range(200)]
    assert sum(word in {BETTER, WORSE} for word in called) < 18
