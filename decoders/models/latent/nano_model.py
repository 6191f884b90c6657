"""nano-latent as a `Model`: the prompt's keys and values are stored, so that a forward costs only as much as its
window.

The text left of the window is read causally and stored; the window is run whole in every forward and sees that text and
itself. Causal rows are run by the rounder, which stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from decoders.core import Forward, Pred, Session, SessionSpec, Space
from decoders.core.model import ModelDefaults
from decoders.models.columns import compact
from decoders.models.latent.nano import Denoiser, Rounder, rounder_sees
from decoders.models.scatter import ScatterCache, store_argument

Cost = tuple[Tensor, Tensor]
POSITIONS = 1024


def body(config: Mapping[str, Any], layers: int) -> Qwen3Model:
    """Layers of Qwen3 that take what stands at the positions, and any mask."""
    heads = config["heads"]
    made = Qwen3Config(
        vocab_size=config["vocab_size"], hidden_size=config["hidden_size"], intermediate_size=config["inner"],
        num_hidden_layers=layers, head_dim=config["hidden_size"] // heads, num_attention_heads=heads,
        num_key_value_heads=heads, max_position_embeddings=POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    made._attn_implementation = "sdpa"
    return Qwen3Model(made)


class Networks(nn.Module):
    """The two networks of a checkpoint whose config.json is `config`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.denoiser = Denoiser(config, body(config, config["layers"]))
        self.rounder = Rounder(config, body(config, config["rounder_layers"]))
        self.levels = tuple(map(float, config["levels"]))

    @property
    def table(self) -> Tensor:
        return self.denoiser.table

    def space(self) -> Space:
        return Space(self.table.shape[1], self.levels)


def through(network: nn.Module, x: Tensor, sees: Tensor, position: Tensor, cache: ScatterCache | None) -> Tensor:
    """(B, M, H): what the body of a network makes of `x (B, M, H)` at `position (B, M)`, where `sees (B, M, K)`."""
    stack: Any = network.body
    bias = torch.zeros(sees.shape, dtype=x.dtype, device=x.device).masked_fill(~sees, torch.finfo(x.dtype).min)
    found: Tensor = stack(
        inputs_embeds=x, attention_mask=bias[:, None], position_ids=position, use_cache=cache is not None,
        **{store_argument(stack): cache},
    ).last_hidden_state
    return found


class NanoLatent(ModelDefaults):
    """Both networks, on rows whose windows are their latents."""

    block_causal = True
    causal_context = True
    capabilities = frozenset({"causal", "movable", "store"})

    def __init__(self, networks: Networks, space: Space, stop_ids: tuple[int, ...], mask_id: int | None) -> None:
        self.networks, self.space = networks.eval().requires_grad_(False), space
        self.stop_ids, self.mask_id, self.vocab = stop_ids, mask_id, len(networks.table)
        self.table = networks.table
        config: Any = networks.denoiser.body.config
        self.column_bytes = 2 * int(config.num_hidden_layers) * int(config.hidden_size) * self.table.element_size()

    @property
    def device(self) -> torch.device:
        return self.table.device

    def session(self, spec: SessionSpec) -> Session:
        return NanoLatentSession(self, spec)

    def work(self, network: nn.Module, positions: Tensor, pairs: Tensor) -> Cost:
        """`Pred.cost` of a network run at so many `positions (B,)`, with so many `pairs (B,)` in its attention."""
        config: Any = network.body.config  # type: ignore[union-attr]
        linear = 2.0 * sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear))
        attention = 4 * config.num_hidden_layers * config.hidden_size
        return positions, linear * positions.double() + attention * pairs.double()


class NanoLatentSession:
    """The keys and values of what is left of the windows of some rows."""

    def __init__(self, owner: NanoLatent, spec: SessionSpec) -> None:
        self.owner, self.spec = owner, spec
        self.cache = ScatterCache(spec.columns, spec.rows)
        self.held: Tensor | None = None  # (B, L) bool  columns that are stored as they are read from the left
        self.end: Tensor | None = None  # (B, 1) long  of each row's window, which causal forwards do not say

    def take(self, rows: Tensor) -> None:
        self.spec = replace(self.spec, rows=len(rows))
        self.cache.take(rows)
        self.held, self.end = (None if x is None else x[rows] for x in (self.held, self.end))

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        W, causal = f.at.shape[1], f.causal
        reach = f.until.gather(1, f.at[:, :1])  # all of a window sees up to its end
        self.end = reach if self.end is None else torch.where(causal[:, None], self.end, reach)
        inside = f.at < self.end
        width = max(int(inside.sum(-1).max()), 1)
        inside, at = inside[:, :width], f.at[:, :width]
        given = f.given.gather(1, at)[..., None]
        done = [
            part(f, inside, at, given)
            for part, asked in ((self.denoised, ~causal), (self.rounded, causal))
            if bool(asked.any())
        ]
        logits, cost = done[0]
        if len(done) == 2:
            (denoised, (columns, work)), (rounded, (ours, own)) = done
            logits = torch.where(causal[:, None, None], rounded, denoised)
            cost = torch.where(causal, ours, columns), torch.where(causal, own, work)
        return Pred(logits, f.place[:, :width], W, cost, table=self.owner.table)

    def denoised(self, f: Forward, inside: Tensor, at: Tensor, given: Tensor) -> tuple[Tensor, Cost]:
        """(B, N, V) logits of the latents in the columns `at (B, N)`, of which those `inside (B, N)` are a window's,
        and those `given (B, N, 1)` are tokens."""
        assert f.latents is not None
        assert f.level is not None
        net, L, N = self.owner.networks.denoiser, f.tokens.shape[1], at.shape[1]
        embed: Any = net.body.embed_tokens
        column, start = torch.arange(L, device=at.device), at[:, :1]
        runs = f.want.any(-1) & ~f.causal
        left = (column < start) & runs[:, None]
        held = torch.zeros_like(left) if self.held is None else self.held & (column < start)
        stale = (f.compute | ~held) & left
        self.held = held | stale
        z, said = (x[:, :N].to(self.owner.table) for x in (f.latents.z, f.latents.said))
        x = torch.where(given, embed(f.tokens.gather(1, at)), net.shown(z, said, f.level))
        end = torch.where(inside, at + 1, 0).amax(-1)
        index, sees = at, (column < end[:, None, None]).expand(-1, N, -1)
        if bool(stale.any()):
            before = compact(stale, L - 1)
            x, index = torch.cat([embed(f.tokens.gather(1, before)), x], 1), torch.cat([before, index], 1)
            sees = torch.cat([column <= before[..., None], sees], 1)
        self.cache.index, self.cache.rows = index, None
        hidden = through(net, x, sees, index, self.cache)[:, -N:]
        size, read = torch.where(runs, inside.sum(-1), 0), (stale * (column + 1)).sum(-1)
        cost = self.owner.work(net, stale.sum(-1) + size, read + size * end)
        return net.logits(net.head(hidden), z, f.level), cost

    def rounded(self, f: Forward, inside: Tensor, at: Tensor, given: Tensor) -> tuple[Tensor, Cost]:
        """(B, N, V) logits of the tokens in the same columns."""
        assert f.latents is not None
        net, table, N = self.owner.networks.rounder, self.owner.table, at.shape[1]
        embed: Any = net.body.embed_tokens
        clean = torch.where(given, table[f.tokens.gather(1, at)], f.latents.said[:, :N].to(table))
        before = f.tokens.gather(1, (at - 1).clamp(min=0))
        left = torch.where(at > 0, before, self.owner.stop_ids[0])  # where nothing is left of it
        x = net.shown(clean, embed(left))
        position = torch.arange(N, device=x.device).repeat(2).expand(len(x), -1)
        hidden = through(net, x, rounder_sees(inside), position, None)
        size = torch.where(f.want.any(-1) & f.causal, inside.sum(-1), 0)
        return net.logits(net.head(hidden[:, N:]), clean, table), self.owner.work(net, 2 * size, 3 * size * size)
