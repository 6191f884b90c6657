"""Any decoder-only model of transformers as a `Model`: explicit positions, one additive 4-D mask, scattered keys and
values.

Columns of the attention are those of the canvas and, for sessions that may be asked causally, one probe per window
position. A probe is a mask token at position i that sees the columns left of i and itself, and is seen by nobody: the
prediction of i from what is left of it, for models whose output i predicts position i. Models whose output i predicts
position i + 1 (`shifted`) need none. Predictions that leave out a position's own token (`Forward.left_out`) take probes
in both kinds of models, one for every wanted position of the row: they see what the column sees whose output they stand
for, but not the position, and each other.

The columns to run are gathered to the left, row by row, and padded to the nearest of a few sizes that the cache policy
declares (`SessionSpec.sizes`): shapes repeat, which is what a captured graph needs. Rows decide for themselves when to
refresh, so in one forward some may need all their columns and others a few; then it is run in two parts, the few and
the many, where that saves enough.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoders.core import Attention, Forward, Pred, Session, SessionSpec
from decoders.models.scatter import ScatterCache, store_argument
from decoders.models.spread import Spread


def compact(where: Tensor, pad: int, sizes: tuple[int, ...] = ()) -> Tensor:
    """(B, M) long: the columns that hold, left to right, then `pad`; M is that of the fullest row, or the next of the
    ascending `sizes`."""
    M = max(int(where.sum(-1).max()), 1)
    return gathered(where, pad, sizes[bisect_left(sizes, M)] if sizes and sizes[-1] >= M else M)


def gathered(where: Tensor, pad: int, M: int) -> Tensor:
    """(B, M) long: the columns that hold, of which no row has more than M, left to right, then `pad`."""
    order = (~where).to(torch.uint8).argsort(dim=-1, stable=True)[:, :M]
    return torch.where(where.gather(1, order), order, pad)


def parted(counts: list[int], least: float = 0.25) -> int | None:
    """The number of columns up to which rows, which need `counts`, are run apart from those that need more; none: all
    together, if two parts would not save the share `least` of what padding all of them to the largest costs."""
    whole, ordered = len(counts) * max(counts), sorted(counts)
    costs = {small: n * small + (len(counts) - n) * ordered[-1] for n, small in enumerate(ordered[:-1], 1)}
    best = min(costs, key=lambda small: costs[small], default=0)
    return best if costs and costs[best] < (1 - least) * whole else None


def seen(
    until: Tensor, index: Tensor, columns: int, unseen: Tensor | None = None, beside: Tensor | None = None
) -> Tensor:
    """(B, M, K) bool, the rule of attention: the columns `index (B, M)` see those left of their `until (B, K)`, less
    the stretch that is `unseen (B, K, 2)`, and themselves; those where `beside (B, K)` see each other too."""
    key = torch.arange(columns, device=until.device)
    left = key < until.gather(1, index)[..., None]
    if unseen is not None:
        since, to = unseen.gather(1, index[..., None].expand(-1, -1, 2))[..., None].unbind(2)
        left = left & ~((key >= since) & (key < to))
    if beside is not None:
        left = left | (beside.gather(1, index)[..., None] & beside[:, None])
    return left | (key == index[..., None])


@dataclass(frozen=True)
class Work:
    """Floating point operations of a transformer; a multiplication and an addition are two."""

    column: float
    """The linear layers, for one position; of a mixture of experts, those that a token takes."""
    pair: float
    """The attention of all layers, for one position and one column that it sees."""
    row: float
    """The head, for one row of logits."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> Work:
        config: Any = model.config.get_text_config()
        experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
        share = config.num_experts_per_tok / experts if experts else 1.0
        head = model.get_output_embeddings().weight
        tables = {id(head), id(model.get_input_embeddings().weight)}
        weights = ((name, p) for name, p in model.named_parameters() if p.dim() > 1 and id(p) not in tables)
        linear = sum(p.numel() * (share if ".experts." in name else 1.0) for name, p in weights)
        width = heads(model)[0] * heads(model)[2]
        return cls(2 * linear, 4 * config.num_hidden_layers * width, 2 * head.numel())


def heads(model: PreTrainedModel) -> tuple[int, int, int]:
    """Attention heads, key and value heads, and the size of one."""
    config: Any = model.config.get_text_config()
    n = int(config.num_attention_heads)
    return (
        n,
        int(getattr(config, "num_key_value_heads", None) or n),
        int(getattr(config, "head_dim", None) or config.hidden_size // n),
    )


class TransformersModel:
    """A causal-LM class of transformers, run with whatever attention is asked of it.

    `mask_id`: None if the checkpoint has no mask token. `shifted`: its output i predicts position i + 1.
    `block_causal`: blocks see no later block; otherwise everything on a row sees everything. `attention_block`: the
    size of those blocks, where it does not follow the windows. `native`: the code is transformers' own, so that
    attention maps can be asked for and any mask is obeyed.
    """

    causal_context = False

    def __init__(
        self, model: PreTrainedModel, *, mask_id: int | None, stop_ids: tuple[int, ...] = (), shifted: bool = False,
        block_causal: bool = False, attention_block: int | None = None, native: bool = True,
    ) -> None:
        self.model = model.eval()
        self.mask_id, self.stop_ids, self.shifted, self.block_causal = mask_id, stop_ids, shifted, block_causal
        self.attention_block = attention_block
        self.vocab = int(model.config.vocab_size)
        shown = ("attention", "sight", "leave_one_out") if native else ()
        self.capabilities = frozenset({"causal", "store", "hidden_states", "candidates", "movable", *shown})
        self.work = Work.of(model)
        self.store = store_argument(model.base_model)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def column_bytes(self) -> int:
        _, n, size = heads(self.model)
        return int(2 * self.model.config.num_hidden_layers * n * size * self.model.dtype.itemsize)

    def compile(self, **options: Any) -> None:
        """Have `torch.compile` compile the network below the head, in place, when it is next run; `options` are its."""
        self.model.base_model.compile(**options)

    def session(self, spec: SessionSpec) -> Session:
        return Spread(self, spec) if spec.candidates else TransformersSession(self, spec)

    def states(
        self, tokens: Tensor, position: Tensor, sees: Tensor, cache: ScatterCache | None = None,
        maps: float | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, M, D) the last hidden states of `tokens (B, M)` at `position (B, M)`, where `sees (B, M, K)` says which
        of the K stored columns each attends to; without a cache the columns are the tokens themselves. With `maps` also
        (B, M, K), the attention averaged over heads and over the layers from that share of them on."""
        lowest = torch.finfo(self.model.dtype).min
        bias = torch.zeros(sees.shape, dtype=self.model.dtype, device=sees.device).masked_fill(~sees, lowest)[:, None]
        with eager(self.model, maps is not None):
            out = self.model.base_model(
                input_ids=tokens, attention_mask=bias, position_ids=position, use_cache=cache is not None,
                **{self.store: cache}, **({} if maps is None else {"output_attentions": True}),
            )
        attention = None
        if maps is not None:
            layers = out.attentions[min(int(maps * len(out.attentions)), len(out.attentions) - 1) :]
            attention = sum(layer.mean(1).to(tokens.device) for layer in layers) / len(layers)
        return out.last_hidden_state.to(tokens.device), attention  # with a device map, the last layer may be elsewhere

    def head(self, hidden: Tensor) -> Tensor:
        """(..., V) logits of hidden states."""
        return self.model.get_output_embeddings()(hidden).to(hidden.device)  # type: ignore[no-any-return]


@contextmanager
def eager(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """With the implementation of attention that keeps its weights, where they are wanted."""
    before = model.config._attn_implementation
    if not wanted or before == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class TransformersSession:
    """The keys and values of one canvas, and the forward that reads and writes them."""

    def __init__(self, owner: TransformersModel, spec: SessionSpec) -> None:
        self.owner, self.spec = owner, spec
        self.probes = spec.width if spec.leave_one_out or (spec.causal and not owner.shifted) else 0
        self.sizes = (*spec.sizes, spec.sizes[-1] + self.probes) if spec.sizes else ()
        self.cache = ScatterCache(spec.columns + self.probes, spec.rows)
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
        """(B, 2) long: how many columns each row has to run, and how many of its positions reach the head."""
        return torch.stack([self.asked(f)[3].sum(-1), f.want.sum(-1)], 1)

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        W, asked = f.want.shape[1], self.asked(f)
        compute = asked[3]
        at = compact(f.want, W, widths(W))
        counts = compute.sum(-1)
        bound = None if len(at) == 1 or self.spec.attention else parted(counts.tolist())
        if bound is None:
            wanted, attention = self.run(None, at, compact(compute, self.spec.columns - 1, self.sizes), *asked)
        else:
            few = counts <= bound
            parts = few.nonzero().flatten(), (~few).nonzero().flatten()
            done = [
                self.run(r, at[r], compact(compute[r], self.spec.columns - 1, self.sizes), *(x[r] for x in asked))[0]
                for r in parts
            ]
            wanted, attention = torch.cat(done)[torch.cat(parts).argsort()], None
        return self.pred(f, at, wanted, attention, asked)

    @torch.inference_mode()
    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than so many columns and logit rows, without a look at the host."""
        asked = self.asked(f)
        at = gathered(f.want, f.want.shape[1], rows)
        return self.pred(f, at, *self.run(None, at, gathered(asked[3], self.spec.columns - 1, columns), *asked), asked)

    def pred(
        self, f: Forward, at: Tensor, wanted: Tensor, attention: Attention | None, asked: tuple[Tensor, ...]
    ) -> Pred:
        _, _, until, compute, _, *masks = asked
        return Pred(
            self.owner.head(wanted), at, f.want.shape[1], self.cost(compute, until, f.want, *masks), attention, wanted
        )

    def asked(self, f: Forward) -> tuple[Tensor, ...]:
        """The forward over the K columns of the attention, the canvas's and the probes: tokens, positions and `until`,
        (B, K) long; (B, K) bool, what to run; (B, W) long, the column whose output is a window position's prediction;
        and what masks are needed."""
        (B, L), W, shift = f.tokens.shape, f.want.shape[1], int(self.owner.shifted)
        bin_ = L - 1
        column = torch.arange(L, device=f.tokens.device)
        source = (f.at - shift).clamp(min=0)  # the column whose output is the prediction
        tokens, until, compute, position = f.tokens, f.until, f.compute, column.expand(B, L)
        unseen = f.unseen if self.spec.sight or self.spec.leave_one_out else None
        beside, alone = None, f.left_out if self.spec.leave_one_out else torch.zeros_like(f.want)
        if shift:
            compute = compute.scatter(1, torch.where(f.want & ~alone, source, bin_), True)
        if self.probes:
            ahead = f.causal[:, None] & f.want if not shift else torch.zeros_like(f.want)
            shadow = f.want & alone.any(-1, keepdim=True)
            place = torch.arange(W, device=f.tokens.device)
            left = torch.where(shadow, until.gather(1, source), f.at)
            tokens = torch.cat([tokens, torch.full_like(f.at, self.owner.mask_id or 0)], 1)
            until, position = torch.cat([until, left], 1), torch.cat([position, source], 1)
            compute = torch.cat([compute, ahead | shadow], 1)
            if unseen is not None:
                unseen = torch.cat([unseen, torch.stack([f.at, f.at + 1], -1) * shadow[..., None]], 1)
            if self.spec.leave_one_out:
                beside = torch.cat([torch.zeros_like(f.compute), shadow], 1)
            source = torch.where(ahead | alone, L + place, source)
        compute = compute & (torch.arange(compute.shape[1], device=compute.device) != bin_)
        return tokens, position, until, compute, source, *(x for x in (unseen, beside) if x is not None)

    def run(
        self, rows: Tensor | None, at: Tensor, index: Tensor, tokens: Tensor, position: Tensor, until: Tensor,
        compute: Tensor, source: Tensor, unseen: Tensor | None = None, beside: Tensor | None = None,
    ) -> tuple[Tensor, Attention | None]:
        """(B, N, D) the hidden states that predict the window positions `at (B, N)`, after running the columns `index
        (B, M)`, and the attention if it is needed. Unless `rows (B,)` is none, these are some of the canvas's rows."""
        K, bin_ = compute.shape[1], self.spec.columns - 1
        source = source.gather(1, at.clamp(max=source.shape[1] - 1))
        self.cache.index, self.cache.rows = index, rows
        sees = seen(until, index, K, unseen, beside)
        states, weights = self.owner.states(
            tokens.gather(1, index), position.gather(1, index), sees, self.cache,
            self.spec.attention_from if self.spec.attention else None,
        )
        self.shapes.add((*index.shape, source.shape[1]))
        order = torch.arange(index.shape[1], device=index.device).expand_as(index)
        slot = torch.zeros_like(compute, dtype=torch.long).scatter(1, index, order)
        wanted = slot.gather(1, source)[..., None].expand(-1, -1, states.shape[-1])
        attention = None if weights is None else Attention(weights[..., : self.spec.columns], index.clamp(max=bin_))
        return states.gather(1, wanted), attention

    def cost(
        self, compute: Tensor, until: Tensor, want: Tensor, unseen: Tensor | None = None, beside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`Pred.cost`: what each row asked for, without the padding that a batch brings."""
        work, positions = self.owner.work, compute.sum(-1)
        sees = until if unseen is None else until - unseen.diff(dim=-1)[..., 0]
        pairs = (compute * sees).sum(-1) + (0 if beside is None else beside.sum(-1) ** 2)
        return positions, work.column * positions.double() + work.pair * pairs.double() + work.row * want.sum(
            -1
        ).double()


def widths(width: int) -> tuple[int, ...]:
    """The numbers of logit rows that occur: eighths of the window. The head is the widest layer, so padding costs most
    here."""
    step = max(width // 8, 1)
    return (*range(step, width, step), width)
