"""Interchangeable decoding strategies for diffusion language models.

A strategy is a `Decoder`; `get` makes one from a spec string, `decode` runs it on any `Model`. Importing this package imports
torch and nothing heavier: `generate`, which is for transformers, imports that when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from decoders.core import (
    Around,
    Blocks,
    Cache,
    Decoder,
    Forward,
    Model,
    Plan,
    Pred,
    Query,
    Row,
    State,
    Suppress,
    UsageError,
    above,
    apply,
    choose,
    decode,
    first_run,
    leftmost,
    only,
    option,
    prepare,
    rank,
    refresh,
    share,
    top,
    until_first,
)
from decoders.generator import Generator
from decoders.models.source import load_model as load
from decoders.registry import get, get_cache, spec_of
from decoders.text.records import Generation

if TYPE_CHECKING:
    from decoders.hf import generate

__all__ = [
    "Around",
    "Blocks",
    "Cache",
    "Decoder",
    "Forward",
    "Generation",
    "Generator",
    "Model",
    "Plan",
    "Pred",
    "Query",
    "Row",
    "State",
    "Suppress",
    "UsageError",
    "above",
    "apply",
    "choose",
    "decode",
    "first_run",
    "generate",
    "get",
    "get_cache",
    "leftmost",
    "load",
    "only",
    "option",
    "prepare",
    "rank",
    "refresh",
    "share",
    "spec_of",
    "top",
    "until_first",
]


def __getattr__(name: str) -> Any:
    if name == "generate":
        from decoders.hf import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
