"""How the arguments of `model.generate(...)` reach `decoders.generate`, which transformers calls with some of them.

A function that is given as `custom_generate` does not get `streamer`, `synced_gpus` and `assistant_model`, nor
`tokenizer`, and no argument of its own can stand in for them (5.24, `_extract_generation_mode_kwargs`): transformers
takes them away by name. Only there are they looked up where transformers holds them. A repository on the hub gets every
argument (`decoders.recipe`), and nothing is looked up.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from transformers import GenerationMixin

from decoders.core import Cache, UsageError
from decoders.errors import OldSpelling

KEPT = "streamer", "synced_gpus", "assistant_model"
"""What transformers keeps to itself."""


def frame_of(function: Any) -> Mapping[str, Any] | None:
    """The local variables of the call of `function` that is running; none if it is not."""
    code, frame = inspect.unwrap(function).__code__, inspect.currentframe()
    while frame and frame.f_code is not code:
        frame = frame.f_back
    return frame.f_locals if frame else None


def handed_to_transformers() -> dict[str, Any]:
    """The arguments of the `generate` of transformers that called, of those that it keeps to itself; not to see a
    streamer would leave whoever reads it waiting."""
    found = frame_of(GenerationMixin.generate)
    return {} if found is None else {name: found[name] for name in KEPT}


class Telling(inspect.Signature):
    """The signature of a way of generating. transformers asks for it to find out which arguments are ours, after it has
    taken `tokenizer` away to pass it to its own functions alone; then it is put back among the arguments, so that
    transformers can read stop strings with it and hands it on."""

    @property
    def parameters(self) -> Any:
        found = frame_of(GenerationMixin._extract_generation_mode_kwargs)
        if found is not None:
            renamed(found["kwargs"])
            if (taken := found.get("generation_mode_kwargs", {}).get("tokenizer")) is not None:
                found["kwargs"].setdefault("tokenizer", taken)
        return super().parameters


def renamed(arguments: dict[str, Any]) -> None:
    """Puts a cache policy that is given by its old name under the new one, with a warning. transformers 5.24 calls the
    store of keys and values `cache`, which `past_key_values` was before. Raises `UsageError` if both names are used."""
    if not isinstance(arguments.get("cache"), str | Cache):
        return
    if arguments.get("kv_policy") is not None:
        raise UsageError("cache is the old name of kv_policy, and both are given; leave cache out")
    warnings.warn("custom_generate has kv_policy=... where it had cache=...", OldSpelling, stacklevel=2)
    arguments["kv_policy"] = arguments.pop("cache")
