"""DiffusionGemma as a `Model`, on transformers' own `DiffusionGemmaForBlockDiffusion` (5.23;
google/diffusiongemma-26B-A4B-it).

One stack of layers has two roles. As *encoder* it reads the text left of the window (which the model calls the canvas)
causally and stores keys and values; as *decoder* it reads the canvas, whose positions see all of the canvas and the
encoder's stored values, and stores nothing. So a finished canvas has to be read again by the encoder. The exact rule
does this by itself: the columns it sees have changed, so its columns are stale and are computed in the next canvas's
first forward.

- Attention. Encoder: column i sees the columns up to itself, in sliding layers the last `sliding_window` of them.
  Decoder: the whole canvas and all of the context, in sliding layers its last `sliding_window - 1` columns, the same
  ones for every position of the canvas: those that transformers' dynamic cache, the default, still contains then. (Its
  static cache contains one more.)
- Noise. There is no mask token: a blank is uniform noise (`State.blank`), which stays the same until the strategy
  changes it; the official sampler draws it again after each step.
- Self-conditioning. Each forward also takes the previous forward's logits of the same canvas, at every position of it,
  and none in the canvas's first. So the head has to run on the whole window, and not only on wanted positions as in
  other models. The official sampler conditions on the logits divided by its temperature, which a strategy gives by
  `Query.level`.
- Shorter canvases. The model takes any length, and the result is that of transformers for a canvas of that length; it
  was trained on `canvas_length` positions, so lengths that are multiples of it are best.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoders.core import Forward, Pred, Session, SessionSpec, UsageError
from decoders.models.columns import compact, seen
from decoders.models.scatter import ScatterCache, store_argument


class Context(ScatterCache):
    """The encoder's keys and values by column, in the form in which the decoder reads them: it takes them layer by
    layer and appends the canvas's."""

    @property
    def layers(self) -> list[Any]:
        return [SimpleNamespace(keys=keys, values=values) for _, (keys, values) in sorted(self.stored.items())]

    @layers.setter
    def layers(self, layers: list[Any]) -> None:
        """The setup of the base class is not used."""


@dataclass(frozen=True)
class Layer:
    """The cost of a layer's attention."""

    window: int | None
    """Columns that a position sees, including itself; None: all."""
    width: int
    """Attention heads times the size of one."""
    stored: int
    """Numbers that the keys and values of one column take."""


class DiffusionGemmaModel:
    """A `DiffusionGemmaForBlockDiffusion`. Windows are its canvases: use windows of `canvas` positions.

    Every cache policy gives the same tokens as the exact rule: a canvas is always run whole, and the text to its left
    changes only by a finished canvas, which is always read. Raises `UsageError` for a model whose encoder is not
    causal.
    """

    mask_id: int | None = None
    block_causal = True
    causal_context = True
    attention_block: int | None = None
    capabilities = frozenset({"store"})

    def __init__(self, model: PreTrainedModel, stop_ids: tuple[int, ...] = ()) -> None:
        self.model = model.eval()
        self.stop_ids = stop_ids
        config: Any = model.config.get_text_config()
        if config.use_bidirectional_attention == "all":
            raise UsageError(
                "this DiffusionGemma's encoder is bidirectional (use_bidirectional_attention), and only causal ones "
                "are known"
            )
        self.vocab = int(config.vocab_size)
        self.canvas = int(model.config.canvas_length)
        self.sliding = int(config.sliding_window)
        self.layers = tuple(self.layer(config, i) for i in range(config.num_hidden_layers))
        self.store = store_argument(model)
        self.column_work, self.conditioning_work = self.linear_work(config)

    @staticmethod
    def layer(config: Any, index: int) -> Layer:
        own = config.per_layer_config[index]
        window = config.sliding_window if config.layer_types[index] == "sliding_attention" else None
        return Layer(window, config.num_attention_heads * own.head_dim, 2 * own.num_key_value_heads * own.head_dim)

    def linear_work(self, config: Any) -> tuple[float, float]:
        """Floating point operations of the linear layers for one position: of the stack, counting only the experts that
        a token uses, and of the self-conditioning."""
        share = config.top_k_experts / config.num_experts
        decoder: Any = self.model.model.decoder
        stack = sum(
            p.numel() * (share if ".experts." in name else 1.0)
            for name, p in decoder.layers.named_parameters()
            if p.dim() > 1
        )
        return 2 * stack, 2 * sum(p.numel() for p in decoder.self_conditioning.parameters() if p.dim() > 1)

    @property
    def head_work(self) -> float:
        """Floating point operations of one row of logits; to turn it into an embedding again, for self-conditioning,
        takes as many."""
        return 2.0 * self.vocab * int(self.model.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def column_bytes(self) -> int:
        return sum(layer.stored for layer in self.layers) * int(self.model.dtype.itemsize)

    def session(self, spec: SessionSpec) -> Session:
        return DiffusionGemmaSession(self, spec)

    def encode(self, tokens: Tensor, index: Tensor, sees: Tensor, context: Context) -> None:
        """Stores the keys and values of the columns `index (B, M)`, which hold `tokens (B, M)` and attend to the
        columns where `sees (B, M, L)`."""
        column = torch.arange(sees.shape[-1], device=sees.device)
        near = sees & (column > index[..., None] - self.sliding)
        context.index = index
        self.model.model.encoder(
            input_ids=tokens, attention_mask=self.masks(sees, near), position_ids=index, **{self.store: context}
        )

    def denoise(
        self, tokens: Tensor, at: Tensor, inside: Tensor, context: Context, previous: Tensor | None, again: Tensor
    ) -> Tensor:
        """(B, W, V) logits of the canvases `tokens (B, W)` in the columns `at (B, W)`, of which those `inside (B, W)`
        are theirs. `previous (B, W, V)`: the logits to condition on, in the rows where `again (B,)`."""
        start = at[:, :1]
        column = torch.arange(context.columns, device=at.device)
        left = column < start
        near = left & (column > start - self.sliding)
        rows = tuple(torch.cat([x, inside], 1)[:, None].expand(-1, at.shape[1], -1) for x in (left, near))
        conditioning = (
            {} if previous is None else {"self_conditioning_logits": previous, "self_conditioning_mask": again}
        )
        out: Tensor = self.model(
            decoder_input_ids=tokens, decoder_position_ids=at, decoder_attention_mask=self.masks(*rows),
            **{self.store: context}, **conditioning,
        ).logits
        return out

    def masks(self, everywhere: Tensor, near: Tensor) -> dict[str, Tensor]:
        """By type of layer, what is added to the scores of the attention."""
        zero = torch.zeros((), dtype=self.model.dtype, device=near.device)
        lowest = torch.finfo(self.model.dtype).min
        kinds = {"full_attention": everywhere, "sliding_attention": near}
        return {kind: torch.where(sees, zero, lowest)[:, None] for kind, sees in kinds.items()}


class DiffusionGemmaSession:
    """The context of a batch of rows, and the last predictions of their canvases."""

    def __init__(self, owner: DiffusionGemmaModel, spec: SessionSpec) -> None:
        self.owner, self.spec = owner, spec
        self.context = Context(spec.columns)
        self.encoded: Tensor | None = None  # (B, L) bool  columns whose keys and values are in the context
        self.previous: Tensor | None = None  # (B, W, V)  the last logits

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        L, W = f.tokens.shape[1], f.want.shape[1]
        column, start = torch.arange(L, device=f.tokens.device), f.at[:, :1]
        reach = f.until.gather(1, start)  # the end of the window: all of the window sees up to there
        runs = f.want.any(-1)
        left = (column < start) & runs[:, None]
        # the record says computed, but a column of the window was computed by the decoder, which stores
        # nothing
        held = torch.zeros_like(left) if self.encoded is None else self.encoded & (column < start)
        stale = (f.compute | ~held) & left
        self.encoded = held | stale
        if not self.context.stored or bool(stale.any()):
            index = compact(stale, L - 1, self.spec.sizes)
            self.owner.encode(f.tokens.gather(1, index), index, seen(f.until, index, L), self.context)
        inside = f.at < reach
        again = ~f.entered
        logits = self.owner.denoise(f.tokens.gather(1, f.at), f.at, inside, self.context, self.conditions(f), again)
        cost = self.cost(stale, start[:, 0], torch.where(runs, inside.sum(-1), 0), again)
        self.previous = logits
        place = torch.arange(W, device=f.tokens.device)
        return Pred(logits, torch.where(f.want, place, W), W, cost)

    def conditions(self, f: Forward) -> Tensor | None:
        """(B, W, V) the last prediction at the temperature that the forward says."""
        if self.previous is None:
            return None
        logits = self.previous if f.level is None else self.previous / f.level[:, None, None].to(self.previous.dtype)
        return logits.to(self.owner.model.dtype)

    def cost(self, stale: Tensor, start: Tensor, size: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
        """`Pred.cost` of a forward that encodes the columns where `stale (B, L)` and denoises `size (B,)` positions
        from `start (B,)` on."""
        owner, canvas, column = self.owner, size.double(), torch.arange(stale.shape[1], device=stale.device)
        positions = stale.sum(-1) + size
        flops = owner.column_work * positions.double()
        flops = flops + (owner.conditioning_work + owner.head_work * (1 + again.double())) * canvas
        for layer in owner.layers:
            most = layer.window or stale.shape[1]
            read = (stale * (column + 1).clamp(max=most)).sum(-1).double()
            flops = flops + 4 * layer.width * (read + canvas * (canvas + start.clamp(max=most - 1).double()))
        return positions, flops
