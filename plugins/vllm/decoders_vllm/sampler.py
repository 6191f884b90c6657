"""The sampler and the attention of the engine: rows of any decoder in one batch, one batched step for each decoder.

vLLM's data path for diffusion models is that of speculative decoding: a canvas is a row of draft tokens. A denoising
forward rejects all of them, and a commit accepts those that the engine does not know yet. The hot path reads nothing
from the device and does not loop over rows: all that the host needs is which slot belongs to which decoder, and it
knows that since admission.

Positions are those of the row. The engine counts canvases from the end of the prompt, and SDAR's blocks are counted
from the start of the row, so the first canvas repeats the *tail* of the prompt, the part of it in its last block: the
tail is run at its true positions, and its keys and values replace those of the prefill. The engine's and the row's
positions agree again after the first commit. Shifted models start with a tail of at least one position, since the last
row of logits of a commit predicts the first position after it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.v1.worker.gpu.attn_utils import build_attn_metadata
from vllm.v1.worker.gpu.model_states.interface import ModelState
from vllm.v1.worker.gpu.sample.output import SamplerOutput

from decoders.core import mapped
from decoders_vllm.pages import wiped
from decoders_vllm.pieces import Pieces, decoding, outer, whole
from decoders_vllm.requests import STOPS, Request, of_sample, request_of
from decoders_vllm.rows import COMMIT, FREE, IDLE, NUMBERS, UNDEFINED, EngineSpec, RowPlan, Rows, advance, settle, show
from decoders_vllm.served import Served

KEPT = 64
"""The number of plans whose memos are kept for later requests with the same plan."""


class Slots:
    """The rows of all requests by slot, and the memos of each plan."""

    def __init__(self, number: int, canvas: int, spec: EngineSpec, device: torch.device) -> None:
        self.number = number
        self.rows = Rows.vacant(number, canvas, spec, STOPS, device)
        self.memos: dict[RowPlan, Any] = {}

    def take(self, index: Tensor, plan: RowPlan | None) -> Rows:
        """The rows in the slots `index (r,)`, with their memos if they all have one plan."""
        memo = mapped(lambda x: x[index], self.memos[plan]) if plan in self.memos else None
        own = {name: getattr(self.rows, name)[index] for name in NUMBERS}
        return replace(self.rows, **own, width=plan.windows.size if plan else self.rows.width, memo=memo)

    def put(self, index: Tensor, plan: RowPlan, rows: Rows) -> None:
        for name in NUMBERS:
            getattr(self.rows, name).index_copy_(0, index, getattr(rows, name))
        if plan not in self.memos:
            self.memos[plan] = mapped(lambda x: x.new_zeros(self.number, *x.shape[1:]), rows.memo)
        mapped(lambda x, new: x.index_copy_(0, index, new.to(x.dtype)), self.memos[plan], rows.memo)

    def forget(self, plan: RowPlan) -> None:
        """Called when no slot has this plan any more; its memos are dropped if more than `KEPT` plans have some."""
        if len(self.memos) > KEPT:
            self.memos.pop(plan, None)


@dataclass(frozen=True)
class Saved:
    """A row whose request was removed and may return: vLLM preempts requests to make room, and later computes their
    keys and values again."""

    rows: Rows
    shown: Tensor
    cut: Tensor
    reach: Tensor
    carry: Tensor | None
    soft: Tensor | None


class Host(ModelState):
    """The rows of an engine, and the parts of them that the forward needs."""

    num_new_sampled_tokens_per_step = 0

    def __init__(self, vllm_config: Any, model: Any, encoder_cache: Any, device: torch.device) -> None:
        super().__init__(vllm_config, model, encoder_cache, device)
        served = self.served = Served.read(self.model_config.hf_config.decoders_served)
        cache = vllm_config.cache_config
        self.engine = EngineSpec(
            served.mask_id, served.vocab, served.stop_ids, served.never, served.shifted,
            bool(cache.enable_prefix_caching), served.causal,
        )
        n, C = self.max_num_reqs, served.canvas
        self.slots = Slots(n, C, self.engine, device)
        self.cut, self.reach = (
            torch.zeros(n, dtype=torch.long, device=device),
            torch.zeros(n, dtype=torch.long, device=device),
        )
        self.carry = torch.zeros(n, served.vocab, dtype=torch.float32, device=device) if served.shifted else None
        self.soft: Tensor | None = None  # (n, C, H), for models that condition on their last prediction
        self.pins: Tensor | None = None  # (n, max_model_len) int32, from the first request on that has given tokens
        self.plan: list[RowPlan | None] = [None] * n
        self.asked: list[Request | None] = [None] * n
        self.limit = np.zeros(n, dtype=np.int64)
        self.number = np.full(n, -1, dtype=np.int64)  # the index of the plan in `plans`
        self.joined = np.zeros(n, dtype=bool)  # whether the prefill is over
        self.plans: list[RowPlan] = []
        self.slot_of: dict[str, int] = {}
        self.saved: OrderedDict[str, Saved] = OrderedDict()
        self.back: dict[int, Saved] = {}
        self.pages: tuple[int, ...] = ()
        self.broken = torch.zeros(n, dtype=torch.bool, device=device)  # the logits were not finite
        self.layers = vllm_config.compilation_config.static_forward_context

    # --- requests

    def get_supported_generation_tasks(self) -> tuple[str, ...]:
        return ("generate",)

    def custom_sampler(self, sampler: Any) -> tuple[Any, None]:
        return StrategySampler(sampler, self), None

    def initialize_kv_cache(self, kv_cache_config: Any, block_tables: Any) -> None:
        self.pages = tuple(int(x) for x in block_tables.block_sizes)
        self.stored, self.tables = kv_cache_config, block_tables

    def add_request(self, slot: int, new: Any) -> None:
        p = new.sampling_params
        asked = request_of(self.served, p.extra_args, p.max_tokens, p.ignore_eos)
        asked = of_sample(asked, p.extra_args, new.req_id)
        self.slot_of[new.req_id], self.asked[slot], self.plan[slot] = slot, asked, asked.plan
        if asked.plan not in self.plans:
            free = next((i for i in range(len(self.plans)) if not (self.number == i).any()), len(self.plans))
            for gone in self.plans[free : free + 1]:
                self.slots.memos.pop(gone, None)
            self.plans[free : free + 1] = [asked.plan]
        self.number[slot] = self.plans.index(asked.plan)
        self.limit[slot] = min(new.prompt_len + p.max_tokens, self.max_model_len)
        ends = [*(p.stop_token_ids or ()), *([p.eos_token_id] if p.eos_token_id is not None else [])]
        stops = torch.tensor([*ends, *[-1] * STOPS][:STOPS])
        self.slots.rows.stops[slot] = stops.to(self.device, non_blocking=True)
        self.slots.rows.phase[slot] = IDLE
        self.broken[slot] = False
        if new.req_id in self.saved:
            self.back[slot] = self.saved.pop(new.req_id)
        if asked.pins and self.pins is None:
            self.pins = torch.full((self.max_num_reqs, self.max_model_len), FREE, dtype=torch.int32, device=self.device)
        if self.pins is not None:
            self.pins[slot] = FREE
            given = torch.tensor(asked.pins[: self.max_model_len - new.prompt_len], dtype=torch.int32)
            self.pins[slot, new.prompt_len : new.prompt_len + len(given)] = given.to(self.device, non_blocking=True)

    def remove_request(self, req_id: str) -> None:
        slot = self.slot_of.pop(req_id, None)
        if slot is None:
            return
        plan = self.plan[slot]
        if self.joined[slot] and self.broken[slot]:  # one read on the host per request
            self.wipe(slot)
        if slot in self.back:
            self.saved[req_id] = self.back.pop(slot)
        elif self.joined[slot] and plan is not None:
            self.saved[req_id] = self.save(torch.tensor([slot], device=self.device), plan)
        while len(self.saved) > self.max_num_reqs:
            self.saved.popitem(last=False)
        self.number[slot], self.plan[slot], self.asked[slot], self.joined[slot] = -1, None, None, False
        if plan is not None and plan not in self.plan:
            self.slots.forget(plan)

    def wipe(self, slot: int) -> None:
        """Remove numbers that are not finite from the pages of a slot, since other requests get them next."""
        groups = zip(self.stored.kv_cache_groups, self.tables.block_tables, self.tables.num_blocks.np, strict=True)
        for group, table, filled in groups:
            caches = [self.layers[name].kv_cache for name in group.layer_names]
            wiped(caches, table.gpu[slot, : int(filled[slot])], self.stored.num_blocks)

    def save(self, here: Tensor, plan: RowPlan) -> Saved:
        shown = self.sampler.drafts[here]
        carry, soft = (None if x is None else x[here] for x in (self.carry, self.soft))
        return Saved(self.slots.take(here, plan), shown, self.cut[here], self.reach[here], carry, soft)

    def condition(self, index: Tensor, logits: Tensor | None, temperature: Tensor) -> None:
        """Keep the prediction `logits (r, C, V)` for the next forward of the slots `index (r,)`, for models that
        condition on it."""

    # --- the forward

    def prepare_inputs_embeds(self, *args: Any, **more: Any) -> None:
        return None

    def prepare_inputs(self, batch: Any, req_states: Any) -> dict[str, Any]:
        return {}

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        return {}

    def prepare_attn(
        self, batch: Any, cudagraph_mode: Any, block_tables: Any, slot_mappings: Tensor, attn_groups: Any,
        kv_cache_config: Any, for_capture: bool = False, ubatch_idx: int = 0,
    ) -> dict[str, Any]:
        real = all(r in self.slot_of for r in batch.req_ids)
        pieces = self.pieces(batch) if real else whole(batch)
        if real:
            self.place(batch, block_tables, slot_mappings)
        row = self.to_device(pieces.row)
        return build_attn_metadata(
            attn_groups=attn_groups, num_reqs=len(pieces.row), num_tokens=batch.num_tokens,
            query_start_loc_gpu=pieces.starts, query_start_loc_cpu=torch.from_numpy(pieces.starts_np),
            max_query_len=pieces.longest, seq_lens=pieces.ends, max_seq_len=self.max_model_len,
            block_tables=tuple(t[row] for t in block_tables), slot_mappings=slot_mappings,
            kv_cache_config=kv_cache_config, positions=batch.positions, causal=pieces.causal,
        )

    def to_device(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.device, non_blocking=True)

    def places(self, batch: Any) -> tuple[Tensor, Tensor]:
        """(T,) and (T,): for every token of the batch, its row and its place in the row."""
        lengths = np.diff(batch.query_start_loc_np[: batch.num_reqs + 1])
        row_np = np.repeat(np.arange(batch.num_reqs), lengths)
        row = self.to_device(row_np)
        offset = torch.arange(len(row_np), device=self.device) - batch.query_start_loc[row].long()
        decodes = self.to_device(decoding(batch))[row]
        base = self.slots.rows.base[batch.idx_mapping[row]]
        return row, torch.where(decodes, base + offset, batch.positions[: len(row_np)])

    def place(self, batch: Any, block_tables: Any, slot_mappings: Tensor) -> None:
        """Give the tokens of canvases their true positions; keys and values past the row's end are not stored."""
        row, place = self.places(batch)
        T = len(place)
        batch.positions[:T] = place
        limit = self.slots.rows.limit[batch.idx_mapping[row]]
        past = self.to_device(decoding(batch))[row] & (place >= limit)
        for table, slots, page in zip(block_tables, slot_mappings, self.pages, strict=True):
            found = table[row, (place // page).clamp(max=table.shape[1] - 1)].long() * page + place % page
            slots[:T] = torch.where(past, -1, found)

    def pieces(self, batch: Any) -> Pieces:
        """The attention of a batch, row by row and from left to right."""
        R, C = batch.num_reqs, self.served.canvas
        first_np = batch.num_computed_tokens_np[:R].astype(np.int64)
        start_np, length = (
            batch.query_start_loc_np[: R + 1].astype(np.int64),
            np.diff(batch.query_start_loc_np[: R + 1]).astype(np.int64),
        )
        decodes_np = decoding(batch)
        number = np.where(decodes_np, 3, 1 if self.engine.causal else -(-(first_np + length) // C) - first_np // C)
        row_np = np.repeat(np.arange(R), number)
        j_np = np.arange(len(row_np)) - np.repeat(np.cumsum(number) - number, number)
        prefilled = np.minimum((first_np[row_np] // C + j_np + 1) * C, first_np[row_np] + length[row_np])
        if self.engine.causal:
            prefilled = (first_np + length)[row_np]
        row, j, ends = self.to_device(row_np), self.to_device(j_np), self.to_device(prefilled)
        slot = batch.idx_mapping[row]
        decodes, base = self.to_device(decodes_np)[row], self.slots.rows.base[slot]
        stop = base + self.to_device(length)[row]
        reach = torch.minimum(self.reach[slot], stop)
        cut = torch.minimum(torch.maximum(self.cut[slot], base), reach)
        bound = torch.where(j == 0, cut, torch.where(j == 1, reach, stop))
        ends = torch.where(decodes, bound, ends)
        origin = torch.where(decodes, base, self.to_device(first_np)[row])
        to = self.to_device(start_np)[row] + ends - origin
        starts = torch.nn.functional.pad(to, (1, 0)).int()
        host = (
            starts.cpu().numpy()
            if self.device.type == "cpu"
            else outer(start_np, row_np, decodes_np, prefilled - first_np[row_np])
        )
        longest = int((length if self.engine.causal else np.minimum(length, C)).max())
        seen = torch.where(decodes & (j == 2), reach, ends).clamp(min=1).int()
        causal = torch.where(decodes, j == 0, self.engine.causal)
        return Pieces(row_np, starts, host, seen, causal.int(), longest)


class StrategySampler:
    """Takes the logits of canvases, returns the committed tokens, and writes the canvases of the next forward."""

    def __init__(self, base: Any, host: Host) -> None:
        self.base, self.host, host.sampler = base, host, self
        self.req_states, self.sampling_states = base.req_states, base.sampling_states
        self.logprob_token_ids_state = getattr(base, "logprob_token_ids_state", None)
        self.compute_nans = True  # the count of NaNs carries the reason why a row cannot go on
        self.penalties_state = SimpleNamespace(output_bin_counts=None)

    @property
    def drafts(self) -> Tensor:
        """(n, C) the tokens on which the next forward runs."""
        return self.req_states.draft_tokens

    def add_request(self, slot: int, params: Any) -> None:
        self.sampling_states.add_request(slot, params)

    def apply_staged_writes(self) -> None:
        self.sampling_states.apply_staged_writes()

    def __call__(self, logits: Tensor, batch: Any, draft_logits: Any = None) -> SamplerOutput:
        host, R, C = self.host, batch.num_reqs, self.host.served.canvas
        slots, decodes = batch.idx_mapping_np[:R], decoding(batch)
        out = torch.zeros(R, C, dtype=torch.int32, device=host.device)
        count, failed = (torch.zeros(R, dtype=torch.int32, device=host.device) for _ in range(2))
        owners = np.where(decodes, host.number[slots], -1)
        for number in np.unique(owners[owners >= 0]):
            self.step(host.plans[number], np.flatnonzero(owners == number), logits, batch, out, count, failed)
        done = batch.num_computed_prefill_tokens_np[:R] + batch.num_scheduled_tokens[:R] >= batch.prefill_len_np[:R]
        joins = np.where(~decodes & done, host.number[slots], -1)
        for number in np.unique(joins[joins >= 0]):
            self.join(host.plans[number], slots[joins == number], batch.prefill_len_np[:R][joins == number])
        length = host.to_device(np.where(decodes, np.diff(batch.query_start_loc_np[: R + 1]), 0).astype(np.int32))
        return SamplerOutput(
            sampled_token_ids=out, logprobs_tensors=None, num_nans=failed, num_sampled=count,
            num_rejected=(length - count).clamp(min=0),
        )

    def step(
        self, plan: RowPlan, which: np.ndarray, logits: Tensor, batch: Any, out: Tensor, count: Tensor, failed: Tensor
    ) -> None:
        """Apply one forward to the rows `which` of the batch, which all have one plan."""
        host, C = self.host, self.host.served.canvas
        index = host.to_device(batch.idx_mapping_np[which].astype(np.int64))
        which_ = host.to_device(which.astype(np.int64))
        first, last = (batch.cu_num_logits_np[i].astype(np.int64) for i in (which, which + 1))
        at = np.minimum(first[:, None] + np.arange(C), last[:, None] - 1)
        seen = logits[host.to_device(at)].float()
        rows = host.slots.take(index, plan)
        carry = None if host.carry is None else host.carry[index]
        if carry is not None:
            last_row = torch.where((rows.phase == COMMIT)[:, None], seen[:, -1], carry)
            host.carry.index_copy_(0, index, last_row)
        made = advance(rows, plan, host.engine, seen, carry, self.given(index, rows.base + C, C))
        out.index_copy_(0, which_, made.out.int())
        count.index_copy_(0, which_, made.count.int())
        failed.index_copy_(0, which_, made.failed.int())
        host.broken.index_copy_(0, index, made.failed == UNDEFINED)
        self.settle(index, plan, made.rows, seen)

    def given(self, index: Tensor, base: Tensor, width: int) -> Tensor:
        """(r, width) the tokens given after the prompts, at the places from `base (r,)` on; FREE if there is none."""
        place = base[:, None] + torch.arange(width, device=base.device)
        if self.host.pins is None:
            return torch.full_like(place, FREE)
        pins = self.host.pins[index[:, None], place.clamp(max=self.host.pins.shape[1] - 1)].long()
        return torch.where(place < self.host.pins.shape[1], pins, FREE)

    def settle(self, index: Tensor, plan: RowPlan, rows: Rows, seen: Tensor | None = None) -> None:
        """Store rows and the inputs of their next forward."""
        host = self.host
        host.slots.put(index, plan, rows)
        shown = show(rows, plan, host.engine)
        host.cut.index_copy_(0, index, shown.cut)
        host.reach.index_copy_(0, index, shown.reach)
        host.condition(index, seen, shown.level)
        self.drafts.index_copy_(0, index, shown.tokens.to(self.drafts.dtype))

    def join(self, plan: RowPlan, slots: np.ndarray, prefill: np.ndarray) -> None:
        """Called when the prefill is over: lay out the first canvases, with the tails of the prompts in them. Preempted
        rows continue where they were."""
        host, C = self.host, self.host.served.canvas
        host.joined[slots] = True
        returns = np.isin(slots, list(host.back))
        for slot in slots[returns]:
            self.resume(int(slot), plan)
        slots, prefill = slots[~returns], prefill[~returns].astype(np.int64)
        if not len(slots):
            return
        index, P = host.to_device(slots.astype(np.int64)), host.to_device(prefill)
        base = P if host.engine.causal else (P - int(host.engine.shifted)) // C * C
        base = torch.where(host.max_model_len - C < P, P, base)
        place = base[:, None] + torch.arange(C, device=P.device)
        tail = self.req_states.all_token_ids.gpu[index[:, None], place.clamp(max=host.max_model_len - 1)]
        given = torch.where(place < P[:, None], tail.long(), self.given(index, base, C))
        asked = [host.asked[s] for s in slots]
        zero = torch.zeros_like(P)
        rows = host.slots.take(index, None)
        rows = replace(
            rows, base=base, start=base, limit=host.to_device(host.limit[slots]), sent=P, step=zero, clock=zero,
            windows=zero, key=torch.tensor([a.seed for a in asked], device=P.device),
            holes_end=P + torch.tensor([len(a.pins) for a in asked], device=P.device),
        )
        self.settle(index, plan, settle(rows, plan, given))

    def resume(self, slot: int, plan: RowPlan) -> None:
        """Restore a preempted row, which continues where it was."""
        host, here = self.host, torch.tensor([slot], device=self.host.device)
        saved = host.back.pop(slot)
        host.slots.put(here, plan, saved.rows)
        host.cut[here], host.reach[here], self.drafts[here] = saved.cut, saved.reach, saved.shown
        if host.carry is not None:
            host.carry[here] = saved.carry
        if host.soft is not None:
            host.soft[here] = saved.soft
