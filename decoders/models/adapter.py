"""Any decoder-only model of transformers as a `Model`, with explicit positions, one additive 4-D mask, and keys and
values that are scattered into the store.

Columns of the attention are those of the canvas and, for sessions with causal queries, one probe per window position. A
probe is a mask token at position i that sees the columns left of i and itself, and that no other column sees: it gives
the causal prediction of i for models whose output i predicts position i. Models whose output i predicts position i + 1
(`shifted`) need no probes, nor do those whose output does so when it is computed causally (`causal_shift`). Predictions
that leave out a position's own token (`Forward.left_out`) need probes in both kinds of models, one for every wanted
position of the row: they see the same as the column whose output they replace, except for the position, and each other.

The columns to run are gathered to the left, row by row, and padded to the nearest of a few sizes that the cache policy
declares (`SessionSpec.sizes`), so that shapes repeat, as a captured graph requires. Each row refreshes at its own time,
so in one forward some rows may need all their columns and others a few; then the forward is run in two parts if that
saves enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from decoders.core import Attention, Forward, Pred, Session, SessionSpec, is_causal, mapped
from decoders.models.columns import compact, gathered, parted, seen, size_of, widths
from decoders.models.spread import Spread
from decoders.models.store import Store
from decoders.models.whole import WholeSession
from decoders.models.work import Work, heads
from decoders.stats.constants import constant, counting, everywhere, number

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TransformersModel:
    """A causal-LM class of transformers, run with any attention mask.

    `mask_id`: None if the checkpoint has no mask token. `shifted`: its output i predicts position i + 1.
    `block_causal`: blocks see no later block; otherwise attention is bidirectional. `attention_block`: the size of
    those blocks, if it does not follow the windows; 1: autoregression. `causal_context`: see `Model.causal_context`.
    `causal_shift`: in causal rows output i predicts position i + 1, and otherwise position i, for a model that was
    trained for both. `reordered`: it was trained to read masks after all known tokens, where the output at a mask
    predicts that position, even if outputs are shifted otherwise (`Query.order`). `expand_id`: the token with which it
    requests one more position. `native`: the code is transformers' own, so it can return attention maps and follows any
    mask.
    """

    def __init__(
        self, model: PreTrainedModel, *, mask_id: int | None, stop_ids: tuple[int, ...] = (), shifted: bool = False,
        block_causal: bool = False, attention_block: int | None = None, native: bool = True,
        causal_context: bool = False, causal_shift: bool = False, reordered: bool = False, expand_id: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.causal_shift, self.expand_id = causal_shift, expand_id
        self.mask_id, self.stop_ids, self.shifted, self.block_causal = mask_id, stop_ids, shifted, block_causal
        self.attention_block, self.causal_context = attention_block, causal_context
        self.vocab = int(self.network.config.vocab_size)
        own = ("order",) if native and (reordered or not shifted) else ()
        both = () if is_causal(self) else ("candidates", "sight", "leave_one_out") if native else ("candidates",)
        shown = ("attention",) if native else ()
        self.capabilities = frozenset({"causal", "store", "hidden_states", "movable", *own, *both, *shown})
        self.work = Work.of(self.network)

    @property
    def network(self) -> Any:
        """The network that is run: the model, unless its layers are run without transformers (`nano.lean`)."""
        return self.model

    @property
    def device(self) -> torch.device:
        return torch.device(self.network.device)

    @property
    def column_bytes(self) -> int:
        _, n, size = heads(self.network)
        return int(2 * self.network.config.num_hidden_layers * n * size * self.network.dtype.itemsize)

    def store(self, spec: SessionSpec, columns: int) -> Store:
        """An empty store with this number of columns, in the form that the network takes."""
        from decoders.models.scatter import ScatterCache  # this imports transformers

        return ScatterCache(columns, spec.rows)

    @cached_property
    def argument(self) -> str:
        """The name of the model's argument for a store."""
        from decoders.models.scatter import store_argument

        return store_argument(self.model.base_model)

    def compile(self, **options: Any) -> None:
        """Let `torch.compile` compile the network below the head, in place, at its next run, with these `options`."""
        self.model.base_model.compile(**options)

    def session(self, spec: SessionSpec) -> Session:
        if spec.candidates:
            return Spread(self, spec)
        return TransformersSession(self, spec) if self.stores(spec) else WholeSession(self, spec)

    def stores(self, spec: SessionSpec) -> bool:
        """Whether a session stores keys and values."""
        return not spec.whole or spec.attention or spec.leave_one_out or (spec.causal and not self.shifted)

    def probes(self, spec: SessionSpec) -> int:
        """The number of probes of each row, whose keys and values are stored too."""
        probed = spec.causal and not (self.shifted or self.causal_shift)
        return spec.width if spec.leave_one_out or probed else 0

    def row_bytes(self, spec: SessionSpec) -> int:
        """See `decoders.core.model.row_bytes`."""
        columns = spec.columns + self.probes(spec) if self.stores(spec) else 0
        return self.column_bytes * columns * (1 + spec.candidates)

    def states(
        self, tokens: Tensor, position: Tensor, sees: Tensor | None, cache: Store | None = None,
        maps: float | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, M, D) the last hidden states of `tokens (B, M)` at `position (B, M)`. `sees (B, M, K)` bool: the stored
        columns to which each token attends; (B, 1, K) if they are the same for all tokens, None if they are all K.
        Without a cache the columns are the tokens themselves. With `maps` also (B, M, K), the attention averaged over
        heads and over the layers after the first `maps` (a share) of them."""
        bias = self.bias(tokens, sees)
        with eager(self.model, maps is not None):
            out = self.model.base_model(
                input_ids=tokens, attention_mask=bias, position_ids=position, use_cache=cache is not None,
                **{self.argument: cache}, **({} if maps is None else {"output_attentions": True}),
            )
        attention = None
        if maps is not None:
            layers = out.attentions[min(int(maps * len(out.attentions)), len(out.attentions) - 1) :]
            attention = sum(layer.mean(1).to(tokens.device) for layer in layers) / len(layers)
        return out.last_hidden_state.to(tokens.device), attention  # with a device map, the last layer may be elsewhere

    def bias(self, tokens: Tensor, sees: Tensor | None) -> Tensor:
        """(B, 1, M, K) the bias that attention adds to its scores; dimensions along which it is constant may be 1."""
        if sees is None:
            M = tokens.shape[1]
            return torch.zeros(1, 1, M, M, dtype=self.network.dtype, device=tokens.device)
        nothing, lowest = (
            constant((x,), sees.device, self.network.dtype)[0] for x in (0.0, torch.finfo(self.network.dtype).min)
        )
        return torch.where(sees, nothing, lowest)[:, None]

    def head(self, hidden: Tensor) -> Tensor:
        """(..., V) logits of hidden states."""
        logits: Tensor = self.network.get_output_embeddings()(hidden)
        return logits.to(hidden.device)


@contextmanager
def eager(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Use the attention implementation that returns its weights, if they are wanted."""
    before = model.config._attn_implementation
    if not wanted or before == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class Asked(NamedTuple):
    """A forward over the K columns of the attention."""

    tokens: Tensor  # (B, K) long
    position: Tensor  # (B, K) long
    until: Tensor  # (B, K) long
    compute: Tensor  # (B, K) bool
    source: Tensor  # (B, W) long  the column whose output is a window position's prediction
    unseen: Tensor | None  # (B, K, 2) long
    beside: Tensor | None  # (B, K) bool  columns that see each other
    rank: Tensor | None  # (B, K) long

    def of(self, rows: Tensor) -> Self:
        """The same for some `rows (R,)` only."""
        return mapped(lambda x: x[rows], self)


class TransformersSession:
    """The keys and values of one canvas, and the forward that reads and writes them."""

    def __init__(self, owner: TransformersModel, spec: SessionSpec) -> None:
        self.owner, self.spec = owner, spec
        self.turning = spec.causal and owner.causal_shift and not owner.shifted
        """Whether causal rows are shifted and others are not."""
        self.probes = owner.probes(spec)
        self.sizes = (*spec.sizes, spec.sizes[-1] + self.probes) if spec.sizes else ()
        self.plain = not (self.probes or owner.block_causal or spec.causal or spec.sight or spec.order)
        """Whether attention is bidirectional over the whole row."""
        self.cache = owner.store(spec, spec.columns + self.probes)
        self.shapes: set[tuple[int, int, int]] = set()
        """(rows, columns, logit rows) of every part of a forward so far, as a graph would capture them."""

    def take(self, rows: Tensor) -> None:
        self.spec = replace(self.spec, rows=len(rows))
        self.cache.take(rows)

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The numbers of columns and of logit rows that forwards are padded to (`decoders.core.Fixed`)."""
        return self.sizes or (self.spec.columns + self.probes,), widths(self.spec.width)

    def needs(self, f: Forward) -> Tensor:
        """(B, 2) long: the number of columns that each row has to run, and of its positions that reach the head."""
        return torch.stack([self.asked(f).compute.sum(-1), f.want.sum(-1)], 1)

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        W, asked = f.want.shape[1], self.asked(f)
        compute, bin_ = asked.compute, self.spec.columns - 1
        counts = self.counts(f, asked)
        columns, _, wanted = counts.tolist()  # the only synchronisation with the device
        at = gathered(f.want, W, size_of(max(wanted), widths(W)))
        bound = None if len(at) == 1 or self.spec.attention else parted(columns)
        if bound is None:
            states, attention = self.run(None, at, gathered(compute, bin_, size_of(max(columns), self.sizes)), asked)
        else:
            few = counts[0] <= bound
            parts = few.nonzero().flatten(), (~few).nonzero().flatten()
            done = [
                self.run(r, at[r], compact(compute[r], bin_, self.sizes), asked.of(r))[0] for r in parts
            ]
            states, attention = torch.cat(done)[torch.cat(parts).argsort()], None
        return self.pred(f, at, states, attention, counts)

    @torch.inference_mode()
    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than these numbers of columns and logit rows, without a host
        synchronisation."""
        asked = self.asked(f)
        at = gathered(f.want, f.want.shape[1], rows)
        states, attention = self.run(None, at, gathered(asked.compute, self.spec.columns - 1, columns), asked)
        return self.pred(f, at, states, attention, self.counts(f, asked))

    def counts(self, f: Forward, asked: Asked) -> Tensor:
        return self.owner.work.counts(asked.compute, asked.until, f.want, asked.unseen, asked.beside)

    def pred(self, f: Forward, at: Tensor, states: Tensor, attention: Attention | None, counts: Tensor) -> Pred:
        cost = counts[0], self.owner.work.flops(counts)
        return Pred(self.owner.head(states), at, f.want.shape[1], cost, attention, states)

    def asked(self, f: Forward) -> Asked:
        """The forward over the K columns of the attention, those of the canvas and the probes, with the masks that are
        needed."""
        (B, L), W = f.tokens.shape, f.want.shape[1]
        shift = (self.owner.shifted or self.turning) and not self.spec.order
        bin_ = L - 1
        column = counting(L, f.tokens.device)
        back = f.causal[:, None].long() if self.turning else 1
        source = (f.at - back).clamp(min=0) if shift else f.at  # the column whose output is the prediction
        tokens, until, compute, position = f.tokens, f.until, f.compute, column.expand(B, L)
        unseen = f.unseen if self.spec.sight or self.spec.leave_one_out else None
        beside, alone = None, f.left_out if self.spec.leave_one_out else everywhere(False, f.want)
        if shift:
            there = torch.where(f.want & ~alone if self.spec.leave_one_out else f.want, source, number(bin_, source))
            compute = compute.scatter(1, there, True) & (column != bin_)
        if self.probes:
            ahead = f.causal[:, None] & f.want if not shift else torch.zeros_like(f.want)
            shadow = f.want & alone.any(-1, keepdim=True)
            left = torch.where(shadow, until.gather(1, source), f.at)
            tokens = torch.cat([tokens, torch.full_like(f.at, self.owner.mask_id or 0)], 1)
            until, position = torch.cat([until, left], 1), torch.cat([position, source], 1)
            compute = torch.cat([compute, ahead | shadow], 1)
            if unseen is not None:
                unseen = torch.cat([unseen, torch.stack([f.at, f.at + 1], -1) * shadow[..., None]], 1)
            if self.spec.leave_one_out:
                beside = torch.cat([torch.zeros_like(f.compute), shadow], 1)
            source = torch.where(ahead | alone, L + counting(W, f.tokens.device), source)
        return Asked(tokens, position, until, compute, source, unseen, beside, f.rank)  # never with probes and a rank

    def run(
        self, rows: Tensor | None, at: Tensor, index: Tensor, asked: Asked
    ) -> tuple[Tensor, Attention | None]:
        """(B, N, D) the hidden states that predict the window positions `at (B, N)`, after running the columns `index
        (B, M)`, and the attention if it is needed. `rows (B,)`: the rows of the canvas; None: all."""
        tokens, position, until, compute, source, unseen, beside, rank = asked
        K, bin_ = compute.shape[1], self.spec.columns - 1
        source = source.gather(1, at.clamp(max=source.shape[1] - 1))
        self.cache.index, self.cache.rows = index, rows
        if self.plain:  # all columns of a row see the same ones
            sees = (counting(K, until.device) < until[:, :1])[:, None]
        else:
            sees = seen(until, index, K, unseen, beside, rank)
        states, weights = self.owner.states(
            tokens.gather(1, index), position.gather(1, index) if self.probes else index, sees, self.cache,
            self.spec.attention_from if self.spec.attention else None,
        )
        self.shapes.add((*index.shape, source.shape[1]))
        order = counting(index.shape[1], index.device).expand_as(index)
        slot = torch.zeros_like(compute, dtype=torch.long).scatter_(1, index, order)
        wanted = slot.gather(1, source)[..., None].expand(-1, -1, states.shape[-1])
        attention = None if weights is None else Attention(weights[..., : self.spec.columns], index.clamp(max=bin_))
        return states.gather(1, wanted), attention
