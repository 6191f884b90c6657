"""Model: what runs forwards, and what one forward is."""

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

    The attention mask follows one rule: column i sees the columns left of `until[i]`, except those from `unseen[i, 0]`
    up to `unseen[i, 1]`. That stretch is empty, and `unseen` 0, unless queries set the attention mask
    (`SessionSpec.sight`). In rows that are `causal`, a wanted position i is predicted from the columns left of i alone.
    If there is a `rank`, it defines "left of": column i sees the columns whose rank is below `until[i]`.
    """

    tokens: Tensor  # (B, L) long
    until: Tensor  # (B, L) long
    compute: Tensor  # (B, L) bool
    # (B, L) bool  columns that see a change and that a cache policy does not recompute; others read them
    outdated: Tensor
    given: Tensor  # (B, L) bool  the prompt and other given positions, which guidance hides
    at: Tensor  # (B, W) long  columns of the window
    want: Tensor  # (B, W) bool
    causal: Tensor  # (B,)   bool
    # (B,)   bool  the first forward of this window; a model resets what it carries from forward to forward
    entered: Tensor
    phase: Tensor  # (B,)   long  which of the decoder's `phases` it is; for observers, models ignore it
    unseen: Tensor  # (B, L, 2) long
    # (B, W) bool  wanted positions that are predicted without seeing their own token; None unless that is needed
    left_out: Tensor
    candidate_tokens: Tensor  # (B, A, W) long  alternative contents of the window; A is 0 unless candidates are needed
    candidate_want: Tensor  # (B, A, W) bool
    level: Tensor | None = None  # (B,) float  see `Query.level`; none: 1
    latents: Latents | None = None  # for a model of latents: the latents at the window's editable positions
    # (B, L) bool  undecided columns: masked, or noise in a model without a mask token; None: unknown
    open: Tensor | None = None
    # (B, L) long  the columns' places in the order in which they are read; None: that of the text
    rank: Tensor | None = None

    @property
    def place(self) -> Tensor:
        """(B, W) long: the position in the window where it is wanted, W elsewhere; `Pred.at` for logits of all
        positions."""
        width = self.at.shape[1]
        return torch.where(self.want, torch.arange(width, device=self.at.device), width)


Session = Callable[[Forward], Pred]


@runtime_checkable
class Movable(Protocol):
    """A session with per-row contents that can be rearranged (the capability `movable`), for an engine whose batch
    grows and shrinks."""

    def take(self, rows: Tensor) -> None:
        """Continue with these rows (R,), in this order, and their stored contents; a row may occur twice."""

    def __call__(self, f: Forward) -> Pred: ...


@runtime_checkable
class Fixed(Protocol):
    """A session whose forwards can also run with shapes that were chosen beforehand and without a host synchronisation,
    as a captured graph requires. It stores in place."""

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ascending numbers of columns and of logit rows; no row ever needs more than the last ones."""

    def needs(self, f: Forward) -> Tensor:
        """(B, 2) long: the number of columns and of logit rows that each row needs."""

    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than these numbers of columns and logit rows."""

    def __call__(self, f: Forward) -> Pred: ...


@dataclass(frozen=True)
class SessionSpec:
    """The requirements for a session."""

    rows: int
    columns: int
    width: int
    causal: bool = False
    """Some queries may be causal."""
    attention: bool = False
    """Predictions come with `Pred.attention`."""
    attention_from: float = 0.0
    """The maps are averaged over the layers after this share of them: over all at 0, and always over the last."""
    sizes: tuple[int, ...] = ()
    """Ascending numbers of columns: every forward is padded to one of them, so that shapes are few and known. Empty:
    any number."""
    whole: bool = False
    """Every forward runs all columns that a row uses, so that the store is never read."""
    sight: bool = False
    """Some columns may have an unseen stretch; otherwise `Forward.unseen` can be ignored."""
    leave_one_out: bool = False
    """Some positions may be predicted without their own token; otherwise `Forward.left_out` can be ignored."""
    order: bool = False
    """Forwards have a `rank`, and wanted positions are predicted at their own columns."""
    candidates: int = 0
    """A of `Forward.candidate_tokens`, and the number of predictions in `Pred.beside`."""


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
        """For a block-causal model: the columns left of the window are seen causally, and windows are counted from the
        end of the prompt."""
    @property
    def attention_block(self) -> int | None:
        """For a block-causal model: the block size of its attention; None if it follows the windows."""
    @property
    def capabilities(self) -> frozenset[str]:
        """Optional features: `causal` rows, a `store` of keys and values, `attention` maps, `sight`: columns with an
        unseen stretch, `order`: columns that are read in another order than that of the text, and masks that predict
        their own position there, `leave_one_out`: predictions without a position's own token, `candidates`: several
        canvases a row, `hidden_states` (`Pred.hidden_states`), `movable`: a session that stores anything can rearrange
        its rows (`Movable`)."""
    @property
    def column_bytes(self) -> int:
        """Bytes of the keys and values of one column of one row."""
    @property
    def device(self) -> torch.device: ...

    def session(self, spec: SessionSpec) -> Session:
        """A forward function for one canvas."""


def is_causal(model: Model) -> bool:
    """Whether a model is autoregressive: its blocks have one position, which sees the positions left of it."""
    return model.block_causal and model.attention_block == 1


class ModelDefaults:
    """Defaults for authors of models: bidirectional attention, and keys and values are stored."""

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
    """The facts about a model that a canvas needs; every `Model` has them."""

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


def row_bytes(model: Model, spec: SessionSpec) -> int:
    """Bytes of the keys and values that a session with these requirements stores for each row. A model without a method
    of this name, with the argument `spec`, stores those of all columns, also for every candidate."""
    own = getattr(model, "row_bytes", None)
    return int(own(spec)) if own else model.column_bytes * spec.columns * (1 + spec.candidates)


def space_of(model: Model) -> Space | None:
    """The space in which a model denoises latents; None for a model of tokens, which is the default."""
    return getattr(model, "space", None)
