"""A model object that is already in memory, as a `Loaded`: `decoders.wrap(model, tokenizer, mask_id=...)`.

A class of transformers' own is run like a checkpoint of it, with a store of keys and values; so is one with adapters of
peft. Any other class (such as the code in LLaDA's or Dream's repositories) is run by its plain forward,
`model(input_ids=...)`; see `PlainModel`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoders.core import Forward, Pred, Session, SessionSpec, UsageError
from decoders.models.columns import compact, widths
from decoders.models.families import Attention, Family
from decoders.models.ids import EXPAND
from decoders.models.loaded import Loaded
from decoders.models.native import adapt, is_native
from decoders.models.reading import line
from decoders.models.recognition import family_of
from decoders.models.spread import Spread
from decoders.models.tokenizer import JsonTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from decoders.models.adapter import TransformersModel


def wrap(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, *, mask_id: int | None = None, shifted: bool | None = None,
    attention: Attention | None = None, block: int | None = None, length: int = 128,
) -> Loaded:
    """A model that is already loaded, and its tokenizer, for `Generator`, `decode` and the benches.

    `mask_id`: by default that of the config, the family or the tokenizer. `shifted`: the output i predicts position
    i + 1. `attention`: the mask that the model was trained with, `causal` for an autoregressive one. `block`: size of
    the windows. `length`: the default number of positions after a prompt. Raises `UsageError` for a tokenizer that is
    not a fast one of transformers, a model with an unknown mask token, and one whose plain forward is causal."""
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise UsageError(f"{type(tokenizer).__name__} is no fast tokenizer of transformers, which wrap needs")
    model = adapted_network(model)
    text = JsonTokenizer(copy.deepcopy(tokenizer), tokenizer.special_tokens_map)
    if mask_id is None and attention != "causal":
        mask_id = text.named("mask_token")
    adapted: TransformersModel | PlainModel
    if is_native(model):
        adapted, block = adapt(model, mask_id, shifted, attention, block, text.ends)  # type: ignore[arg-type]
    else:
        adapted = plain(model, mask_id, shifted, attention, text.ends)
    unknown, expand = text.named("unk_token"), text.core.token_to_id(EXPAND)
    if not adapted.block_causal:
        adapted.expand_id = expand
    never = (adapted.mask_id, unknown, expand, *text.absent(adapted.vocab))
    forbidden = tuple(dict.fromkeys(t for t in never if t is not None and t not in adapted.stop_ids))
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return Loaded(adapted, text, type(model).__name__, length, block, positions, forbidden, text.chat)


def adapted_network(model: nn.Module) -> nn.Module:
    """The transformers network inside a model of peft, with its adapters; any other model unchanged. Raises
    `UsageError` for adapters that put vectors before the tokens, because the network alone would leave them out."""
    base = getattr(model, "get_base_model", None)
    if base is None or not is_native(base()):
        return model
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise UsageError("this adapter puts learned vectors before the tokens (prompt learning), which is unknown here")
    found: nn.Module = base()
    return found


def plain(
    model: nn.Module, mask_id: int | None, shifted: bool | None, attention: Attention | None, ends: tuple[int, ...]
) -> PlainModel:
    """A model by its plain forward; settings that are not given come from the family of its config."""
    name, config = type(model).__name__, getattr(model, "config", None)
    said: dict[str, Any] = {} if config is None else config.to_dict()
    family: Family | None
    try:
        family = family_of(said, name)
    except UsageError:
        family = None
    if attention == "block" or (attention is None and family and family.attentions[0] == "block"):
        raise UsageError(
            f"{name} attends in blocks, and a plain forward cannot be told which; load its checkpoint with "
            "decoders.load"
        )
    found = said.get("mask_token_id", family.mask if family else None)
    mask_id = found if mask_id is None and isinstance(found, int) else mask_id
    if mask_id is None:
        raise UsageError(f"the mask token of {name} is unknown: give mask_id=...")
    if family and set(ends) & set(family.ends):
        ends = (*ends, *family.ends)
    shifted = (family is not None and family.shifted) if shifted is None else shifted
    return PlainModel(model, mask_id=mask_id, stop_ids=tuple(dict.fromkeys(ends)), shifted=shifted)


class PlainModel:
    """A bidirectional model by its forward of whole rows, `model(input_ids=(B, L) long)`, which gives logits (B, L, V)
    or an output that has them.

    Nothing is stored between forwards, and no attention mask is given: rows of the same length are run together. Raises
    `UsageError` for a model that cannot be run in this way, or whose forward is causal."""

    block_causal = False
    causal_context = False
    attention_block: int | None = None
    expand_id: int | None = None
    capabilities: frozenset[str] = frozenset({"candidates", "movable"})
    column_bytes = 0

    def __init__(
        self, model: nn.Module, *, mask_id: int, stop_ids: tuple[int, ...] = (), shifted: bool = False
    ) -> None:
        self.model, self.shifted = model.eval(), shifted
        self.mask_id: int | None = mask_id
        self.stop_ids = stop_ids
        self.work = 2.0 * sum(p.numel() for p in model.parameters() if p.dim() > 1)
        self.vocab = self.checked()
        if not 0 <= mask_id < self.vocab:
            raise UsageError(f"mask_id must be the id of one of {self.vocab} tokens, not {mask_id}")

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def session(self, spec: SessionSpec) -> Session:
        return Spread(self, spec) if spec.candidates else self.forward

    @torch.inference_mode()
    def forward(self, f: Forward) -> Pred:
        W, wanted = f.want.shape[1], f.want.sum(-1)
        end = torch.where(wanted > 0, f.until.amax(-1), 0)  # the row's end, here for every position
        at = compact(f.want, W, widths(W))
        column = (f.at.gather(1, at.clamp(max=W - 1)) - int(self.shifted)).clamp(min=0)
        parts = [(rows, n) for n in end.unique().tolist() if n and (rows := (end == n).nonzero().flatten()).numel()]
        done = [self.rows(f.tokens[rows, :n], column[rows]) for rows, n in parts]
        logits = torch.cat(done).new_zeros(*at.shape, self.vocab)
        for (rows, _), part in zip(parts, done, strict=True):
            logits[rows] = part
        return Pred(logits, at, W, (end, self.work * end.double()))

    def rows(self, tokens: Tensor, column: Tensor) -> Tensor:
        """(R, N, V) logits at the columns `column (R, N)` of the rows `tokens (R, L)`."""
        logits = self.logits(tokens)
        column = column.clamp(max=tokens.shape[1] - 1)
        return logits.gather(1, column[..., None].expand(-1, -1, logits.shape[-1]))

    def logits(self, tokens: Tensor) -> Tensor:
        out = self.model(input_ids=tokens)
        found: Tensor = getattr(out, "logits", out)
        return found

    @torch.inference_mode()
    def checked(self) -> int:
        """The width of the head. Raises `UsageError` unless the prediction of the first of two tokens depends on the
        second."""
        name = type(self.model).__name__
        tokens = torch.tensor([[0, 0], [0, 1]], device=self.device)
        try:
            logits = self.logits(tokens)
            one, other = logits[0, 0], logits[1, 0]
        except Exception as e:  # a foreign model may raise anything
            raise UsageError(f"{name} cannot be run by its plain forward, model(input_ids=...): {line(e)}") from e
        if torch.equal(one, other):
            raise UsageError(
                f"{name} is causal in its plain forward: a position does not see what is right of it. A causal class "
                "of transformers has to be wrapped itself, without anything around it, or loaded with decoders.load"
            )
        return int(logits.shape[-1])
