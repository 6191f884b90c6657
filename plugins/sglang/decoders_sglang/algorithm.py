"""A strategy as one of SGLang's algorithms: SGLang runs the model, block by block, and hands over the logits of each
block.

SGLang's loop is block-causal diffusion on models whose output i predicts position i. A block takes the forwards of the
strategy and one more, which stores the keys and values of its final tokens; a row is reported as done in that last
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from sglang.srt.dllm.algorithm.base import DllmAlgorithm
from torch import Tensor

from decoders.core import BROKEN, LIVE, STALLED, NonFiniteError, StalledError, UsageError, begun
from decoders.registry import get
from decoders_sglang.requests import ADMITTED, Asked, Options, admit, hostable
from decoders_sglang.rows import BlockRows, Left, RowPlan, advanced, batch, initial, laid_out, shown, taken

ERRORS = {BROKEN: NonFiniteError, STALLED: StalledError}


@dataclass
class Block:
    """One row in one block; SGLang carries it from forward to forward."""

    rows: BlockRows  # one row
    plan: RowPlan
    asked: Asked | None
    """None: SGLang runs a request that was never admitted, as in its warm-up; it counts as a row of one block."""
    start: int
    given: bool
    """Whether all of the block is given, so that no step is taken in it."""


class Strategy(DllmAlgorithm):
    """The base class of the algorithms: `spec` is the strategy's spec string. `--dllm-algorithm-config` gives further
    options of it, which the spec overrides, a `seed` (default 0) for rows without their own, and `stop_ids` in place of
    the model's.

    Raises `UsageError` for a strategy that cannot be made or hosted."""

    spec: ClassVar[str] = ""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.options = Options.of(self.spec, config.algorithm_config or {})
        self.plan = RowPlan(self.options.decoder, (self.mask_id,), self.options.stop_ids)
        self.vocab = 0  # set by the first forward

    @classmethod
    def configure_server_args(cls, server_args: Any) -> None:
        """Called at launch, so that the server does not start with a strategy that it cannot host."""
        hostable(cls.spec, get(cls.spec))

    @classmethod
    def validate_request(cls, req: Any) -> str | None:
        """Called at admission: the error message for an invalid request, else None."""
        try:
            admit(cls.spec, req)
        except UsageError as e:
            return str(e)
        return None

    def max_steps(self, block_size: int) -> int:
        """The limit of the loop without rounds: more steps than any strategy needs, because that loop emits the tokens
        as they are after these steps."""
        return 1 << 30

    def run(self, model_runner: Any, forward_batch: Any, algo_states: list[Any] | None = None) -> Any:
        self.vocab = int(model_runner.model_config.vocab_size)
        return super().run(model_runner, forward_batch, algo_states)

    def init_step_state(self, forward_batch: Any) -> list[Block]:
        """The rows at the start of their blocks."""
        B, W = forward_batch.batch_size, self.block_size
        tokens, given = forward_batch.input_ids.view(B, W).long(), self._prompt_mask(forward_batch)
        base = forward_batch.positions.view(B, W)[:, 0].long()
        asked = [ADMITTED.get(rid) for rid in getattr(forward_batch, "rids", None) or [None] * B]
        starts, full = base.tolist(), given.all(-1).tolist()
        limits = [a.limit if a else start + W for a, start in zip(asked, starts, strict=True)]
        windows = [a.windows(W) if a else 1 for a in asked]
        rows = laid_out(
            tokens.clone(), given, base, *(torch.tensor(x, device=base.device) for x in (limits, windows)),
            self.keys(forward_batch, asked, base), self.mask_id, self.vocab,
        )
        plans, blocks = [a.plan if a else self.plan for a in asked], {}
        for plan, index in together(plans).items():
            fresh = initial(taken(rows, index), plan)
            for row, i in enumerate(index):
                own, a = taken(fresh, [row]), asked[i]
                left = a.left if a and a.left and a.left.end == starts[i] else None
                own = begun(left.resumed(own) if left else own, plan.decoder)
                blocks[i] = Block(own, plan, a, starts[i], full[i])
        return [blocks[i] for i in range(B)]

    def keys(self, forward_batch: Any, asked: list[Asked | None], base: Tensor) -> Tensor:
        """(B,) long: the seeds of the rows."""
        said: Tensor | None = getattr(getattr(forward_batch, "sampling_info", None), "sampling_seed", None)
        if said is not None:
            return said.long()
        own = [a.seed if a else None for a in asked]
        return torch.tensor([self.options.seed if x is None else x for x in own], device=base.device)

    def prepare_inputs(self, model_runner: Any, forward_batch: Any, states: list[Block]) -> None:
        """Write the tokens that the next forward shows."""
        tokens = forward_batch.input_ids.view(len(states), self.block_size)
        for plan, index in together([x.plan for x in states]).items():
            tokens[index] = shown(batch(states[i].rows for i in index), plan.decoder).to(tokens.dtype)

    def step(self, forward_batch: Any, full_logits: Tensor, states: list[Block]) -> list[bool]:
        """Apply one forward: rows that were complete in it are done, rows that cannot go on end with an error, and the
        others take a step."""
        B, W = len(states), self.block_size
        logits, tokens = full_logits.view(B, W, -1), forward_batch.input_ids.view(B, W)
        why = [LIVE] * B
        for plan, index in together([x.plan for x in states]).items():
            seen = logits if len(index) == B else logits[index]  # a copy of logits is large
            rows, reasons = advanced(batch(states[i].rows for i in index), plan, seen)
            tokens[index] = rows.tokens.to(tokens.dtype)
            for row, (i, reason) in enumerate(zip(index, reasons.tolist(), strict=True)):
                states[i].rows, why[i] = taken(rows, [row]), reason
                self.settle(states[i], reason)
        return [x != LIVE for x in why]

    def settle(self, x: Block, why: int) -> None:
        """Keep the clock and memo of a finished block for the next one, or end its request with an error."""
        if x.asked is None or why == LIVE:
            return
        if why in ERRORS:
            x.asked.abort(str(ERRORS[why](int(x.rows.clock))))
        elif not x.given:
            x.asked.left = Left(x.start + self.block_size, x.rows.clock, x.rows.memo)


def together(plans: list[RowPlan]) -> dict[RowPlan, list[int]]:
    """The indices of the rows of each plan, which take their steps together."""
    out: dict[RowPlan, list[int]] = {}
    for i, plan in enumerate(plans):
        out.setdefault(plan, []).append(i)
    return out


@cache
def algorithm_class(spec: str) -> type[Strategy]:
    """The class that SGLang instantiates as its algorithm; the same class for the same spec string."""
    return type(f"Decoders[{spec}]", (Strategy,), {"spec": spec})
