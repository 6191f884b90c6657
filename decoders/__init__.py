"""Interchangeable decoding strategies for diffusion language models.

A strategy is a `Decoder`; `get` makes one from a spec string, `decode` runs it on any `Model`. Importing this package imports
torch and nothing heavier: `generate`, which is for transformers, imports that when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from decoders.core.decoder import Decoder, Query
from decoders.core.errors import UsageError
from decoders.core.forward import Cache, Forward, Model, Plan, ask, tell
from decoders.core.loop import Row, decode
from decoders.core.options import option
from decoders.core.pred import Pred
from decoders.core.rules import Suppress
from decoders.core.select import above, first_run, leftmost, only, rank, share, top, until_first
from decoders.core.state import State, choose
from decoders.core.windows import Blocks
from decoders.generator import Generation, Generator
from decoders.models.source import load_model as load
from decoders.registry import get, get_cache, spec_of

if TYPE_CHECKING:
    from decoders.hf import generate

__all__ = [
    "Blocks", "Cache", "Decoder", "Forward", "Generation", "Generator", "Model", "Plan", "Pred", "Query", "Row", "State", "Suppress",
    "UsageError", "above", "ask", "choose", "decode", "first_run", "generate", "get", "get_cache", "leftmost", "load", "only", "option",
    "rank", "share", "spec_of", "tell", "top", "until_first",
]


def __getattr__(name: str) -> Any:
    if name == "generate":
        from decoders.hf import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
