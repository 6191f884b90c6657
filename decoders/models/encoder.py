"""Any masked language model of transformers as a `Model`: BERT, DistilBERT, RoBERTa, ModernBERT and their kin, trained
as MDLM.

Everything on a row sees everything, output i predicts position i, and nothing is kept from forward to forward: every
forward runs the whole rows. Only the wanted positions reach the head.

transformers has no common name for what is between an encoder's last hidden states and its logits (`cls`, `lm_head`,
`vocab_transform` and `vocab_projector`, `head` and `decoder`, ...), but one common form: a masked language model runs
its base model and then maps each hidden state by itself. So the head is the model's own `forward`, run on a twin whose
base model hands back what it is given. That needs no table of architectures; `EncoderModel` checks once that it gives
what the whole model gives.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from decoders.core import Forward, Pred, Session, SessionSpec, UsageError
from decoders.models.columns import compact, widths
from decoders.models.spread import Spread


class Given(nn.Module):
    """A base model that returns the hidden states it is given. Whatever else a head looks up in its base model
    (DeBERTa-v2's takes the embeddings), it finds in the real one."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.__dict__["base"] = base  # no submodule: this one has no weights

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=cast(Any, inputs_embeds))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["base"], name)


def without_base(model: PreTrainedModel) -> PreTrainedModel:
    """A twin of a model that shares its head and has `Given` for a base; the model itself stays as it is."""
    twin = copy.copy(model)
    twin.__dict__["_modules"] = {**model._modules, model.base_model_prefix: Given(model.base_model)}
    return twin


@dataclass(frozen=True)
class EncoderWork:
    """Floating point operations of a row; a multiplication and an addition are two. Layers that share their weights
    (ALBERT) are counted once."""

    column: float
    """The linear layers of the base model, for one position."""
    pair: float
    """One layer's attention, for one position and one column that it sees."""
    halves: tuple[int | None, ...]
    """For each layer, how many columns to either side a position sees; none: all."""
    row: float
    """The head, for one row of logits."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> EncoderWork:
        config: Any = model.config
        base = set(model.base_model.modules())
        linear = [(m in base, m.weight.numel()) for m in model.modules() if isinstance(m, nn.Linear)]
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
        halves = tuple(config.sliding_window if kind == "sliding_attention" else None for kind in kinds)
        inner, head = (2.0 * sum(n for within, n in linear if within is where) for where in (True, False))
        return cls(inner, 4.0 * config.hidden_size, halves, head)

    def __call__(self, columns: Tensor, wanted: Tensor) -> Tensor:
        """(B,) double, of rows with `columns (B,)` of which `wanted (B,)` reach the head."""
        n = columns.double()
        pairs = torch.zeros_like(n)
        for half in self.halves:
            h = n - 1 if half is None else (n - 1).clamp(max=half)
            pairs = pairs + n * (2 * h + 1) - h * (h + 1)  # the two ends of the row see less on one side
        return self.column * n + self.pair * pairs + self.row * wanted.double()


class EncoderModel:
    """A `*ForMaskedLM` class of transformers: bidirectional, aligned, without a store of keys and values.

    Raises `UsageError` for a model that is no encoder with a head that maps each position by itself.
    """

    block_causal = False
    causal_context = False
    attention_block: int | None = None
    capabilities: frozenset[str] = frozenset({"candidates", "movable"})
    """Nothing else: attention is bidirectional in the models' own code, and a row is run as a whole."""
    column_bytes = 0

    def __init__(self, model: PreTrainedModel, *, mask_id: int, stop_ids: tuple[int, ...] = ()) -> None:
        self.model = model.eval()
        self.mask_id: int | None = mask_id
        self.stop_ids = stop_ids
        self.vocab = int(model.config.vocab_size)
        self.takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        self.twin = without_base(model)
        self.work = EncoderWork.of(model)
        self.check()

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def first_position(self) -> int:
        """What the model calls the first column. RoBERTa and what descends from it count from the padding token's id
        plus one, which shows in the embeddings of the positions: they have a padding entry."""
        embeddings = getattr(self.model.base_model, "embeddings", None)
        pad = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
        return 0 if pad is None else int(pad) + 1

    @property
    def positions(self) -> int | None:
        """The longest row that it can run: its table of positions, less those before the first one; none: any."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        return None if most is None else int(most) - self.first_position

    def session(self, spec: SessionSpec) -> Session:
        return Spread(self, spec) if spec.candidates else self.forward

    @torch.inference_mode()
    def forward(self, f: Forward) -> Pred:
        W = f.want.shape[1]
        end = f.until.amax(-1)  # the row's end, here for every position
        hidden = self.states(f.tokens[:, :-1], end)  # no row reaches the bin, and there may be no position for it
        at = compact(f.want, W, widths(W))
        column = f.at.gather(1, at.clamp(max=W - 1)).clamp(max=hidden.shape[1] - 1)
        wanted = f.want.sum(-1)
        columns = torch.where(wanted > 0, end, 0)  # rows that have ended are not theirs to pay for
        logits = self.head(hidden.gather(1, column[..., None].expand(-1, -1, hidden.shape[-1])))
        return Pred(logits, at, W, (columns, torch.where(wanted > 0, self.work(columns, wanted), 0.0)))

    def states(self, tokens: Tensor, end: Tensor) -> Tensor:
        """(B, M, D) the last hidden states of `tokens (B, M)`, where each row ends at `end (B,)`."""
        return cast(Tensor, self.model.base_model(input_ids=tokens, **self.inputs(tokens, end))[0])

    def inputs(self, tokens: Tensor, end: Tensor) -> dict[str, Tensor]:
        column = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (column < end[:, None]).long()
        # explicit positions, or RoBERTa's would skip the padding tokens that a text may hold
        position = {"position_ids": (column + self.first_position).expand_as(tokens)} if self.takes_positions else {}
        return {"attention_mask": inside, **position}

    def head(self, hidden: Tensor) -> Tensor:
        """(B, N, V) logits of hidden states (B, N, D)."""
        # the class's forward: what accelerate puts in its place on an instance would run the whole model
        return cast(Tensor, type(self.model).forward(self.twin, inputs_embeds=hidden).logits)

    @torch.inference_mode()
    def check(self) -> None:
        """Two tokens, with a third one as padding: the head has to give the second one's logits from it alone, as the
        model itself does, and the padding must not matter (FNet and ConvBERT mix it in)."""
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
