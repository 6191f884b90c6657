"""Interchangeable decoding strategies for diffusion language models.

A strategy is a `Decoder`; `get` makes one from a spec string, `decode` runs it on any `Model`. Importing this package
imports nothing else: a name is imported when it is first used, with torch and nothing heavier, except for `generate`
and `wrap`, which need transformers.
"""

from __future__ import annotations

from importlib import import_module

# type checkers know this name; typing is not imported, so that the command can handle interrupts as early as possible
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from decoders.constraints.base import Constraint
    from decoders.core import (
        Around,
        Attention,
        Attested,
        Blocks,
        Cache,
        Candidates,
        Canvas,
        Decoder,
        Exact,
        Forward,
        Latents,
        Model,
        Part,
        Plan,
        Pred,
        Query,
        Row,
        Rows,
        Rule,
        Sight,
        Space,
        State,
        Suppress,
        UsageError,
        Whole,
        Windows,
        above,
        alpha,
        apply,
        asks,
        best,
        best_of_runs,
        check_ids,
        choose,
        either,
        first_run,
        inherit,
        just_decided,
        leftmost,
        mapped,
        must_recompute,
        near,
        only,
        option,
        prepare,
        rank,
        refresh,
        sees_any,
        share,
        sigma,
        top,
        until_first,
        view,
        within_bound,
    )
    from decoders.decoding import decode
    from decoders.generator import Generator
    from decoders.hf import generate
    from decoders.models.families import Family
    from decoders.models.held import wrap
    from decoders.models.source import load_model as load
    from decoders.registry import get, get_cache, spec_of
    from decoders.text.records import Generation

__all__ = [
    "Around",
    "Attention",
    "Attested",
    "Blocks",
    "Cache",
    "Candidates",
    "Canvas",
    "Constraint",
    "Decoder",
    "Exact",
    "Family",
    "Forward",
    "Generation",
    "Generator",
    "Latents",
    "Model",
    "Part",
    "Plan",
    "Pred",
    "Query",
    "Row",
    "Rows",
    "Rule",
    "Sight",
    "Space",
    "State",
    "Suppress",
    "UsageError",
    "Whole",
    "Windows",
    "above",
    "alpha",
    "apply",
    "asks",
    "best",
    "best_of_runs",
    "check_ids",
    "choose",
    "decode",
    "either",
    "first_run",
    "generate",
    "get",
    "get_cache",
    "inherit",
    "just_decided",
    "leftmost",
    "load",
    "mapped",
    "must_recompute",
    "near",
    "only",
    "option",
    "prepare",
    "rank",
    "refresh",
    "sees_any",
    "share",
    "sigma",
    "spec_of",
    "top",
    "until_first",
    "view",
    "within_bound",
    "wrap",
]

PLACES = {
    "Constraint": "decoders.constraints.base", "Family": "decoders.models.families",
    "Generation": "decoders.text.records", "Generator": "decoders.generator", "decode": "decoders.decoding",
    "generate": "decoders.hf", "get": "decoders.registry", "get_cache": "decoders.registry",
    "load": "decoders.models.source", "spec_of": "decoders.registry", "wrap": "decoders.models.held",
}
"""The modules of names that are not from `decoders.core`."""
ELSEWHERE = {"load": "load_model"}
"""Names that are different in their modules."""


def __getattr__(name: str) -> Any:
    """One of the names above, or a module."""
    try:
        if name not in __all__:
            return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as e:
        if e.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = getattr(import_module(PLACES.get(name, "decoders.core")), ELSEWHERE.get(name, name))
    globals()[name] = found
    return found
