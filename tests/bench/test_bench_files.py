"""Tasks that are read from files, the sandbox that runs what a model wrote, the list operations, and where tasks are
found."""

from __future__ import annotations

import json
import time
from functools import cache

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import UsageError, specs
from decoders.cli import main
from decoders_bench.quality.rows import load
from decoders_bench.tasks import TASKS, items, split_of, task_of
from decoders_bench.tasks.files import GSM8K, MBPP, HumanEval, Math500
from decoders_bench.tasks.mathematics import boxed, normal
from decoders_bench.tasks.parallel import Copy, Replace, Reverse, Sort
from decoders_bench.tasks.sandbox import unsafely

LINES = {
    GSM8K: {
        "question": "Tom has 3 apples and buys 1,002. How many {apples}?",
        "answer": "3+1002=<<3+1002=1005>>1005\n#### 1,005",
    },
    Math500: {"problem": "Half of $x$?", "solution": "", "answer": "\\frac{1}{2}", "level": 1},
    HumanEval: {
        "task_id": "HumanEval/0", "entry_point": "add", "canonical_solution": "    return a + b + ZERO\n",
        "prompt": "ZERO = int('0')\n\ndef add(a, b):\n    \"\"\"Sum.\"\"\"\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    },
    MBPP: {"task_id": 1, "text": "Add two numbers.", "code": (
        "def add(a, b):\n    return a + "
        "b"
    ), "test_list": ["assert add(1, 2) == 3"],
           "test_setup_code": "", "challenge_test_list": []},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _graded_everywhere():
    """These tests are about grading: where there is no sandbox, their programs, which are harmless, run without one."""
    with unsafely():
        yield


def made(cls, tmp_path, n=1):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(LINES[cls]) + "\n" for _ in range(n)))
    return cls(path)


@pytest.mark.parametrize("cls", LINES, ids=lambda c: c.format)
def test_every_wording_asks_the_problem_and_the_right_answer_is_right(cls, tmp_path):
    task = made(cls, tmp_path)
    (problem,) = task.problems
    prompts = [task.items("all", "test", 1, 0, t)[0].prompt for t in range(task.templates)]
    assert len(set(prompts)) == task.templates >= 2
    asked = problem.get("question") or problem.get("problem") or problem.get("prompt") or problem["text"]
    assert all(asked in p for p in prompts)
    assert task.name == f"{cls.format}:set"
    answer = {"math500": "so \\boxed{\\dfrac12}"}.get(cls.format) or task.right(problem)
    assert task.grade(problem, answer).exact
    for text in ("", "no", "{}", "```python\n", "\\boxed{", "é\x00", "\ud800"):
        assert not task.grade(problem, text).exact


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3 + 1002 = 1005", True), ("The answer is 1005.", True), ("The answer is: $1,005. I used 2 steps", True),
        ("#### 1005", True),
        ("\\boxed{1005} in 2 steps", True), ("The answer is 7. Not 1005", False), ("1005 of 1006", False),
        ("one thousand", False),
        ("1005.0", True), ("#### none, 1005", True), ("The answer is 3 + 1002 = 1005.", True),
        ("The answer is 3 + 1,002 = 1,005", True),
        ("The answer is **1,005**.", True), ("so \\boxed{1{,}005}", True), ("so \\boxed{x = 1005}", True),
        ("1006-1005", True),
        ("The answer is 1,0,0,5", False), ("The answer is \N{MINUS SIGN}1005", False),
        ("The answer is -1005.", False), ("1 005", False),
        ("The answer is \\$1,005.00 a year", True), ("It is 1005", True), ("The answer is\n1005", True),
        ("9" * 5000, False),
    ],
)  # fmt: skip
def test_the_number_of_a_text(tmp_path, text, right):
    task = made(GSM8K, tmp_path)
    assert task.grade(task.problems[0], text).exact is right


def test_a_right_answer_of_zero_is_right(tmp_path):
    path = tmp_path / "zero.jsonl"
    path.write_text(json.dumps({"question": "?", "answer": "#### 0"}))
    task = GSM8K(path)
    assert task.grade(task.problems[0], "The answer is 0").exact
    assert not task.grade(task.problems[0], "nothing").exact


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("\\frac{2}{4}", "0.5"), ("\\dfrac{3}{4}", "\\frac34"), ("x=5", "5"), ("$1,000$", "1000"),
        ("\\left( 3, 4 \\right)", "(3,4)"),
        ("5 \\text{ cm}", "5"), ("90^\\circ", "90"), ("50\\%", "50"), ("\\text{even}", "even"),
        ("-\\frac{1}{3}", "-1/3"), ("7.", "7"),
        ("\\$18.90", "18.90"), ("\\$18", "$18$"), ("1{,}000", "1000"), ("1,\\!000", "1000"), ("10\\,000", "10000"),
        ("-1,234.50", "-1234.5"),
        ("\N{MINUS SIGN}5", "-5"), ("90\\degree", "90"), ("90\N{DEGREE SIGN}", "90"), ("\\sqrt3", "\\sqrt{3}"),
        ("x^{2}", "x^2"), ("a_1", "a_{1}"),
        ("x \\in [-2,7]", "[-2, 7]"), ("1\\frac{1}{2}", "\\frac{3}{2}"), ("-2\\frac13", "-7/3"),
        ("\\frac1{72}", "1/72"), ("\\frac{1}2", "0.5"),
        ("\\cfrac{a}{b}", "\\frac{a}{b}"), ("x\\leq 3", "x \\le 3"), ("x\\neq3", "x\\ne 3"), ("\\text{(C)}", "C"),
        ("(B)", "B"), ("{5}", "5"), ("+5", "5"),
        ("12 \\text{ cm}^2", "12"), ("**5**", "5"), ("\\(5\\)", "5"), ("\\frac{\\sqrt3}{2}", "\\frac{\\sqrt{3}}{2}"),
        ("2.50", "5/2"), ("1e3", "1000"),
        ("\\mathbf{v}", "v"), ("007", "7"), ("3\\quad", "3"), ("\\frac{-1}{2}", "-\\frac12"),
    ],
)  # fmt: skip
def test_equal_answers_are_equal(a, b):
    assert normal(a) == normal(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1", "2"), ("(3,4)", "(4,3)"), ("\\frac{1}{2}", "\\frac{1}{3}"), ("x", "y"), ("1/0", "0"), ("1,2", "12"),
        ("x^{23}", "x^23"), ("(a)", "a"), ("2\\frac{1}{2}", "1"), ("-2\\frac13", "-5/3"), ("1e99", "1e98"),
        ("1_000", "1000"), ("5\\sqrt{2}", "5"),
    ],
)
def test_other_answers_are_not(a, b):
    assert normal(a) != normal(b)


NINES = "9" * 100_000
AROUND = "{}", "\\boxed{{{}}}", "The answer is {}", "#### {}", " {} + 1 = 2", '{{"answer": {}}}', "[" * 9999 + "{}"


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", NINES, f"1/{NINES}", f"\\frac{{1}}{{{NINES}}}", "\u0663"]
)
def test_no_answer_takes_long(text):
    """A power of ten is a number with as many digits, which nobody waits for; and other scripts' digits are no answer
    here."""
    began = time.process_time()
    assert normal(text) != normal("3")
    assert time.process_time() - began < 1


@given(st.text(max_size=30), st.sampled_from(AROUND))
@settings(max_examples=150, deadline=None)
def test_no_text_is_too_odd_to_be_graded(tmp_path_factory, text, around):
    text = around.format(text)
    for cls in (GSM8K, Math500):
        task = cls.__new__(cls)
        assert task.grade(LINES[cls], text).exact in (True, False)
    for name, task in TASKS.items():
        item = drawn(name)
        assert task.grade(item.problem, text).exact in (True, False)
        task.said(text)


@cache
def drawn(name):
    return TASKS[name].items("easy", "test", 1)[0]


def test_lines_end_at_line_feeds_alone(tmp_path):
    """As files are published: behind a byte order mark, with the ends of Windows, and with all other characters that
    end lines."""
    question = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    lines = [json.dumps({"question": question, "answer": f"#### {n}"}, ensure_ascii=False).encode() for n in (1, 2)]
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*lines, b"", b"  "]))
    task = GSM8K(path)
    assert [p["question"] for p in task.problems] == [json.loads(json.dumps(question))] * 2
    assert [task.right(p) for p in task.problems] == ["1", "2"]


def test_a_box_is_read_with_its_braces():
    assert boxed("a \\boxed{1} b \\boxed{\\frac{1}{2}} c") == "\\frac{1}{2}"
    assert boxed("\\boxed{1") is None
    assert boxed("none") is None


def test_a_function_is_taken_whole_or_as_what_goes_on(tmp_path):
    task = made(HumanEval, tmp_path)
    (problem,) = task.problems
    for text in (
        "    return a + b", "    return a + b\n\nprint(add('x', 1))",
        "```python\ndef add(a, b):\n    return a + b + ZERO\n```\nDone.",
        "Here:\n```\ndef helper(a):\n    return a\n\ndef add(a, b):\n    return helper(a) + b\n",
    ):  # fmt: skip
        assert task.grade(problem, text).exact, text
    assert not task.grade(problem, "    return a - b").exact
    assert not task.grade(problem, "    import sys; sys.exit(0)").exact  # leaving early passes no test


def test_tests_may_use_the_classes_of_a_program_and_names_that_python_has_too(tmp_path):
    task = made(MBPP, tmp_path)
    tree = {
        "test_setup_code": "root = Node(1)\nroot.left = Node(2)",
        "test_list": ["assert (height(root)) == 2", "assert height(None) == 0"],
    }
    node = "class Node:\n    left = None\n    def __init__(self, data):\n        self.data = data\n"
    assert task.grade(tree, f"{node}def height(n):\n    return 1 + height(n.left) if n else 0").exact
    assert not task.grade(tree, f"{node}def height(n):\n    return 1 if n else 0").exact
    assert task.grade({"test_list": ["assert sum(10, 15) == 6"]}, "def sum(a, b):\n    return 6").exact
    assert not task.grade({"test_list": ["assert sum(10, 15) == 6"]}, "def total(a, b):\n    return 6").exact
    assert not task.grade(
        {"test_list": ["assert len(f()) == 2"]}, "def f():\n    return [1]\ndef len(x):\n    return 2"
    ).exact
    imports = {"test_imports": ["import math"], "test_list": ["assert f(4) == math.sqrt(4)"]}
    assert task.grade(imports, "def f(x):\n    return math.sqrt(x)").exact


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{\n", "line 1, is no JSON"), ('{"question": "x"}\n', "line 1, has no 'answer', which gsm8k has"),
        ('\n[]\n', "line 2, has no 'fields'"), (b"\xff\n", "it is not UTF-8"),
        ('{"question": "x", "answer": NaN}', "line 1, is no JSON: .* NaN"),
        ("[" * 100_000, "line 1, is no JSON: .* nested too deeply"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "set.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said):
        GSM8K(path)


def test_seeds_take_the_next_problems_and_too_few_are_refused(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({"question": f"q{i}", "answer": f"#### {i}"}) + "\n" for i in range(5)))
    task = GSM8K(path)
    assert [x.answer for x in task.items("all", "test", 2, 0, 0)] == ["0", "1"]
    assert [x.answer for x in task.items("all", "test", 2, 1, 0)] == ["2", "3"]
    with pytest.raises(UsageError, match="holds 5 problems, and seed 2 with 2 items asks for 6"):
        task.items("all", "test", 2, 2, 0)
    with pytest.raises(UsageError, match="has no split 'train'"):
        task.items("all", "train", 2)


# Code that a model wrote; the sandbox itself is in test_sandbox.py


def test_code_is_not_run_unless_that_is_allowed(tmp_path):
    made(HumanEval, tmp_path)
    args = ["bench", "quality", "-d", "threshold:tau=0.0", "-t", f"humaneval:{tmp_path / 'set.jsonl'}",
    "-n", "1", "--workers", "1",
            "--length", "8", "--templates", "0", "-o", str(tmp_path / "run")]  # fmt: skip
    refused = CliRunner().invoke(main, args)
    assert refused.exit_code == 2
    assert "runs code that a model wrote; allow it with --execute-code" in refused.stderr
    assert not (tmp_path / "run").exists()
    done = CliRunner().invoke(main, [*args, "--execute-code", "--unsafe"])
    assert done.exit_code == 0, done.output
    (row,) = load(tmp_path / "run").rows
    assert (row.task, row.rung, row.right) == ("humaneval:set", "all", False)
    assert list(load(tmp_path / "run").info["grid"]["files"]) == ["humaneval:set"]


# The list operations, and where tasks are found

OPERATIONS = [(cls(), rung) for cls in (Copy, Reverse, Sort, Replace) for rung in cls.rungs]


@pytest.mark.parametrize(("task", "rung"), OPERATIONS, ids=[f"{t.name}-{r}" for t, r in OPERATIONS])
def test_the_answer_of_a_list_operation_is_right_and_others_are_wrong(task, rung):
    for template in range(task.templates):
        for item in task.items(rung, "test", 10, template=template):
            words = item.answer.split()
            assert task.grade(item.problem, item.answer).exact
            assert len(words) < task.length[rung]
            for wrong in ([], words[1:], [*words, words[0]], [words[1], words[0], *words[2:]], ["!", *words[1:]]):
                assert not task.grade(item.problem, " ".join(wrong)).exact


def test_any_one_letter_may_be_replaced_but_one_only():
    task, problem = Replace(), {"letters": list("abc"), "new": "x", "old": "a", "any": True}
    assert all(task.grade(problem, text).exact for text in ("x b c", "a x c", "a b x"))
    assert not any(task.grade(problem, text).exact for text in ("x x c", "a b c", "y b c"))
    problem["any"] = False
    assert task.grade(problem, "x b c").exact
    assert not task.grade(problem, "a x c").exact


def test_no_test_item_of_an_operation_was_trained_on_as_a_list():
    listing = TASKS["list"]
    for task in (Copy(), Reverse(), Sort()):
        for item in items(task, "easy", "test", 30):
            assert split_of(listing, item.problem) == "test"
            assert listing.prompt(item.problem, item.template) == item.prompt


def test_tasks_are_found_by_entry_point_by_path_and_from_plugins(monkeypatch, tmp_path):
    assert set(TASKS) < set(specs.table("tasks"))
    assert all(type(task_of(name)[0]) is type(task) for name, task in TASKS.items())
    assert task_of("sudoku/hard")[1] == ("hard",)
    (tmp_path / "own_task.py").write_text(
        "from decoders_bench.tasks.lists import Lists\nclass Own(Lists):\n    name = 'own'\n    rungs = ('easy',)\n"
        "class Not: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert task_of("own_task:Own")[1] == ("easy",)
    assert task_of("own_task:Own/easy")[0].name == "own"
    with pytest.raises(UsageError, match="is not a Gradable"):
        task_of("own_task:Not")
    with pytest.raises(UsageError, match="reads no file"):
        task_of("sudoku:x")
