"""A network that denoises latents as a `Model`.

A row is run whole in every forward: given positions have their clean latents, as in Diffusion-LM's infilling, and the
others their present latents. Nothing is stored between forwards.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from decoders.core import Forward, ModelDefaults, Pred, Session, SessionSpec, Space


class Said(NamedTuple):
    """The output of a network for every position of its rows."""

    logits: Tensor  # (B, L, V)
    point: Tensor | None = None  # (B, L, D)  the clean latent; None: the mean of the table
    offset: Tensor | None = None  # (V,)  see `Pred.offset`


class Network(Protocol):
    """Denoises rows."""

    @property
    def table(self) -> Tensor:
        """(V, D): the latent of each token."""

    def __call__(self, z: Tensor, said: Tensor, level: Tensor, sees: Tensor) -> Said:
        """The output for rows `z (B, L, D)` at the levels `level (B,)`, with the last prediction of them, `said (B, L,
        D)`, and the attention mask `sees (B, L, L)`."""


class WholeRows(ModelDefaults):
    """The base of models of latents: every forward runs whole rows, and nothing is stored."""

    mask_id: int | None = None
    capabilities = frozenset({"movable"})

    def session(self, spec: SessionSpec) -> Session:
        return self.forward

    def forward(self, f: Forward) -> Pred:
        raise NotImplementedError


class LatentModel(WholeRows):
    """A network of latents, with the levels of its training. `network` is also a module."""

    def __init__(self, network: Network, space: Space, stop_ids: tuple[int, ...] = ()) -> None:
        assert isinstance(network, nn.Module)
        self.network, self.space, self.stop_ids = network.eval().requires_grad_(False), space, stop_ids
        self.table = network.table
        self.vocab = len(self.table)
        self.work = 2.0 * sum(p.numel() for m in network.modules() if isinstance(m, nn.Linear) for p in [m.weight])

    @property
    def device(self) -> torch.device:
        return self.table.device

    @torch.inference_mode()
    def forward(self, f: Forward) -> Pred:
        assert f.latents is not None
        assert f.level is not None
        L, W = f.tokens.shape[1] - 1, f.at.shape[1]  # less the bin
        clean, given = self.table[f.tokens[:, :L]], f.given[:, :L, None]

        def row(x: Tensor) -> Tensor:
            there = clean.new_zeros(len(x), L + 1, x.shape[-1]).scatter(1, f.at[..., None].expand_as(x), x.to(clean))
            return torch.where(given, clean, there[:, :L])

        column = torch.arange(L, device=f.tokens.device)
        sees = (column < f.until[:, :L, None]) | (column == column[:, None])
        said = self.network(row(f.latents.z), row(f.latents.said), f.level, sees)
        here = f.at.clamp(max=L - 1)[..., None]
        logits, point = (
            None if x is None else x.gather(1, here.expand(-1, -1, x.shape[-1])) for x in (said.logits, said.point)
        )
        assert logits is not None
        columns = torch.where(f.want.any(-1), f.until[:, :L].amax(-1), 0)
        cost = columns, self.work * columns.double()
        return Pred(logits, f.place, W, cost, table=self.table, point=point, offset=said.offset)


def prior(z: Tensor, level: Tensor, table: Tensor) -> Tensor:
    """(B, L, V): what z itself says of each token, alpha / sigma² z E, which is added to the logits (Gulrajani and
    Hashimoto 2023, 2305.18619, section 4.2)."""
    scale = (-level).sigmoid().sqrt() / level.sigmoid()
    return scale.to(z.dtype)[:, None, None] * (z @ table.T)
