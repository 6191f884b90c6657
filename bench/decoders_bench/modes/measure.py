"""Strategies with more than one kind of forward pass compared with those with one, on `nano`: autoregression,
thresholds, self-speculation under every routing policy, and hybrids in every mode; all on the same items, so that any
two can be compared item by item.

Blocks are those of `nano:attention=block`; `full` is one window over the whole row of the bidirectional `nano`. On
chain, a hybrid reasons up to ` #`, which the answer follows; on the other tasks, which have no such mark, it reasons
for half of the row. The reasoner of `after_reasoning` is `nano` itself, decoding left to right: the measurement is
about the transition, not about a better planner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from decoders import Forward, Generator, Pred
from decoders.core import Canvas
from decoders.job import Batch
from decoders.models.loaded import Messages
from decoders.reasoning.base import Reasoning, until
from decoders_bench.common.models import loaded
from decoders_bench.common.workers import spread
from decoders_bench.tasks import GENERATED, items

THRESHOLDS = tuple(f"threshold:tau={tau}" for tau in (0.7, 0.8, 0.9, 0.95))
SPECULATIVE = (
    "s2d2", "s2d2:route=never", "s2d2:route=(min_span:span=4)", "s2d2:route=score",
    "s2d2:route=(hysteresis:on=1.0,off=-5.0,dynamic=true)", "s2d2:route=ucb", "coupled",
)
HYBRIDS = ("hybrid:mode=block", "hybrid:mode=block,ar=wide", "hybrid:mode=frontier,w=4", "after_reasoning")
DECODERS = ("left_to_right", *THRESHOLDS, *SPECULATIVE, *HYBRIDS)
BLOCKS = (4, 8, 16, None)
"""None: one window over the whole row."""
MARK = " #"
"""The token that ends the written work of a chain."""


@dataclass(frozen=True)
class Trial:
    """A decoder on a task."""

    task: str
    rung: str
    decoder: str
    block: int | None
    n: int = 50
    seed: int = 0
    batch: int = 25

    @property
    def model(self) -> str:
        return "nano" if self.block is None else "nano:attention=block"

    @property
    def spec(self) -> str | None:
        """The decoder with the options for its task; None if it does not support this attention, or this task."""
        ends = f'boundary="{MARK}"' if self.task == "chain" else f"budget={GENERATED[self.task].length[self.rung] // 2}"
        if self.decoder.startswith("after_reasoning"):
            nano = f"reasoner={__name__}:LeftToRightNano"
            return f"{self.decoder}:{ends},{nano}" if self.task == "chain" else None
        if not self.decoder.startswith("hybrid"):
            return self.decoder
        return None if "mode=block" in self.decoder and self.block is None else f"{self.decoder},{ends}"


@dataclass(frozen=True)
class Decoded:
    """The results of a trial, item by item; forward passes and tokens of a reasoner are included. `verified`: forward
    passes that verified, and `accepted`: positions that they decided."""

    trial: Trial
    right: list[bool]
    nfe: list[int]
    tokens: list[int]
    verified: int
    accepted: int


class LeftToRightNano:
    """`nano` as a reasoner, which continues the prompt left to right up to the boundary."""

    name = "nano, left to right"

    def write(
        self, prompts: Sequence[str | Messages], *, seeds: Sequence[int], boundary: str, budget: int
    ) -> list[Reasoning]:
        texts = [p for p in prompts if isinstance(p, str)]
        ends = [boundary] if boundary else ()
        made = Generator(loaded("nano"), "left_to_right")(texts, length=min(budget, 64), seeds=list(seeds), stop=ends)
        return [Reasoning(until(g.text, boundary), g.nfe, g.seconds, g.finish_reason, True, self.name) for g in made]


class Phases:
    """Counts the positions that the forward passes of each phase decide."""

    def __init__(self) -> None:
        self.verified = self.accepted = 0
        self.clock: torch.Tensor | None = None

    def begin(self, batch: Batch) -> None:
        self.clock = None

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        before = torch.zeros_like(c.clock) if self.clock is None else self.clock
        verifies = (c.clock > before) & (f.phase == 1)
        decided = (c.committed_at == (c.clock - 1)[:, None]).sum(-1)
        self.verified += int(verifies.sum())
        self.accepted += int(decided[verifies].sum())
        self.clock = c.clock


def run(trial: Trial) -> Decoded | None:
    """Decode and grade the items of a trial; None if the decoder does not support it."""
    if trial.spec is None:
        return None
    task = GENERATED[trial.task]
    chosen = items(task, trial.rung, "test", trial.n, trial.seed)
    generator = Generator(loaded(trial.model), trial.spec)
    phases = Phases()
    made = generator(
        [x.prompt for x in chosen], length=task.length[trial.rung], block=trial.block, seed=trial.seed,
        batch=trial.batch, on_batch=phases.begin, watch=phases,
    )
    texts = [(g.reasoning.text + generator.boundary if g.reasoning else "") + g.text for g in made]
    right = [task.grade(x.problem, text).exact for x, text in zip(chosen, texts, strict=True)]
    # a token of the reasoner takes a forward pass, here of the same model
    reasoned = [g.reasoning.tokens or 0 if g.reasoning else 0 for g in made]
    nfe = [g.nfe + n for g, n in zip(made, reasoned, strict=True)]
    tokens = [g.generated_tokens + n for g, n in zip(made, reasoned, strict=True)]
    verifies = generator.decoder.phases == ("draft", "verify")
    return Decoded(trial, right, nfe, tokens, phases.verified if verifies else 0, phases.accepted if verifies else 0)


def run_all(trials: Iterable[Trial], workers: int, notify: Callable[[object], None]) -> list[Decoded]:
    """The results of all trials, in their order, from `workers` processes of one thread each. Raises `UsageError` for
    an unknown decoder."""
    return [made for made in spread(run, trials, workers, notify) if made is not None]
