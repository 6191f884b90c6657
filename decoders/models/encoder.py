"""Any masked language model of transformers as a `Model`: BERT, DistilBERT, RoBERTa, ModernBERT and their kin, trained
as MDLM.

Attention is bidirectional, output i predicts position i, and nothing is stored: every forward runs whole rows. Only the
wanted positions reach the head.

transformers has no common name for the layers between an encoder's last hidden states and its logits (`cls`, `lm_head`,
`vocab_transform` and `vocab_projector`, `head` and `decoder`, ...), but a common form: a masked language model runs its
base model and then maps each hidden state by itself. So the head is the model's own `forward`, run on a copy whose base
model returns the hidden states that it is given. This needs no table of architectures; `EncoderModel` checks once that
it gives the logits of the whole model.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from decoders.core import UsageError
from decoders.models.rows import RowModel, RowWork


class Given(nn.Module):
    """A base model that returns the hidden states it is given. Other attributes that a head uses (DeBERTa-v2's reads
    the embeddings) come from the real base model."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.__dict__["base"] = base  # no submodule: this one has no weights

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=cast(Any, inputs_embeds))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["base"], name)


def without_base(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model that shares its head and has `Given` as its base; the model itself is unchanged."""
    twin = copy.copy(model)
    twin.__dict__["_modules"] = {**model._modules, model.base_model_prefix: Given(model.base_model)}
    return twin


def work_of(model: PreTrainedModel) -> RowWork:
    """Layers that share their weights (ALBERT) are counted once."""
    config: Any = model.config
    base = set(model.base_model.modules())
    linear = [(m in base, m.weight.numel()) for m in model.modules() if isinstance(m, nn.Linear)]
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    halves = tuple(config.sliding_window if kind == "sliding_attention" else None for kind in kinds)
    inner, head = (2.0 * sum(n for within, n in linear if within is where) for where in (True, False))
    return RowWork(inner, 4.0 * config.hidden_size, halves, head)


class EncoderModel(RowModel):
    """A `*ForMaskedLM` class of transformers: bidirectional, aligned, without a store of keys and values.

    Raises `UsageError` for a model that is no encoder with a head that maps each position by itself.
    """

    def __init__(self, model: PreTrainedModel, *, mask_id: int, stop_ids: tuple[int, ...] = ()) -> None:
        self.model = model.eval()
        self.mask_id: int | None = mask_id
        self.stop_ids = stop_ids
        self.vocab = int(model.config.vocab_size)
        self.takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        self.twin = without_base(model)
        self.work = work_of(model)
        self.check()

    @property
    def first_position(self) -> int:
        """The position of the first column. RoBERTa and its descendants count from the padding token's id plus one;
        their position embeddings have a padding entry, by which they are recognised."""
        embeddings = getattr(self.model.base_model, "embeddings", None)
        pad = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
        return 0 if pad is None else int(pad) + 1

    @property
    def positions(self) -> int | None:
        """The longest row that it can run: the size of its position table, less the positions before the first one;
        None: any."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        return None if most is None else int(most) - self.first_position

    def states(self, tokens: Tensor, end: Tensor) -> Tensor:
        return cast(Tensor, self.model.base_model(input_ids=tokens, **self.inputs(tokens, end))[0])

    def inputs(self, tokens: Tensor, end: Tensor) -> dict[str, Tensor]:
        column = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (column < end[:, None]).long()
        # explicit positions, or RoBERTa's would skip the padding tokens that a text may hold
        position = {"position_ids": (column + self.first_position).expand_as(tokens)} if self.takes_positions else {}
        return {"attention_mask": inside, **position}

    def head(self, hidden: Tensor) -> Tensor:
        # the class's forward: what accelerate puts in its place on an instance would run the whole model
        return cast(Tensor, type(self.model).forward(self.twin, inputs_embeds=hidden).logits)

    @torch.inference_mode()
    def check(self) -> None:
        """A test with two tokens, and a third one as padding: from the second hidden state alone the head has to give
        the model's logits, and the padding must have no effect (FNet and ConvBERT mix it in)."""
        name = type(self.model).__name__
        tokens, end = torch.tensor([[self.mask_id, 0, 0]], device=self.device), torch.tensor([2], device=self.device)
        try:
            alone = self.model(input_ids=tokens[:, :2], **self.inputs(tokens[:, :2], end)).logits
            padded = self.head(self.states(tokens, end)[:, 1:2])
        except Exception as e:  # an encoder-decoder, a model without a base model, a head that is not made of positions
            raise UsageError(
                f"{name} cannot be run as a masked language model: {next(iter(str(e).splitlines()), type(e).__name__)}"
            ) from e
        error = (
            (padded[:, 0] - alone[:, 1]).abs().max() if padded.shape == (1, 1, self.vocab) else torch.tensor(torch.inf)
        )
        if not error <= torch.finfo(alone.dtype).eps ** 0.5 * alone.abs().max():
            raise UsageError(
                f"{name} has a head that mixes positions, or sees padding: it cannot be run as a masked language model"
            )
