"""The laws that every task keeps. Each is a function of a task that raises `AssertionError`, with what went wrong,
or `NotAsked` if it asks nothing of this task.

    from decoders_bench.tasks.laws import check_task
    check_task("my_file:MyTask")

runs all of them and needs no test framework; `decoders check --task` does it from a command line.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from random import Random

from decoders import UsageError
from decoders.testing.rooms import expect
from decoders.testing.trial import NotAsked, insist
from decoders_bench.tasks import task_of
from decoders_bench.tasks.base import Gradable, Grade, Item, Split, Task, items, split_of

TaskLaw = Callable[[Gradable], None]
FEW, MANY = 12, 1000
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NO_ANSWERS = (
    "", " ", "{}", "[1]", '{"answer": "x", "work": 3}', " # ", " = ", "null", "é\x00", "\ud800", "[" * 2000, "9" * 5000,
    "```python\n", "\\boxed{",
)
"""Texts that a model may write and that are no answer to any task."""
OTHER = {"8": "7", "p": "q"}


def written(task: Gradable) -> None:
    """It has a name, rungs, a number of wordings, and a canvas length for each rung."""
    cls = type(task).__name__
    for name, kind in (("name", str), ("rungs", tuple), ("templates", int), ("length", dict)):
        found = getattr(task, name, None)
        expect(isinstance(found, kind), f"{cls}.{name} is {found!r}, and has to be a {kind.__name__}")
        expect(bool(found), f"{cls}.{name} is {found!r}: there has to be one at least")
    for rung in task.rungs:
        expect(task.length.get(rung, 0) > 0, f"{cls}.length says nothing of the rung {rung!r}")


def some(task: Gradable, n: int = FEW, seed: int = 0, split: Split = "test") -> Iterator[tuple[str, int, list[Item]]]:
    """Items of every rung in every wording, fewer if a file has no more."""
    for rung in task.rungs:
        for template in range(task.templates):
            yield rung, template, taken(task, rung, split, n, seed, template)


def taken(task: Gradable, rung: str, split: Split, n: int, seed: int, template: int | None) -> list[Item]:
    """The first items of a split; for a file, all that it has if these are fewer."""
    try:
        return task.items(rung, split, n, seed, template)
    except UsageError:
        if isinstance(task, Task) or n == 1:
            raise
        return taken(task, rung, split, n // 2, seed, template)


def well_formed(task: Gradable) -> None:
    """Every item has a prompt and another text as its answer; its problem is plain JSON."""
    for rung, template, found in some(task):
        for item in found:
            where = f"{rung}, wording {template}"
            said = item.task, item.rung, item.template
            expect(said == (task.name, rung, template), f"{where}: an item says that it is {said}")
            texts = isinstance(item.prompt, str) and isinstance(item.answer, str)
            full = texts and bool(item.prompt.strip()) and bool(item.answer.strip())
            expect(full, f"{where}: the prompt {item.prompt!r} or the answer {item.answer!r} is no text")
            expect(item.prompt.strip() != item.answer.strip(), f"{where}: the prompt is the answer, {item.answer!r}")
            again = json.loads(json.dumps(item.problem))
            expect(again == item.problem, f"{where}: read back from JSON, {item.problem!r} is {again!r}")
        prompts = {item.prompt for item in found}
        expect(len(prompts) == len(found), f"{rung}, wording {template}: a prompt is asked twice")


def worded(task: Gradable) -> None:
    """All wordings ask the same problems, each in other words."""
    if task.templates == 1:
        raise NotAsked("the task has one wording")
    for rung in task.rungs:
        first, *others = [taken(task, rung, "test", FEW, 0, template) for template in range(task.templates)]
        for template, found in enumerate(others, 1):
            for a, b in zip(first, found, strict=True):
                expect(a.problem == b.problem, f"{rung}: wording {template} asks other problems than wording 0")
                expect(a.prompt != b.prompt, f"{rung}: wordings 0 and {template} are the same, {a.prompt!r}")


def right_is_right(task: Gradable) -> None:
    """The right answer of every item is graded right, and so is its work."""
    for rung, template, found in some(task):
        for item in found:
            grade = task.grade(item.problem, item.answer)
            right = isinstance(grade, Grade) and grade.exact and grade.work is not False
            expect(right, f"{rung}, wording {template}: to {item.prompt!r} the right answer {item.answer!r} is {grade}")


def wrong_is_wrong(task: Gradable) -> None:
    """A changed answer is graded wrong, and so is the answer to another problem."""
    graded = 0
    for rung, template, found in some(task):
        mistaken, tried = list[str](), 0
        for item in found:
            text = "".join(OTHER.get(c, "8" if c.isdigit() else "p" if c.isalpha() else c) for c in item.answer)
            if text != item.answer:
                graded += 1
                grade = task.grade(item.problem, text)
                wrong = not (grade.exact and grade.work is not False)
                expect(wrong, f"{rung}, wording {template}: to {item.prompt!r} the answer {text!r} is {grade}")
            for other in found:
                if other.answer != item.answer and asked(task, other) != asked(task, item):
                    tried += 1
                    if task.grade(item.problem, other.answer).exact:
                        mistaken.append(f"to {item.prompt!r} the answer {other.answer!r}")
        # some problems have several right answers, which others may share
        graded += tried
        few = 2 * len(mistaken) <= tried
        expect(few, f"{rung}, wording {template}: {len(mistaken)} of {tried} answers to other problems are right, "
                    f"such as {mistaken[0] if mistaken else ''}")
    if not graded:
        raise NotAsked("no answer has a letter or digit to change, and all problems have the same one")


def asked(task: Gradable, item: Item) -> object:
    return task.asked(item.problem) if isinstance(task, Task) else item.problem


def grades_anything(task: Gradable) -> None:
    """Every text is graded without an error; a text that is no answer is wrong."""
    for rung in task.rungs:
        (item,) = taken(task, rung, "test", 1, 0, 0)
        for text in NO_ANSWERS:
            try:
                grade, _ = task.grade(item.problem, text), task.said(text)
            except UsageError:
                raise
            except Exception as e:
                raise AssertionError(f"{rung}: the text {text[:40]!r} raises {type(e).__name__}: {e}") from e
            expect(not grade.exact, f"{rung}: the text {text[:40]!r} is graded right")


def repeats(task: Gradable) -> None:
    """The same seed gives the same items, whatever the random state is, and another seed other items."""
    before = random.getstate()
    try:
        runs = []
        for state in (1, 2):
            random.seed(state)
            runs.append([item for _, _, found in some(task) for item in found])
    finally:
        random.setstate(before)
    for a, b in zip(*runs, strict=True):
        expect(a == b, f"two calls with the same seed give {a.prompt!r} and {b.prompt!r}; draw from `rng` alone")
    if isinstance(task, Task):
        for rung in task.rungs:
            one, other = ([i.prompt for i in taken(task, rung, "test", FEW, seed, 0)] for seed in (0, 1))
            expect(one != other, f"{rung}: seeds 0 and 1 give the same items")


def digest(task: Gradable) -> str:
    """A hash of all items of a seed."""
    every = [[i.prompt, i.answer] for _, _, found in some(task) for i in found]
    return sha256(json.dumps(every).encode("utf-8", "surrogatepass")).hexdigest()


def same_elsewhere(task: Gradable) -> None:
    """Another process, in which sets have another order, gives the same items."""
    cls = type(task)
    if not isinstance(task, Task):
        raise NotAsked("the order of the problems is that of the file")
    if cls.__module__ == "__main__":
        raise NotAsked("the task was written in this session, so another process does not have it")
    code = (
        f"from decoders.specs import load_path; from {__name__} import digest; "
        f"print(digest(load_path('task', {cls.__module__ + ':' + cls.__qualname__!r})()))"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        expect(done.returncode == 0, f"it cannot be made in another process: {done.stderr.strip().splitlines()[-1:]}")
        same = done.stdout.strip() == digest(task)
        expect(same, "its items are others in another process: sort a set or the names of files before drawing")


def drawn(task: Task, rung: str, n: int) -> Iterator[Item]:
    """Problems as they come, in the first wording; the same ones twice, if that is what is drawn."""
    rng = Random(f"{task.name}/{rung}/laws")
    return (task.item(task.problem(rng, rung), rung, 0) for _ in range(n))


def splits(task: Gradable) -> None:
    """No prompt is in two splits, and the same words have the same answer."""
    if not isinstance(task, Task):
        raise NotAsked("a file is not divided into splits")
    for rung in task.rungs:
        seen = dict[str, Item]()
        for item in drawn(task, rung, MANY):
            first = seen.setdefault(item.prompt, item)
            same = task.asked(first.problem) == task.asked(item.problem)
            expect(same, f"{rung}: {item.prompt!r} is asked of two problems; let `asked` return what the prompt shows, "
                         f"and not {differing(task, first, item)}")
            right = first.answer == item.answer or task.grade(item.problem, first.answer).exact
            expect(right, f"{rung}: {item.prompt!r} has two answers, {first.answer!r} and {item.answer!r}, and each is "
                          "wrong where the other is right")
        found = {split: {i.prompt for i in items(task, rung, split, FEW, template=0)} for split in SPLITS}
        for split in SPLITS:
            for item in items(task, rung, split, FEW):
                expect(split_of(task, item.problem) == split, f"{rung}: an item of {split} belongs to another split")
        expect(not found["train"] & found["test"], f"{rung}: a prompt is in train and in test")


def differing(task: Task, first: Item, second: Item) -> str:
    """The parts of what is asked that two problems do not share."""
    a, b = task.asked(first.problem), task.asked(second.problem)
    return ", ".join(repr(key) for key in sorted({*a, *b}) if a.get(key) != b.get(key))


def fits(task: Gradable) -> None:
    """Every answer and a stop token fit into `length`, in tokens of the embedded model."""
    from decoders import load

    if not isinstance(task, Task):
        raise NotAsked("the lengths are meant for other models than the embedded one")
    encode = load("nano").tokenizer.encode
    for rung in task.rungs:
        for item in islice(drawn(task, rung, 10 * FEW), 10 * FEW):
            n = len(encode(item.prompt + item.answer)) - len(encode(item.prompt))
            room = task.length[rung]
            expect(n + 1 <= room, f"{rung}: the answer {item.answer!r} and a stop token take {n + 1} tokens of nano, "
                                  f"and length is {room}")


TASK_LAWS: tuple[TaskLaw, ...] = (
    written, well_formed, repeats, worded, right_is_right, grades_anything, wrong_is_wrong, splits, fits,
    same_elsewhere,
)
TASK_FAST: tuple[TaskLaw, ...] = (
    written, well_formed, repeats, worded, right_is_right, grades_anything, wrong_is_wrong, splits,
)
"""The laws that need neither the embedded model nor another process."""


def check_task(task: Gradable | str) -> None:
    """Test a task, or the one of a spec, against every law of tasks. Raises `AssertionError` with one paragraph for
    each breach that does not follow from another, and `UsageError` for a spec that makes no task."""
    insist(TASK_LAWS, task_of(task)[0] if isinstance(task, str) else task, "grade")
