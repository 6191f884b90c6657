"""Standard test sets, read from the user's files: JSON lines as they are published. Nothing is downloaded.

A problem is a line; its wordings are for models that follow instructions, with no examples. `MATH-500` is graded by
comparing normalised text, so an equal answer in another form counts as wrong.
"""

from __future__ import annotations

import ast
import builtins
import re
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from decoders import UsageError
from decoders.files import expanded, json_lines, parsed
from decoders_bench.tasks.base import Gradable, Grade, Item, Problem, Split
from decoders_bench.tasks.mathematics import marked, normal, number, stated
from decoders_bench.tasks.sandbox import passes


class FileTask(Gradable):
    """Problems in a file of JSON lines, in its order: seed 0 takes the first `n`, seed 1 the next `n`, and so on."""

    reads_file = True
    rungs = ("all",)
    format: ClassVar[str]
    """Its name among the entry points."""
    keys: ClassVar[tuple[str, ...]]
    """The keys that every line has."""
    words: ClassVar[tuple[str, ...]]
    """The wordings, with `{key}` where something of the problem stands."""
    canvas: ClassVar[int]

    def __init__(self, path: Path) -> None:
        self.path = expanded(path)
        self.name = f"{self.format}:{path.stem}"
        self.templates = len(self.words)
        self.length = {"all": self.canvas}
        self.problems = [self.read(line, number) for number, line in json_lines(self.path)]

    def read(self, line: bytes, number: int) -> Problem:
        try:
            problem = parsed(line)
        except ValueError as e:
            raise UsageError(f"{self.path}, line {number}, is no JSON: {e}") from None
        missing = [k for k in self.keys if k not in problem] if isinstance(problem, dict) else ["fields"]
        if missing:
            raise UsageError(f"{self.path}, line {number}, has no {missing[0]!r}, which {self.format} has")
        return dict(problem)

    def items(self, rung: str, split: Split, n: int, seed: int = 0, template: int | None = None) -> list[Item]:
        if split != "test":
            raise UsageError(f"{self.name} is one file, so it has no split {split!r}")
        own = self.problems[seed * n : (seed + 1) * n]
        if len(own) < n:
            raise UsageError(
                f"{self.path} holds {len(self.problems)} problems, and seed {seed} with {n} items asks for "
                f"{(seed + 1) * n}"
            )
        worded = [i % self.templates if template is None else template for i in range(n)]
        return [Item(self.name, rung, t, self.prompt(p, t), self.right(p), p) for p, t in zip(own, worded, strict=True)]

    def prompt(self, problem: Problem, template: int) -> str:
        return self.words[template].format_map({k: shown(x) for k, x in problem.items()})

    @abstractmethod
    def right(self, problem: Problem) -> str:
        """The right answer, as it is shown."""


def shown(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


class GSM8K(FileTask):
    """Word problems (Cobbe et al. 2021, 2110.14168): `{"question", "answer"}`, where the answer's last line is `####
    18`. The number that a text marks as its answer, or its last number, has to be equal."""

    format = "gsm8k"
    keys = ("question", "answer")
    canvas = 256
    words = (
        "{question}\nWork it out step by step, then end with a line: The answer is N.",
        "Question: {question}\nExplain your steps. Put the final number into \\boxed{{}}.\nAnswer:",
        "Solve the problem below. Finish with #### and the number.\n\n{question}",
    )

    def right(self, problem: Problem) -> str:
        return str(problem["answer"]).rpartition("####")[2].strip()

    def said(self, text: str) -> str | None:
        return stated(text)

    def grade(self, problem: Problem, text: str) -> Grade:
        wanted = number(self.right(problem))
        return Grade(wanted is not None and number(self.said(text)) == wanted)


class Math500(FileTask):
    """Competition problems (Hendrycks et al. 2021, 2103.03874; the 500 of Lightman et al. 2023, 2305.20050):
    `{"problem", "answer"}`. The marked answer of a text has to be equal after normalisation."""

    format = "math500"
    keys = ("problem", "answer")
    canvas = 512
    words = (
        "{problem}\nReason step by step, and put your final answer within \\boxed{{}}.",
        "Problem: {problem}\nShow your work. The last line has to be: The answer is $ANSWER$.\nSolution:",
    )

    def right(self, problem: Problem) -> str:
        return str(problem["answer"])

    def said(self, text: str) -> str | None:
        return marked(text)

    def grade(self, problem: Problem, text: str) -> Grade:
        said = self.said(text)
        return Grade(said is not None and normal(said) == normal(self.right(problem)))


def block(text: str) -> str:
    """The first fenced block of a text, or all of it if there is none."""
    found = re.search(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", text, re.DOTALL | re.IGNORECASE)
    return found[1] if found else text


class Code(FileTask):
    """Tasks whose answers are programs that have to pass tests; they are run in a sandbox."""

    runs_code = True
    canvas = 512

    @abstractmethod
    def program(self, problem: Problem, text: str) -> str:
        """The code that the model wrote, after any code that has to precede it."""

    @abstractmethod
    def tests(self, problem: Problem) -> tuple[str, Sequence[str]]:
        """The tests, and the names in them that the program defines although Python has them too."""

    def said(self, text: str) -> str | None:
        return block(text)

    def grade(self, problem: Problem, text: str) -> Grade:
        tests, own = self.tests(problem)
        return Grade(passes(self.program(problem, text), tests, own=own))


class HumanEval(Code):
    """Functions to complete (Chen et al. 2021, 2107.03374): `{"prompt", "entry_point", "test", "canonical_solution"}`.
    The answer is a whole function, or continues the prompt up to the first line that is not indented."""

    format = "humaneval"
    keys = ("prompt", "entry_point", "test", "canonical_solution")
    words = (
        "Complete this Python function. Answer with the whole function in a code block.\n\n```python\n{prompt}```",
        "{prompt}",
    )

    def right(self, problem: Problem) -> str:
        return str(problem["canonical_solution"])

    def program(self, problem: Problem, text: str) -> str:
        code, name = block(text), problem["entry_point"]
        if re.search(rf"^def {re.escape(name)}\b", code, re.MULTILINE):
            head = str(problem["prompt"]).partition(f"def {name}")[0]  # imports, and other definitions before it
            return f"{head}\n{code}"
        return str(problem["prompt"]) + until_outdented(code)

    def tests(self, problem: Problem) -> tuple[str, Sequence[str]]:
        name = problem["entry_point"]
        return f"{problem['test']}\n\ncheck({name})", [name] if hasattr(builtins, name) else []


def until_outdented(text: str) -> str:
    """The lines up to the first one that is not indented."""
    kept: list[str] = []
    for line in text.splitlines():
        if kept and line and not line[0].isspace():
            break
        kept.append(line)
    return "\n".join(kept)


class MBPP(Code):
    """Small programs (Austin et al. 2021, 2108.07732): `{"text" or "prompt", "test_list"}`, and `test_setup_code` or
    `test_imports` if the tests need them."""

    format = "mbpp"
    keys = ("test_list",)
    words = (
        "{task}\nAnswer with Python code in a code block. It has to pass these tests:\n{test_list}",
        'Write a Python program.\n"""\n{task}\n\n{test_list}\n"""\n',
    )

    def read(self, line: bytes, number: int) -> Problem:
        problem = super().read(line, number)
        said = problem.get("text", problem.get("prompt"))
        if said is None:
            raise UsageError(f"{self.path}, line {number}, has neither 'text' nor 'prompt', and mbpp has one of them")
        return problem | {"task": said}

    def right(self, problem: Problem) -> str:
        return str(problem.get("code", ""))

    def program(self, problem: Problem, text: str) -> str:
        return "\n".join([*problem.get("test_imports", ()), block(text)])

    def tests(self, problem: Problem) -> tuple[str, Sequence[str]]:
        """The code that sets them up comes after the program, whose classes it may use (as in task 367)."""
        tests = "\n".join([*problem.get("test_imports", ()), problem.get("test_setup_code", ""), *problem["test_list"]])
        called = functions(problem["test_list"])
        return tests, sorted(called) if all(hasattr(builtins, name) for name in called) else []


def functions(tests: Sequence[str]) -> set[str]:
    """The functions that tests call by name; none of those that are no Python."""
    found = set()
    for test in tests:
        with suppress(SyntaxError):
            calls = [node.func for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
            found |= {f.id for f in calls if isinstance(f, ast.Name)}
    return found
