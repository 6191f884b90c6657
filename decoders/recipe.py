"""`model.generate(..., custom_generate="ORG/NAME")`: the function that the file `custom_generate/generate.py` of a
repository on the hub calls; plugins/custom_generate/build.py writes that file."""

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
    """`decoders.generate` with all arguments of `model.generate`; it has the same arguments and result. Raises
    `UsageError`."""
    renamed(arguments)
    criteria = StoppingCriteriaList(stopping_criteria or ())
    if tokenizer is not None and (stops := arguments.pop("stop_strings", None)):
        criteria.append(StopStringCriteria(tokenizer, stops))
    bound: dict[str, Any] = {"kept": {name: arguments.get(name) for name in KEPT}}
    if tokenizer is not None:
        bound["tokenizer"] = tokenizer
    ours = partial(generate, **bound)
    # the method of the class: the object's attribute may be the running function itself
    whole: Any = getattr(type(model), "generate", GenerationMixin.generate)
    made: Tensor | GenerateOutput = whole(model, inputs, custom_generate=ours, stopping_criteria=criteria, **arguments)
    return made
