"""Every built-in task against every law of such, and the control set against its laws."""

from __future__ import annotations

import json

import pytest

from decoders import UsageError
from decoders.testing.trial import NotAsked, tried
from decoders_bench.tasks import GENERATED, FileTask, task_of
from decoders_bench.tasks.laws import TASK_FAST, TASK_LAWS, check_task, worded, wrong_is_wrong
from decoders_bench.tasks.parallel import Copy, Replace, Reverse, Sort
from support.bad_tasks import TASK_CONTROLS, Fair, ForgetsRng, Raises

EVERY = [*GENERATED.values(), Copy(), Replace(), Reverse(), Sort()]
by_name = {law.__name__: law for law in TASK_LAWS}


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_a_built_in_task_keeps_the_quick_laws(task) -> None:
    assert tried(TASK_FAST, task, "grade").findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_a_built_in_task_keeps_the_others_too(task) -> None:
    assert tried([law for law in TASK_LAWS if law not in TASK_FAST], task, "grade").findings == ()


@pytest.mark.parametrize("bad", TASK_CONTROLS, ids=lambda bad: bad.__name__)
def test_the_law_that_is_meant_for_it_catches_a_bad_task(bad) -> None:
    with pytest.raises(AssertionError):
        by_name[TASK_CONTROLS[bad]](bad())


@pytest.mark.slow
def test_the_control_of_the_controls_keeps_all() -> None:
    check_task(Fair())
    assert set(TASK_FAST) < set(TASK_LAWS)
    assert set(TASK_CONTROLS.values()) == set(by_name)


def test_what_broke_is_told_with_the_line_of_the_task() -> None:
    (finding,) = tried(TASK_FAST, Raises(), "grade").findings
    assert finding.startswith("grades_anything: easy: the text '' raises IndexError: list index out of range\n")
    assert "bad_tasks.py:" in finding
    assert "in grade: return Grade(text.split()[-1] == " in finding
    finding = tried(TASK_FAST, ForgetsRng(), "grade").findings[0]
    assert finding.startswith("repeats: two calls with the same seed give 'Last of ")
    assert "in ForgetsRng.problem" in finding


class Capitals(FileTask):
    format = "capitals"
    keys = ("country", "capital")
    canvas = 16
    words = ("The capital of {country}?", "{country}: capital?")

    def right(self, problem):
        return str(problem["capital"])

    def grade(self, problem, text):
        from decoders_bench.tasks import Grade

        return Grade(text.strip() == self.right(problem))


PAIRS = {"France": "Paris", "Italy": "Rome", "Peru": "Lima"}


def test_a_file_has_a_path_behind_a_class_too_and_keeps_the_laws(tmp_path) -> None:
    """Though it has fewer problems than are asked for."""
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"country": c, "capital": x}) + "\n" for c, x in PAIRS.items()))
    spec = f"{__name__}:Capitals"
    task, rungs = task_of(f"{spec}:{path}")
    assert (task.name, rungs) == ("capitals:x", ("all",))
    check_task(task)
    with pytest.raises(UsageError, match="reads a file; write"):
        task_of(spec)


def test_a_law_that_asks_nothing_of_a_task_says_so(tmp_path) -> None:
    class OneWording(Capitals):
        words = Capitals.words[:1]

    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"country": "?", "capital": "-"}) + "\n")
    task = OneWording(path)
    with pytest.raises(NotAsked, match="the task has one wording"):
        worded(task)
    with pytest.raises(NotAsked, match="no answer has a letter or digit to change"):
        wrong_is_wrong(task)
    check_task(task)


def test_a_class_has_rungs_as_a_name_has() -> None:
    assert task_of("support.bad_tasks:Fair/hard")[1] == ("hard",)
    assert task_of("support.bad_tasks:Fair")[1] == ("easy", "hard")
    with pytest.raises(UsageError, match="has no rung 'hrad'; did you mean 'hard'"):
        task_of("support.bad_tasks:Fair/hrad")
    with pytest.raises(UsageError, match="has no answer and no grade and no problem and no prompt"):
        task_of("decoders_bench.tasks.base:Task")
