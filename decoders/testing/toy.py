"""A small deterministic model in exact integer arithmetic, with the attention, cache and causality of a real one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import Attention, Forward, ModelDefaults, Pred, Session, SessionSpec
from decoders.models.spread import Spread
from decoders.stats.random import scramble, unit

CPU = torch.device("cpu")
HIDDEN = 4


@dataclass(frozen=True)
class ToyModel(ModelDefaults):
    """Two layers of hashes in place of two layers of attention; a `decoders.core.Model`.

    The state of a column in each layer is an int64 hash of its own input and of the sum of what it sees. Integer sums
    are exact and know no order, so nothing that a row does not see, neither padding nor its batch, can change a bit of
    its logits. States are stored by column and only those of `Forward.compute` are renewed, so a cache that trusts a
    stale column is found out.

    Logits are float32, uniform in [0, sharp), and those of the mask token are like any other: a model may predict it.
    It runs on any device, meta included.
    """

    capabilities = frozenset(
        "causal store attention hidden_states sight order leave_one_out candidates movable".split()
    )
    vocab: int = 11
    mask_id: int | None = 10
    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False
    causal_context: bool = False
    sharp: float = 8.0
    seed: int = 0
    device: torch.device = CPU

    def session(self, spec: SessionSpec) -> Session:
        return Spread(self, spec) if spec.candidates else ToySession(self, spec.rows, spec.columns, spec.attention)


class ToySession:
    """The stored states of one canvas, and how many forwards it has run."""

    def __init__(self, model: ToyModel, rows: int, columns: int, attention: bool = False) -> None:
        self.model, self.attention = model, attention
        self.layers = [torch.zeros(rows, columns, dtype=torch.long, device=model.device) for _ in range(2)]
        self.forwards = 0
        self.computed: list[Tensor] = []
        """(B,) long, the columns that each forward ran."""

    def take(self, rows: Tensor) -> None:
        self.layers = [stored[rows] for stored in self.layers]

    def __call__(self, f: Forward) -> Pred:
        self.forwards += 1
        self.computed.append(f.compute.sum(-1))
        column = torch.arange(f.tokens.shape[1], device=f.tokens.device)
        state = scramble(f.tokens + (column << 20) + (self.model.seed << 40))
        for i, stored in enumerate(self.layers):
            self.layers[i] = torch.where(f.compute, state, stored)
            state = scramble(self.layers[i] ^ seen(read(self.layers[i], f), f.until, f.unseen))
        # a causal row predicts from what is left of the position, any other from what the position sees
        bound = torch.where(f.causal[:, None], f.at, f.until.gather(1, f.at))
        unseen = f.unseen.gather(1, f.at[..., None].expand(-1, -1, 2)).masked_fill(f.causal[:, None, None], 0)
        unseen = torch.where(f.left_out[..., None], torch.stack([f.at, f.at + 1], -1), unseen)
        # mask tokens in all wanted places; those that are left out see them
        shadow = (f.want * scramble(f.at)).sum(-1, keepdim=True)
        here = seen(read(self.layers[1], f), bound, unseen) + scramble(f.at) + f.left_out * shadow
        vocab = torch.arange(self.model.vocab, device=f.tokens.device)
        logits = unit(scramble(scramble(here)[..., None] + vocab)).float() * self.model.sharp
        maps = self.maps(f) if self.attention else None
        return Pred(logits, f.place, f.at.shape[1], attention=maps, hidden_states=logits[..., :HIDDEN])

    def maps(self, f: Forward) -> Attention:
        """Hashes of the two columns, multiples of 1/1024 below 1/4: sums of them are exact too."""
        column = torch.arange(f.tokens.shape[1], device=f.tokens.device)
        pair = scramble(scramble(self.layers[1])[..., None] ^ self.layers[1][:, None])
        visible = ((column if f.rank is None else f.rank[:, None]) < f.until[..., None]) & f.compute[..., None]
        unseen = (column >= f.unseen[..., :1]) & (column < f.unseen[..., 1:])
        weights = torch.where(visible & ~unseen, (pair & 255).float() / 1024, 0)
        return Attention(weights, torch.where(f.compute, column, f.tokens.shape[1] - 1))


def read(state: Tensor, f: Forward) -> Tensor:
    """(B, L) long: `state (B, L)` in the order in which the columns are read."""
    return state if f.rank is None else torch.zeros_like(state).scatter(1, f.rank, state)


def seen(state: Tensor, until: Tensor, unseen: Tensor) -> Tensor:
    """(B, K) long: the sum of `state (B, L)` over the columns left of `until (B, K)`, less the stretch that is `unseen
    (B, K, 2)`."""
    total = torch.nn.functional.pad(state.cumsum(-1), (1, 0))
    since, to = (total.gather(1, edge) for edge in unseen.unbind(-1))
    return total.gather(1, until.clamp(min=0)) - (to - since)
