"""Reasonings: the texts that a reasoner writes between prompts and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoders.core import UsageError
from decoders.reasoning.base import Reasoner, ReasonerError, Reasoning
from decoders.text.encoding import Encoding, Prompt


@dataclass(frozen=True)
class Reasons:
    """A reasoner for the prompts of a model, and how many tokens it may write."""

    reasoner: Reasoner
    budget: int
    encoding: Encoding

    def __call__(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], length: int | None, infill: bool
    ) -> list[Reasoning | UsageError]:
        """Each prompt's reasoning, or an error. If the prompt itself cannot be decoded, the reasoner is not asked; it
        is a `ReasonerError` if the reasoner failed, or if the prompt cannot be decoded with its text. Raises
        `UsageError` for errors that concern all prompts."""
        if infill:
            why = "a reasoner writes text between a prompt and its answer"
            raise UsageError(f"{why}, so it cannot be used with infill")
        found = {i: problem for i, p in enumerate(prompts) if (problem := self.problem(p, length))}
        todo = [i for i in range(len(prompts)) if i not in found]
        asked, keys = [prompts[i] for i in todo], [seeds[i] for i in todo]
        boundary = self.encoding.boundary
        made = self.reasoner.write(asked, seeds=keys, boundary=boundary, budget=self.budget) if todo else []
        written = {i: self.usable(prompts[i], length, x) for i, x in zip(todo, made, strict=True)}
        return [found[i] if i in found else written[i] for i in range(len(prompts))]

    def usable(self, prompt: Prompt, length: int | None, made: Reasoning | ReasonerError) -> Reasoning | ReasonerError:
        """The reasoning, or the error why the prompt cannot be decoded with it."""
        problem = None if isinstance(made, ReasonerError) else self.problem(prompt, length, made)
        return ReasonerError(str(problem)) if problem else made

    def problem(self, prompt: Prompt, length: int | None, reasoning: Reasoning | None = None) -> UsageError | None:
        """The error why a prompt cannot be decoded, if there is one."""
        try:
            self.encoding.encode(prompt, length, reasoning=reasoning)
        except UsageError as e:
            return e
        return None
