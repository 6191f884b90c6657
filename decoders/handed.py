"""How the arguments of `model.generate(...)` reach `decoders.generate`, which transformers calls with some of them.

A function that is given as `custom_generate` does not get `streamer`, `synced_gpus`, `assistant_model` and `tokenizer`,
and no argument of its own can stand in for them: transformers removes them by name (5.24,
`_extract_generation_mode_kwargs`). In this case alone they are looked up in the frame of transformers that holds them.
A repository on the hub gets every argument (`decoders.recipe`), and nothing is looked up.
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
"""The arguments that transformers does not pass on."""


def frame_of(function: Any) -> Mapping[str, Any] | None:
    """The local variables of the running call of `function`; None if it is not running."""
    code, frame = inspect.unwrap(function).__code__, inspect.currentframe()
    while frame and frame.f_code is not code:
        frame = frame.f_back
    return frame.f_locals if frame else None


def handed_to_transformers() -> dict[str, Any]:
    """The arguments of the calling `generate` of transformers that it does not pass on. They have to be known: if a
    streamer is overlooked, its reader waits forever."""
    found = frame_of(GenerationMixin.generate)
    return {} if found is None else {name: found[name] for name in KEPT}


class Telling(inspect.Signature):
    """The signature of a generation function. transformers reads it to find out which arguments are ours, after it has
    removed `tokenizer` for its own use. At that moment the tokenizer is put back among the arguments, so that
    transformers can read stop strings with it and passes it on."""

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
