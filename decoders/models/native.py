"""A transformers model object that the caller has loaded, as a `Model`."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from decoders.core import UsageError
from decoders.models.adapter import TransformersModel
from decoders.models.causal import check_attention, check_causal
from decoders.models.families import FAMILIES, Attention, Family
from decoders.models.recognition import family_of


def adapt(
    model: PreTrainedModel, mask_id: int | None, shifted: bool | None, attention: Attention | None, block: int | None,
    stop_ids: tuple[int, ...],
) -> tuple[TransformersModel, int | None]:
    """The model as a `Model`, and the size of its windows; None: one over the whole row. Raises `UsageError` if its
    training is unknown, or if it does not accept an attention mask for every pair of positions."""
    config: dict[str, Any] = model.config.to_dict()
    name = type(model).__name__
    family: Family | None
    try:
        family = family_of(config, name)
        if family.settled and mask_id is not None:  # an autoregressive class that was trained for diffusion
            family = None
    except UsageError:
        family = FAMILIES["causal_lm"] if attention == "causal" else None
        if mask_id is None and not family:
            raise UsageError(
                f"{name} is of no known diffusion family: give mask_id=..., or "
            "attention='causal' if it is autoregressive"
            ) from None
    native = is_native(model)
    if not native and not (family and family.remote):
        raise UsageError(
            f"{name} is no class of transformers' own: load its checkpoint with decoders.Generator, which runs it on "
            "one"
        )
    check_attention(model)
    if family:
        stop_ids = (*stop_ids, *family.ends) if set(stop_ids) & set(family.ends) else stop_ids
        found = config.get("mask_token_id", family.mask)
        mask_id = mask_id if mask_id is not None else found if isinstance(found, int) else None
    attentions: tuple[Attention, ...] = family.attentions if family else ("bidirectional", "block")
    if attention is not None and attention not in attentions:
        raise UsageError(f"{name} knows the attention {' or '.join(attentions)}, not {attention!r}")
    chosen: Attention = attention or attentions[0]
    window, fixed = family.blocks(config, chosen) if family else (None, None)
    vocab = int(model.config.get_text_config().vocab_size)
    if mask_id is not None and not 0 <= mask_id < vocab:
        raise UsageError(f"mask_id must be the id of one of {vocab} tokens, not {mask_id}")
    if mask_id is not None and mask_id in stop_ids:
        raise UsageError(
            f"the id {mask_id} is that of the mask token and of one that ends a text: say mask_id= or eos_token_id="
        )
    if shifted is None:
        shifted = chosen == "causal" or (family is not None and family.shifted)
    adapted = TransformersModel(
        model, mask_id=mask_id, stop_ids=tuple(dict.fromkeys(stop_ids)), shifted=shifted,
        block_causal=chosen != "bidirectional", attention_block=fixed, native=native,
        causal_context=family is not None and family.causal_context and chosen == "block",
        reordered=family is not None and family.reordered,
    )
    if chosen == "causal":
        check_causal(adapted)
    return adapted, block or window


def is_native(model: object) -> bool:
    """Whether it is an object of one of transformers' own classes."""
    return any(c.__module__.startswith("transformers.models.") for c in type(model).__mro__)
