"""Other ways of decoding the same model: a plain loop, a scheduler of diffusers, and autoregression."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import StaticCache

from decoders import UsageError
from decoders.engine import CudaGraphs, Recorded
from decoders.models.scatter import ScatterCache, store_argument
from decoders.models.work import Work
from decoders_bench.common.plain import plain_decode, see_both_ways
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.latency.measure import Bench, Once, Text, forget_peak, peak_bytes, random_prompts, wanted
from decoders_bench.latency.recordings import Wanted, cut
from decoders_bench.latency.rows import Case, Latency
from decoders_bench.latency.split import hooked

FOLLOWED = "threshold:tau=0.9", "none"
"""The peers that commit several tokens per forward pass use the forward passes of this decoder and cache."""


@dataclass(frozen=True)
class Spent:
    """The cost of one forward pass of a batch."""

    positions: float
    pairs: float
    logits: float
    reused: float = 0.0
    """Positions whose keys and values are read from a cache."""


@dataclass(frozen=True)
class Peer:
    """How a peer runs: `decode(net, canvas, prompt, block, counts, mask_id, after)` does the forward passes of `counts`
    and calls `after` after each step; `spends(case, n)` is the cost of a forward pass after n committed positions per
    row."""

    decode: Callable[[PreTrainedModel, Tensor, int, int, Sequence[int], int, Callable[[], object]], object]
    spends: Callable[[Case, int], Spent]
    causal: bool = False
    package: str = ""
    captured: bool = False
    """Whether its steps are graphs, which cannot be split."""


def whole_canvas(case: Case, reached: int) -> Spent:
    n = case.prompt + case.length
    return Spent(case.batch * n, case.batch * n * n, case.batch * n)


def up_to_block(case: Case, reached: int) -> Spent:
    n = case.prompt + (reached // case.block + 1) * case.block
    return Spent(case.batch * n, case.batch * n * n, case.batch * n)


def one_token(case: Case, reached: int) -> Spent:
    seen = case.prompt + reached
    return Spent(case.batch, case.batch * seen, case.batch, case.batch * (seen - 1))


def plain(
    net: PreTrainedModel, prompts: Tensor, length: int, block: int, counts: Sequence[int], mask_id: int,
    after: Callable[[], object],
) -> None:
    plain_decode(net, prompts, length, block, counts, mask_id, after)


@torch.inference_mode()
def autoregression(
    net: PreTrainedModel, prompts: Tensor, length: int, block: int, counts: Sequence[int], mask_id: int,
    after: Callable[[], object],
) -> None:
    """The most likely token, one at a time, with a KV cache of fixed size. The forward pass of the prompt is not
    timed."""
    P = prompts.shape[1]
    stored = {store_argument(net): StaticCache(config=net.config, max_cache_len=P + length), "use_cache": True}
    token = net(input_ids=prompts, logits_to_keep=1, **stored).logits[:, -1:].argmax(-1)
    after()
    for i in range(len(counts)):
        position = torch.tensor([P + i], device=prompts.device)
        logits = net(input_ids=token, position_ids=position[None], **stored).logits
        token = logits[:, -1:].argmax(-1)
        after()


@torch.inference_mode()
def captured_autoregression(
    net: PreTrainedModel, prompts: Tensor, length: int, block: int, counts: Sequence[int], mask_id: int,
    after: Callable[[], object],
) -> None:
    """The same with each step captured as a graph, with a KV cache of constant size; on a CPU, with the substitute for
    graphs."""
    (B, P), device, lowest = prompts.shape, prompts.device, torch.finfo(net.dtype).min
    store, key = ScatterCache(P + length), torch.arange(P + length, device=device)
    name = store_argument(net.base_model)

    def token_after(tokens: Tensor, at: Tensor) -> Tensor:
        """(B, 1) the most likely token after `tokens (B, M)`, which are at the positions `at (B, M)`."""
        store.index = at
        bias = torch.zeros(B, 1, at.shape[1], P + length, dtype=net.dtype, device=device)
        bias = bias.masked_fill(key > at[:, None, :, None], lowest)
        out = net.base_model(
            input_ids=tokens, attention_mask=bias, position_ids=at, use_cache=True, **{name: store}
        )
        return net.get_output_embeddings()(out.last_hidden_state[:, -1:]).argmax(-1)  # type: ignore[no-any-return]

    token = token_after(prompts, key[:P].expand(B, P))
    at = torch.full((B, 1), P, device=device)
    begun = token.clone(), at.clone()

    def step() -> None:
        token.copy_(token_after(token, at))
        at.add_(1)

    def restore() -> None:
        token.copy_(begun[0])
        at.copy_(begun[1])

    replay = (CudaGraphs(device) if device.type == "cuda" else Recorded()).capture(step, restore)
    after()
    for _ in counts:
        replay()
        after()


def refinement(scheduler: str) -> Callable[..., None]:
    """A loop around a scheduler of diffusers like that of its `LLaDA2Pipeline`: no cache, a forward pass over
    everything up to the block's end, the block's logits to the scheduler. A block takes the forward passes of
    `counts`."""

    @torch.inference_mode()
    def decode(
        net: PreTrainedModel, prompts: Tensor, length: int, block: int, counts: Sequence[int], mask_id: int,
        after: Callable[[], object],
    ) -> None:
        import diffusers

        made = getattr(diffusers, scheduler)()
        masks = {"mask_token_id": mask_id} if scheduler == "BlockRefinementScheduler" else {}
        sizes = {"block_length": block} if masks else {}
        (B, P), start = prompts.shape, prompts.shape[1]
        canvas = torch.full((B, P + length), mask_id, device=prompts.device)
        canvas[:, :P] = prompts
        for steps in per_block(counts, block):
            made.set_timesteps(steps, device=prompts.device, **sizes)
            for i in range(steps):
                logits = net(input_ids=canvas[:, : start + block], use_cache=False).logits[:, start:]
                out = made.step(logits, i, canvas[:, start : start + block], **masks)
                canvas[:, start : start + block] = out.prev_sample
                after()
            start += block

    return decode


def per_block(counts: Iterable[int], block: int) -> list[int]:
    """The number of forward passes of each block; the last block may be cut."""
    out, filled, steps = [], 0, 0
    for n in counts:
        filled, steps = filled + n, steps + 1
        if filled == block:
            out.append(steps)
            filled, steps = 0, 0
    return [*out, steps] if steps else out


PEERS = {
    "plain loop": Peer(plain, whole_canvas),
    "diffusers BlockRefinementScheduler": Peer(
        refinement("BlockRefinementScheduler"), up_to_block, package="diffusers"
    ),
    "diffusers EntropyBoundScheduler": Peer(refinement("EntropyBoundScheduler"), up_to_block, package="diffusers"),
    "autoregression": Peer(autoregression, one_token, causal=True),
    "autoregression, captured": Peer(captured_autoregression, one_token, causal=True, captured=True),
}


def followed(case: Case) -> Wanted:
    """The recording whose forward passes a peer repeats."""
    return wanted(replace(case, decoder=FOLLOWED[0], cache=FOLLOWED[1]))


@torch.inference_mode()
def measure_peer(bench: Bench, case: Case, way: str, repeats: int) -> Latency:
    """The results of a peer. Raises `UsageError` if it is not installed or does not support the model."""
    peer, net, shape = PEERS[way], bench.net, bench.shape
    if net is None or shape is None:
        raise UsageError("peers are measured on shapes")
    if peer.package and not importlib.util.find_spec(peer.package):
        raise UsageError(f"{peer.package} is not installed here")
    if shape.block_causal and not peer.causal:
        raise UsageError("it sees everything at once, and this model's blocks see no later block")
    if peer.causal:
        counts: tuple[int, ...] = (1,) * min(bench.steps, case.length)
        nfe = case.length
    else:
        recording = bench.recordings[followed(case)]
        counts = recording.commits[: cut(recording.commits, case.block, bench.steps)]
        nfe = len(recording.commits)
    prompts = random_prompts(case, bench.model).to(bench.device)
    see_both_ways(net, not peer.causal)

    def once(clock: Stopwatch) -> Once:
        clock.begin()
        peer.decode(net, prompts, case.length, case.block, counts, shape.mask_id, clock.tick)
        clock.marks = clock.marks[-len(counts) :]  # without the prompt's forward pass, if it is separate
        return Once(clock.steps, clock.regions)

    once(bench.clock(case))
    forget_peak(bench.device)
    plainly = [once(bench.clock(case)) for _ in range(repeats)]
    peak, split = peak_bytes(bench.device), []
    for _ in range(0 if peer.captured else repeats):
        clock = bench.clock(case)
        with hooked(net, clock):
            split.append(once(clock))
    reached = [sum(counts[:i]) for i in range(len(counts))]
    spent = [peer.spends(case, n) for n in reached]
    work = Work.of(net)
    flops = mean(work.column * s.positions + work.pair * s.pairs + work.row * s.logits for s in spent)
    moved = mean(bench.moved(s.positions, s.reused, s.logits) for s in spent)
    # otherwise the prompt would count
    busy = None if peer.causal else bench.busy(lambda: once(bench.clock(case)), len(counts))
    text = Text(nfe, nfe, case.batch * case.length)
    return bench.latency(case, way, plainly, split, text, peak, busy, flops, moved, [not peer.causal] * len(counts))


def mean(xs: Iterable[float]) -> float:
    found = list(xs)
    return sum(found) / len(found)
