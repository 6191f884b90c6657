"""The tasks: right answers are right, wrong ones are wrong, and the splits never overlap."""

from __future__ import annotations

import json
from random import Random

import pytest

from decoders import UsageError
from decoders_bench.nano.tokenizer import Segmenter
from decoders_bench.tasks import GENERATED, LONG, TASKS, chosen, items, split_of, stream
from decoders_bench.tasks.programs import ProgramError, run

PLACES = [(task, rung) for task in GENERATED.values() for rung in task.rungs]
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


def test_a_program_is_run():
    assert run(" a = 5\n a += 3\n b = a\n b -= 9\n print b\n # 8\n print a\n") == [-1, 8]


@pytest.mark.parametrize(
    "program",
    ["", " print a", " a += 3", " a = b", " a = 5 print a", " a == 5", " a = 5\n\n print a", " a = é", " # x"],
)
def test_what_is_no_program_is_named(program):
    with pytest.raises(ProgramError, match=r"no statement|has no value"):
        run(program)


def test_a_broken_promise_is_named():
    assert run(" a = 5\n # 5\n # 6\n a += 1\n print a\n print a") == [6, 6]
    with pytest.raises(ProgramError, match="7 was promised, 6 is printed"):
        run(" # 7\n a = 6\n print a")


def test_any_program_that_prints_the_numbers_is_right():
    program = LONG["program"]
    problem = {"targets": [7, 12], "one": [" a = 7"]}
    assert program.grade(problem, " q = 7\n print q\n q += 5\n print q").exact
    assert not program.grade(problem, " q = 12\n print q\n q -= 5\n print q").exact
    assert not program.grade(problem, " q = 7\n print q").exact
    assert program.said(" q = 7\n print q") == "7"


def test_brackets_have_to_match_and_any_kind_is_right():
    nest = LONG["nest"]
    problem = {"inner": 40, "steps": [["+", 5], ["-", 3]], "kinds": "(("}
    assert nest.answer(problem) == " a ( + 5 b ( - 3 40 b ) = 37 a ) = 42"
    assert nest.grade(problem, " a [ + 5 b { - 3 40 b } = 37 a ] = 42").work
    crossed, short, slip = (
        " a [ + 5 b { - 3 40 b ] = 37 a } = 42", " a [ + 5 40 a ] = 42", " a [ + 5 b { - 3 40 b } = 36 a ] = 42",
    )
    for wrong in (crossed, short, slip):
        grade = nest.grade(problem, wrong)
        assert grade.exact
        assert not grade.work


def test_a_renamed_word_is_the_same_new_one_everywhere():
    edit = LONG["edit"]
    problem = {"words": ["Ada", "12", "eggs", "Ada"], "puts": {"a B": "pens"}, "renamed": {"Ada": "Ben"}}
    assert edit.prompt(problem, 0) == "Edit: a B > pens . Rename Ada . a : Ada 12 eggs Ada"
    assert edit.prompt(problem, 1) == "Text: a : Ada 12 eggs Ada . Put a B > pens . Rename Ada ."
    assert edit.answer(problem) == " Ada > Ben ; a : Ben pens eggs Ben"
    assert edit.grade(problem, " Ada > Zoe ; a : Zoe pens eggs Zoe").exact
    for wrong in (
        "Ada > Zoe ; a : Zoe pens eggs Ben", "Ada > Ada ; a : Ada pens eggs Ada", "Ada > 3 ; a : 3 pens eggs 3",
        "Ada > Zoe ; a : Zoe 12 eggs Zoe", "Ada > Zoe ; a : Zoe pens eggs", "Ben > Zoe ; a : Zoe pens eggs Zoe",
        "Ada > Zoe ; b : Zoe pens eggs Zoe", "a : Zoe pens eggs Zoe", "",
    ):
        assert not edit.grade(problem, f" {wrong}").exact


def test_a_table_is_judged_by_its_last_cells_and_by_all():
    table = LONG["table"]
    problem = {"starts": [40, 50], "steps": [["+", 3], ["-", 2]]}
    assert table.answer(problem) == " a A 43 B 41 ; b A 53 B 51"
    slip = table.grade(problem, " a A 44 B 41 ; b A 53 B 51")
    assert slip.exact
    assert not slip.work
    assert not table.grade(problem, " a A 43 B 41 ; b A 53 B 50").exact


def test_the_steps_of_a_cycle_come_round():
    cycle = LONG["cycle"]
    for item in items(cycle, "hard", "train", 20):
        steps, period = item.problem["steps"], item.problem["period"]
        assert all(step == steps[i % period] for i, step in enumerate(steps))
        assert item.prompt.count(";") <= period + 1


@pytest.mark.parametrize("task", LONG.values(), ids=LONG)
def test_hard_texts_are_a_page(task):
    segmenter = Segmenter()
    for template in range(task.templates):
        for item in items(task, "hard", "train", 20, template=template):
            assert 256 <= len(segmenter.encode(item.prompt + item.answer)) < 512


def test_commands_take_the_tasks_of_a_page_by_their_names_and_not_by_default():
    assert chosen(["cycle/hard", "nest"]) == [("cycle", "hard"), ("nest", "easy"), ("nest", "hard")]
    assert {name for name, _ in chosen([])} == TASKS.keys()
    with pytest.raises(UsageError, match=r"unknown task 'cicle'.*cycle"):
        chosen(["cicle"])
    with pytest.raises(UsageError, match=r"no rung 'hrad'.*hard"):
        chosen(["table/hrad"])
