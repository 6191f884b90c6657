"""A strategy as one of SGLang's algorithms: SGLang runs the model, block by block, and hands over the logits of each
block.

SGLang's loop is block-causal diffusion on models whose output i predicts position i. A block's forwards are those of
the strategy and one more, which leaves the keys and values of its final tokens behind; a row is reported as done in
that one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from sglang.srt.dllm.algorithm.base import DllmAlgorithm
from torch import Tensor

from decoders.core import Blocks, Decoder, Pred, State, UsageError, asks, choose, mapped, refuse
from decoders.registry import get, unfolded

OURS = ("seed", "stop_ids")
THEIRS = ("block_size", "capture_input_preparation")
"""Keys of `--dllm-algorithm-config` that are no option of the strategy."""


class Left(NamedTuple):
    """What a row's last block left for the next one."""

    end: int
    """Where that block ended."""
    clock: Tensor  # (1,) long
    memo: Any  # leading dimension 1


@dataclass
class Block:
    """One row in one block; SGLang carries it from forward to forward."""

    state: State  # one row
    rid: str | None
    start: int


ABLE = {"mask", "blocks", "vocabulary"}
"""What SGLang's loop, which shows one block after the other, each whole to itself, can do of all that a strategy may
ask."""


def hostable(spec: str, decoder: Decoder) -> None:
    """Raises `UsageError` for a strategy that SGLang's loop cannot host."""
    if unfolded(spec)[1] is not None:
        raise UsageError(
            f"{spec} is a preset with a cache of its own, and under SGLang the cache is SGLang's; name the decoder "
            "alone"
        )
    refuse(spec, asks(decoder, block_causal=True), ABLE, "SGLang")
    asked = Blocks(8)
    if decoder.windows(asked, True) is not asked:
        raise UsageError(
            f"{spec} lays out the row itself, and SGLang shows one block after the other; take a strategy that does not"
        )


def batch(states: Iterable[State]) -> State:
    """One state with all rows."""
    made: State = mapped(lambda *xs: torch.cat(xs), *states)
    return made


def single(s: State, row: int) -> State:
    """One row; a copy, so that no row keeps the others' memory."""
    made: State = mapped(lambda x: x[row : row + 1].clone(), s)
    return made


class Strategy(DllmAlgorithm):
    """The base of all: `spec` is the strategy's spec string, and `--dllm-algorithm-config` gives further options of it,
    and `seed` (0) for rows without a seed of their own, and `stop_ids`, which some strategies treat in a special way.
    Options in the spec win.

    Raises `UsageError` for what cannot be made or hosted."""

    spec: ClassVar[str] = ""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        given: Mapping[str, Any] = config.algorithm_config or {}
        self.seed, self.stop_ids = int(given.get("seed", 0)), tuple(given.get("stop_ids") or ())
        self.decoder = get(self.spec, **{key: x for key, x in given.items() if key not in (*OURS, *THEIRS)})
        hostable(self.spec, self.decoder)
        self.vocab = 0  # known when the first forward comes
        self.left: OrderedDict[str, Left] = OrderedDict()
        self.keep = max(int(config.max_running_requests), 1)

    @classmethod
    def configure_server_args(cls, server_args: Any) -> None:
        """At launch, so that the server does not start with what it cannot host."""
        hostable(cls.spec, get(cls.spec))

    def max_steps(self, block_size: int) -> int:
        """Of the loop that knows no rounds: as many as any strategy needs, since it emits what stands there after
        them."""
        return 1 << 30

    def run(self, model_runner: Any, forward_batch: Any, algo_states: list[Any] | None = None) -> Any:
        self.vocab = int(model_runner.model_config.vocab_size)
        return super().run(model_runner, forward_batch, algo_states)

    def init_step_state(self, forward_batch: Any) -> list[Block]:
        """The rows at the start of their blocks."""
        B, W = forward_batch.batch_size, self.block_size
        tokens = forward_batch.input_ids.view(B, W).long()
        open_ = ~self._prompt_mask(forward_batch)
        place = forward_batch.positions.view(B, W).long()
        zero = torch.zeros(B, dtype=torch.long, device=tokens.device)
        seeds = getattr(getattr(forward_batch, "sampling_info", None), "sampling_seed", None)
        key = zero + self.seed if seeds is None else seeds.long()
        s = State(
            tokens=tokens.clone(), open=open_, editable=open_, confidence=torch.zeros_like(tokens, dtype=torch.float32),
            committed_at=torch.full_like(tokens, -1), position=place, size=zero + W, room=zero + W,
            opened=open_.sum(-1), windows=zero + 1, step=zero,
            clock=zero, key=key, mask_id=self.mask_id, vocab=self.vocab, stop_ids=self.stop_ids, block_causal=True,
        )
        s = self.decoder.init(s)
        rids = getattr(forward_batch, "rids", None) or [None] * B
        starts = place[:, 0].tolist()
        rows = [self.resumed(single(s, row), rids[row], starts[row]) for row in range(B)]
        return [
            Block(replace(x, memo=self.decoder.begin(x).memo), rids[row], starts[row]) for row, x in enumerate(rows)
        ]

    def prepare_inputs(self, model_runner: Any, forward_batch: Any, states: list[Block]) -> None:
        """What the next forward shows."""
        s = batch(x.state for x in states)
        shown = torch.where(self.decoder.done(s)[:, None] | ~s.editable, s.tokens, self.decoder.query(s).tokens)
        forward_batch.input_ids.copy_(shown.view(-1))

    def resumed(self, s: State, rid: str | None, start: int) -> State:
        """With clock and memo of the block before, if that was the same request's."""
        left = self.left.get(rid) if rid is not None else None
        return s if left is None or left.end != start else replace(s, clock=left.clock, memo=left.memo)

    def step(self, forward_batch: Any, full_logits: Tensor, states: list[Block]) -> list[bool]:
        """One forward's worth: rows that were complete in it are done, the others take a step."""
        B, W = len(states), self.block_size
        s = batch(x.state for x in states)
        over = self.decoder.done(s)
        logits = full_logits.view(B, W, -1)
        at = torch.where(self.decoder.query(s).want, torch.arange(W, device=logits.device), W)
        after = self.decoder.step(s, Pred(logits, at, W).without((self.mask_id,)))
        after = choose(over, s, replace(after, step=s.step + 1, clock=s.clock + 1))
        forward_batch.input_ids.copy_(torch.where(over[:, None], s.tokens, after.tokens).view(-1))
        done: list[bool] = over.tolist()
        for row, x in enumerate(states):
            x.state = single(after, row)
            if done[row] and x.rid is not None:
                self.remember(x)
        return done

    def remember(self, x: Block) -> None:
        """Keep what a finished block leaves, for as many rows as can run at once."""
        assert x.rid is not None
        self.left[x.rid] = Left(x.start + self.block_size, x.state.clock, x.state.memo)
        self.left.move_to_end(x.rid)
        while len(self.left) > self.keep:
            self.left.popitem(last=False)


@cache
def algorithm_class(spec: str) -> type[Strategy]:
    """The class that SGLang makes its algorithm of; the same for the same spec string."""
    return type(f"Decoders[{spec}]", (Strategy,), {"spec": spec})
