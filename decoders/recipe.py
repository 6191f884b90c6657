"""`model.generate(..., custom_generate="ORG/NAME")`: what the file `custom_generate/generate.py` of a repository on the
hub calls, as plugins/custom_generate/build.py writes it."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.stopping_criteria import StoppingCriteriaList, StopStringCriteria

from decoders.handed import KEPT, renamed
from decoders.hf import GenerateOutput, generate


def from_arguments(
    model: PreTrainedModel, inputs: Tensor | None = None, *, stopping_criteria: StoppingCriteriaList | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None, **arguments: Any,
) -> Tensor | GenerateOutput:
    """`model.generate` with all that it was given in hand, by `decoders.generate`, whose arguments and result these
    are. Raises `UsageError`."""
    renamed(arguments)
    criteria = StoppingCriteriaList(stopping_criteria or ())
    if tokenizer is not None and (stops := arguments.pop("stop_strings", None)):
        criteria.append(StopStringCriteria(tokenizer, stops))
    bound: dict[str, Any] = {"kept": {name: arguments.get(name) for name in KEPT}}
    if tokenizer is not None:
        bound["tokenizer"] = tokenizer
    ours = partial(generate, **bound)
    # that of the class: the object's own may be the very function that is running
    whole: Any = getattr(type(model), "generate", GenerationMixin.generate)
    made: Tensor | GenerateOutput = whole(model, inputs, custom_generate=ours, stopping_criteria=criteria, **arguments)
    return made
