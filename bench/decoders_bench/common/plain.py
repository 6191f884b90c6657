"""The loop with which our runs are compared: every step is a full forward over the whole canvas with all logits.

It works like LLaDA's generation script (Nie et al. 2025, 2502.09992, Algorithm 5, low-confidence remasking, in
semi-autoregressive blocks), in our own words: the same forward, the same float64 softmax of every position's logits,
the same choice of the most confident masked positions of the current block. It does not use `decoders`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def see_both_ways(model: PreTrainedModel, both: bool = True) -> None:
    """Let a causal-LM class of transformers attend in both directions when it is given no mask, by the fast path of
    scaled_dot_product_attention, or to the left alone again; our own runs give a mask, and do not notice."""
    for module in model.modules():
        if hasattr(module, "is_causal"):
            setattr(module, "is_causal", not both)  # noqa: B010 -- a flag of transformers' attention, and no submodule


@torch.inference_mode()
def plain_decode(
    model: PreTrainedModel, prompts: Tensor, length: int, block: int, counts: Iterable[int], mask_id: int,
    after: Callable[[], object] = lambda: None,
) -> Tensor:
    """(B, P + length): what follows `prompts (B, P)`. `counts` are the tokens to commit in each forward; a block is
    left when it is full. `after` is called after every forward's step. The model sees both ways (`see_both_ways`)."""
    (B, P), device = prompts.shape, prompts.device
    canvas = torch.full((B, P + length), mask_id, device=device)
    canvas[:, :P] = prompts
    place = torch.arange(P + length, device=device)
    end, decided = P + block, 0
    for count in counts:
        logits = model(input_ids=canvas, use_cache=False).logits
        token = logits.argmax(-1)
        confidence = logits.to(torch.float64).softmax(-1).gather(-1, token[..., None])[..., 0]
        confidence = confidence.masked_fill((canvas != mask_id) | (place >= end), -torch.inf)
        chosen = confidence.topk(count, dim=-1).indices
        canvas.scatter_(1, chosen, token.gather(1, chosen))
        decided += count
        if decided == end - P:
            end = min(end + block, P + length)
        after()
    return canvas


def even(block: int, blocks: int, steps: int) -> Sequence[int]:
    """LLaDA's quotas: `steps` forwards for the row, an even share of them and of its tokens to each block, the
    remainder first."""
    each = steps // blocks
    return [block // each + (i < block % each) for i in range(each)] * blocks
