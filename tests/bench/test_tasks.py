"""The tasks: right answers are right, wrong ones are wrong, and the splits never overlap."""

from __future__ import annotations

import json
from random import Random

import pytest

from decoders_bench.tasks import TASKS, items, split_of, stream

PLACES = [(task, rung) for task in TASKS.values() for rung in task.rungs]
OTHER = {"8": "7", "p": "q"}
ids = [f"{task.name}-{rung}" for task, rung in PLACES]


@pytest.mark.parametrize(("task", "rung"), PLACES, ids=ids)
def test_the_answer_is_right_in_every_template(task, rung):
    for template in range(task.templates):
        for item in items(task, rung, "train", 20, seed=3, template=template):
            grade = task.grade(item.problem, item.answer)
            assert grade.exact
            assert grade.work in (None, True)


@pytest.mark.parametrize(("task", "rung"), PLACES, ids=ids)
def test_a_changed_answer_is_wrong(task, rung):
    rng = Random(0)
    for item in items(task, rung, "validation", 20):
        words = item.answer.split(" ")
        where = [i for i, w in enumerate(words) if any(ch.isalnum() for ch in w)]
        i = rng.choice(where)
        words[i] = "".join(OTHER.get(ch, "8" if ch.isdigit() else "p" if ch.isalpha() else ch) for ch in words[i])
        grade = task.grade(item.problem, " ".join(words))
        assert not (grade.exact and grade.work is not False)


@pytest.mark.parametrize(("task", "rung"), PLACES, ids=ids)
@pytest.mark.parametrize(
    "text", ["", " ", "{}", "[1]", '{"answer": "x", "work": 3}', " # ", " = ", "1 2 3", "null", "é\x00"]
)
def test_malformed_answers_are_graded_wrong_and_never_raise(task, rung, text):
    item = items(task, rung, "test", 1)[0]
    grade = task.grade(item.problem, text)
    assert not grade.exact
    assert not grade.work


@pytest.mark.parametrize(("task", "rung"), PLACES, ids=ids)
def test_splits_never_overlap(task, rung):
    """Prompts of the three splits are disjoint whatever the seed, and all templates of a problem are in one split."""
    prompts = {split: set() for split in ("train", "validation", "test")}
    for split, found in prompts.items():
        for seed in range(3):
            for item in items(task, rung, split, 60, seed):
                assert split_of(task, item.problem) == split
                found |= {task.prompt(item.problem, t) for t in range(task.templates)}
    train, validation, test = prompts.values()
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_the_training_stream_holds_no_test_or_validation_problem():
    for task, rung in PLACES:
        for _, item in zip(range(200), stream(task, rung, "train", Random(11)), strict=False):
            assert split_of(task, json.loads(json.dumps(item.problem))) == "train"


def test_items_are_the_same_every_time_and_distinct():
    task = TASKS["chain"]
    once, again = items(task, "hard", "test", 50, 7), items(task, "hard", "test", 50, 7)
    assert once == again
    assert len({x.prompt for x in once}) == 50
    assert once != items(task, "hard", "test", 50, 8)


def test_written_work_has_to_agree_with_the_answer():
    task = TASKS["chain"]
    problem = {"name": "Ada", "thing": "eggs", "start": 5, "steps": [["+", 3], ["*", 2]], "verbs": ["buys", "buys"]}
    assert task.grade(problem, " 5 + 3 = 8 ; 8 * 2 = 16 # 16").work
    right_answer_wrong_work = task.grade(problem, " 5 + 3 = 9 ; 9 * 2 = 18 # 16")
    assert right_answer_wrong_work.exact
    assert not right_answer_wrong_work.work
    assert not task.grade(problem, " 5 + 3 = 8 ; 7 * 2 = 14 # 14").work


def test_any_valid_grid_and_any_order_count():
    sudoku = TASKS["sudoku"]
    problem = {"given": [0] * 16, "grid": [1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]}
    assert sudoku.grade(problem, " 4 3 2 1 2 1 4 3 3 4 1 2 1 2 3 4").exact
    assert not sudoku.grade(problem, " 4 3 2 1 2 1 4 3 3 4 1 2 1 2 4 3").exact
    shuffle = TASKS["shuffle"]
    assert shuffle.grade({"letters": ["a", "b"], "one": ["a", "b"]}, " b a").exact
    assert not shuffle.grade({"letters": ["a", "b"], "one": ["a", "b"]}, " b b").exact


def test_unknown_rung_and_template_are_named():
    with pytest.raises(ValueError, match="no rung 'hardest'"):
        items(TASKS["list"], "hardest", "test", 1)
    with pytest.raises(ValueError, match="templates 0 to 1"):
        items(TASKS["list"], "easy", "test", 1, template=2)
