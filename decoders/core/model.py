"""Model: who runs forwards, and what one forward is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from decoders.core.latents import Latents, Space
from decoders.core.pred import Pred


@dataclass(frozen=True)
class Forward:
    """One forward over the canvas: the columns in `compute` are run and their keys and values stored.

    Attention is one rule: column i sees the columns left of `until[i]`, less a stretch, those from `unseen[i, 0]` up to
    `unseen[i, 1]`; unless queries say what positions see (`SessionSpec.sight`) there is none, and all of it is 0. In
    rows that are `causal`, a wanted position i is predicted from the columns left of i alone. If there is a `rank`,
    "left of" goes by it: column i sees the columns whose rank is below `until[i]`.
    """

    tokens: Tensor  # (B, L) long
    until: Tensor  # (B, L) long
    compute: Tensor  # (B, L) bool
    # (B, L) bool  columns that a cache policy leaves as they are though they see a change; others read them
    outdated: Tensor
    given: Tensor  # (B, L) bool  the prompt and what else was given; what guidance hides
    at: Tensor  # (B, W) long  columns of the window
    want: Tensor  # (B, W) bool
    causal: Tensor  # (B,)   bool
    # (B,)   bool  the first forward of this window; what a model carries from forward to forward starts anew
    entered: Tensor
    phase: Tensor  # (B,)   long  which of the decoder's `phases` it is; for those who watch, and nothing to a model
    unseen: Tensor  # (B, L, 2) long
    # (B, W) bool  wanted positions that are predicted without their own token in sight; none unless it was needed
    left_out: Tensor
    candidate_tokens: Tensor  # (B, A, W) long  what else the window may hold; A is 0 unless candidates were needed
    candidate_want: Tensor  # (B, A, W) bool
    level: Tensor | None = None  # (B,) float  see `Query.level`; none: 1
    latents: Latents | None = None  # what stands at the window's editable positions, for a model of latents
    # (B, L) bool  columns that nothing is decided of: masked, or noise in a model without a mask token; none: not said
    open: Tensor | None = None
    # (B, L) long  the columns' places in the order in which they are read; none: that of the text
    rank: Tensor | None = None

    @property
    def place(self) -> Tensor:
        """(B, W) long: the window position of what is wanted, W of the rest; `Pred.at` for logits of all positions."""
        width = self.at.shape[1]
        return torch.where(self.want, torch.arange(width, device=self.at.device), width)


Session = Callable[[Forward], Pred]


@runtime_checkable
class Movable(Protocol):
    """A session that keeps something of its rows, and can put them elsewhere (the capability `movable`), for an engine
    whose batch grows and shrinks."""

    def take(self, rows: Tensor) -> None:
        """Go on with these of the rows (R,), in this order, and what is stored of them; one may be taken twice."""

    def __call__(self, f: Forward) -> Pred: ...


@runtime_checkable
class Fixed(Protocol):
    """A session whose forwards can also be run with shapes that were chosen beforehand and without a look at the host,
    as a captured graph needs it. What it stores, it stores in place."""

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ascending numbers of columns and of logit rows; no row ever needs more than the last ones."""

    def needs(self, f: Forward) -> Tensor:
        """(B, 2) long: the columns and the logit rows that each row takes."""

    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than so many columns and logit rows."""

    def __call__(self, f: Forward) -> Pred: ...


@dataclass(frozen=True)
class SessionSpec:
    """What a session has to be ready for."""

    rows: int
    columns: int
    width: int
    causal: bool = False
    """Some queries may be causal."""
    attention: bool = False
    """Predictions come with `Pred.attention`."""
    attention_from: float = 0.0
    """Its maps are averaged over the layers from this share of them on: 0 over all, and always over the last."""
    sizes: tuple[int, ...] = ()
    """Ascending: every forward asks for at most one of these many columns in any row, so that shapes are few and known;
    empty: any."""
    whole: bool = False
    """Every forward runs all columns that play a part in a row, so that nothing stored is ever read."""
    sight: bool = False
    """Some columns may have an unseen stretch; otherwise `Forward.unseen` need not be looked at."""
    leave_one_out: bool = False
    """Some positions may be predicted without their own token; otherwise `Forward.left_out` need not be looked at."""
    order: bool = False
    """Forwards have a `rank`, and wanted positions are predicted at their own columns."""
    candidates: int = 0
    """A of `Forward.candidate_tokens`; predictions then have as many `Pred.beside` them."""


class Model(Protocol):
    """Runs forwards. A session belongs to one canvas: it holds the keys and values of its rows."""

    @property
    def mask_id(self) -> int | None: ...
    @property
    def vocab(self) -> int: ...
    @property
    def stop_ids(self) -> tuple[int, ...]: ...
    @property
    def block_causal(self) -> bool: ...
    @property
    def causal_context(self) -> bool:
        """Of a block-causal model: what is left of the window is seen causally, and windows are counted from the end of
        the prompt."""
    @property
    def attention_block(self) -> int | None:
        """Of a block-causal model: the block of its attention; none: it follows the windows."""
    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do that not every model can: `causal` rows, a `store` of keys and values, `attention` maps,
        `sight`: columns with an unseen stretch, `order`: columns that are read in another order than that of the text,
        and masks that predict their own position there, `leave_one_out`: predictions without a position's own token,
        `candidates`: several canvases a row, `hidden_states` (`Pred.hidden_states`), `movable`: a session can go on
        with other rows, if it stores any (`Movable`)."""
    @property
    def column_bytes(self) -> int:
        """What the keys and values of one column of one row take."""
    @property
    def device(self) -> torch.device: ...

    def session(self, spec: SessionSpec) -> Session:
        """A forward function for one canvas."""


def is_causal(model: Model) -> bool:
    """Whether a model is autoregressive: its blocks have one position, which sees what is left of it."""
    return model.block_causal and model.attention_block == 1


class ModelDefaults:
    """What most models have in common, for those who write one: everything sees everything, keys and values are
    kept."""

    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False
    causal_context: bool = False
    attention_block: int | None = None
    expand_id: int | None = None
    space: Space | None = None
    capabilities: frozenset[str] = frozenset({"causal", "store"})
    column_bytes: int = 0


@dataclass(frozen=True)
class Shape:
    """What a canvas needs to know of a model; every `Model` has these."""

    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False
    causal_context: bool = False
    expand_id: int | None = None
    space: Space | None = None

    @classmethod
    def of(cls, model: Model) -> Self:
        own = {f.name: getattr(model, f.name) for f in fields(cls) if f.name not in ("space", "expand_id")}
        return cls(**own, expand_id=expand_of(model), space=space_of(model))


def expand_of(model: Model) -> int | None:
    """The token by which a model asks for one more position (DreamOn); it asks for one less by its first end token.
    None: it has no such tokens, as every model that does not say."""
    return getattr(model, "expand_id", None)


def space_of(model: Model) -> Space | None:
    """Where a model denoises latents; none: it decides tokens, as every model does that does not say."""
    return getattr(model, "space", None)
