"""Any decoder-only model of transformers as a `Model`: explicit positions, one additive 4-D mask, scattered keys and values.

Columns of the attention are those of the canvas and, for sessions that may be asked causally, one probe per window position. A
probe is a mask token at position i that sees the columns left of i and itself, and is seen by nobody: the prediction of i from
what is left of it, for models whose output i predicts position i. Models whose output i predicts position i + 1 (`shifted`)
need none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoders.core.forward import Forward, Session
from decoders.core.pred import Pred
from decoders.models.scatter import ScatterCache


def compact(where: Tensor, pad: int) -> Tensor:
    """(B, M) long: the columns that hold, left to right, then `pad`; M is that of the fullest row."""
    M = max(int(where.sum(-1).max()), 1)
    order = (~where).to(torch.uint8).argsort(dim=-1, stable=True)[:, :M]
    return torch.where(where.gather(1, order), order, pad)


class TransformersModel:
    """A causal-LM class of transformers, run with whatever attention is asked of it.

    `mask_id`: None if the checkpoint has no mask token. `shifted`: its output i predicts position i + 1. `block_causal`: blocks
    see no later block; otherwise everything on a row sees everything.
    """

    def __init__(
        self, model: PreTrainedModel, *, mask_id: int | None, stop_ids: tuple[int, ...] = (), shifted: bool = False,
        block_causal: bool = False,
    ) -> None:
        self.model = model.eval()
        self.mask_id, self.stop_ids, self.shifted, self.block_causal = mask_id, stop_ids, shifted, block_causal
        self.vocab = int(model.config.vocab_size)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def session(self, rows: int, columns: int, width: int, causal: bool) -> Session:
        return TransformersSession(self, columns, width if causal and not self.shifted else 0)

    def hidden(self, tokens: Tensor, position: Tensor, sees: Tensor, cache: ScatterCache | None = None) -> Tensor:
        """(B, M, D) the last hidden states of `tokens (B, M)` at `position (B, M)`, where `sees (B, M, K)` says which of the K
        stored columns each attends to; without a cache the columns are the tokens themselves."""
        lowest = torch.finfo(self.model.dtype).min
        bias = torch.zeros(sees.shape, dtype=self.model.dtype, device=sees.device).masked_fill(~sees, lowest)[:, None]
        out = self.model.base_model(
            input_ids=tokens, attention_mask=bias, position_ids=position, past_key_values=cache, use_cache=cache is not None
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def head(self, hidden: Tensor) -> Tensor:
        """(..., V) logits of hidden states."""
        return self.model.get_output_embeddings()(hidden)  # type: ignore[no-any-return]


class TransformersSession:
    """The keys and values of one canvas, and the forward that reads and writes them."""

    def __init__(self, owner: TransformersModel, columns: int, probes: int) -> None:
        self.owner, self.columns, self.probes = owner, columns, probes
        self.cache = ScatterCache(columns + probes)
        self.computed: list[int] = []
        """Columns run, per forward."""

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        (B, L), W, shift = f.tokens.shape, f.want.shape[1], int(self.owner.shifted)
        bin_ = L - 1
        column = torch.arange(L, device=f.tokens.device)
        source = (f.at - shift).clamp(min=0)  # the column whose output is the prediction
        tokens, until, compute, position = f.tokens, f.until, f.compute, column.expand(B, L)
        if shift:
            compute = compute.scatter(1, torch.where(f.want, source, bin_), True)
        elif self.probes:
            probe = f.want & f.causal[:, None]
            place = torch.arange(W, device=f.tokens.device)
            source = torch.where(probe, L + place, source)
            tokens = torch.cat([tokens, torch.full_like(f.at, self.owner.mask_id or 0)], 1)
            until, position = torch.cat([until, f.at], 1), torch.cat([position, f.at], 1)
            compute = torch.cat([compute, probe], 1)
        compute = compute.index_fill(1, torch.tensor([bin_], device=compute.device), False)
        index = compact(compute, bin_)
        self.computed.append(int(compute.sum()))
        key = torch.arange(L + self.probes, device=f.tokens.device)
        sees = (key < until.gather(1, index)[..., None]) | (key == index[..., None])
        self.cache.index = index
        hidden = self.owner.hidden(tokens.gather(1, index), position.gather(1, index), sees, self.cache)

        at = compact(f.want, W)
        order = torch.arange(index.shape[1], device=index.device).expand_as(index)
        slot = torch.zeros_like(compute, dtype=torch.long).scatter(1, index, order)
        wanted = slot.gather(1, source.gather(1, at.clamp(max=W - 1)))
        return Pred(self.owner.head(hidden.gather(1, wanted[..., None].expand(-1, -1, hidden.shape[-1]))), at, W)
