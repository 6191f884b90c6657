"""A task that is read from a file."""

from decoders_bench.tasks import FileTask, Grade, Problem


class Capitals(FileTask):
    """Capitals of countries, a JSON object a line: {"country": ..., "capital": ...}."""

    format = "capitals"
    keys = ("country", "capital")
    canvas = 16
    words = ("What is the capital of {country}? Answer with its name alone.", "The capital of {country} is")

    def right(self, problem: Problem) -> str:
        return str(problem["capital"])

    def said(self, text: str) -> str | None:
        return text.strip().rstrip(".")

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(self.said(text) == self.right(problem))
