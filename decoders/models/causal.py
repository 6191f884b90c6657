"""Checks that a transformers class accepts an attention mask for each position, and that a causal one follows it.

`TransformersModel` gives a model one attention mask, the positions, and its own store of keys and values, and applies
the head to the last hidden states itself. Most autoregressive models of transformers work with that; those with sliding
windows, recurrent layers, linear biases, or further operations after the head do not.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from decoders.core import UsageError
from decoders.models.configs import ROPES
from decoders.models.reading import line
from decoders.models.scatter import ScatterCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoders.models.adapter import TransformersModel

LENGTH, FIRST = 8, 5
"""The tokens on which a causal model is tested, and the number of them in the first forward."""


def check_attention(model: PreTrainedModel) -> None:
    """Raises `UsageError` unless every layer accepts an attention mask for each position."""
    config: Any = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    if layers:
        found = f"has {', '.join(sorted(layers))}"
    elif window:
        found = f"has a sliding window of {window}"
    elif (
        model.config.is_encoder_decoder or "position_ids" not in inspect.signature(model.base_model.forward).parameters
    ):
        found = "is another kind of network"
    else:
        return
    raise UsageError(f"{type(model).__name__} cannot be told which positions see which, in all layers: it {found}")


def check_causal(adapted: TransformersModel) -> None:
    """Raises `UsageError` for an autoregressive model whose rotary embedding depends on how long a row is, or whose
    logits from two forwards with our mask and store differ from those of one plain forward."""
    model, name = adapted.model, type(adapted.model).__name__
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    if (kind := rope.get("rope_type", "default")) not in ROPES:
        raise UsageError(f"{name} has the rotary embedding {kind!r}; known is {', '.join(ROPES)}")
    tokens = (torch.arange(LENGTH, device=adapted.device) % adapted.vocab)[None]
    try:
        with torch.inference_mode():
            own: Tensor = model(input_ids=tokens, use_cache=False).logits
            ours = in_two_forwards(adapted, tokens)
            error = (ours - own).abs().max() if ours.shape == own.shape else torch.tensor(torch.inf)
    except Exception as e:  # another kind of network may raise anything
        raise UsageError(f"{name} cannot be run with a mask of attention and a store of ours: {line(e)}") from e
    if not error <= torch.finfo(own.dtype).eps ** 0.5 * own.abs().max():
        raise UsageError(
            f"{name} gives other logits with a mask of attention and a store of ours than by itself: it is no "
            "transformer whose head alone makes them"
        )


def in_two_forwards(adapted: TransformersModel, tokens: Tensor) -> Tensor:
    """(1, L, V) logits, the first `FIRST` tokens in a forward before the others."""
    place = torch.arange(tokens.shape[1] + 1, device=tokens.device)
    cache, out = ScatterCache(len(place)), []
    for at in (place[:FIRST], place[FIRST:-1]):
        cache.index = at[None]
        states, _ = adapted.states(tokens[:, at], at[None], place <= at[None, :, None], cache)
        out.append(adapted.head(states))
    return torch.cat(out, 1)
