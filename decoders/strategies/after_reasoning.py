"""Two models: another one reasons, and this one decodes the answer after its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Around, Attested, Decoder, option
from decoders.reasoning.reasoner import BUDGET
from decoders.strategies.boundary import check_boundary
from decoders.strategies.fast_dllm import Threshold


@dataclass(frozen=True)
class AfterReasoning(Around):
    """Decode the answer with any decoder after another model has written the reasoning: the plan conditioning of St
    Sauver 2026, 2603.13243.

    The reasoning is written before decoding starts. A host that has texts (`Generator`, `decoders generate`) asks the
    `reasoner` first, and puts its text and the `boundary` between the prompt and the answer; a host that has only token
    ids refuses the strategy. So a spec names the reasoner, and two reasoners can be compared like any two
    strategies."""

    source: ClassVar[str] = "St Sauver 2026, arXiv 2603.13243"
    attested: ClassVar[Attested] = "abstract"
    everything: ClassVar[bool] = True
    keeps_law: ClassVar[bool] = True
    reasoner: str | None = option(None, "who reasons: hf:DIRECTORY, http://host:port/v1#model or module:Class")
    boundary: str | tuple[int, ...] | None = option(
        None, "ends the reasoning, and stands before the answer; ids are written 12+7"
    )
    budget: int | None = option(None, f"tokens of the reasoner at most; none: {BUDGET}", min=1)
    base: Decoder = option(Threshold(), "decodes the answer")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_boundary("AfterReasoning", self.boundary)
