"""Evaluations of the twins during training: their loss and their accuracy on validation items, for all of them at
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.tasks import GENERATED, Item
from decoders_bench.versus.examples import canvas, encoded, of_item
from decoders_bench.versus.packing import Batch, batch, shown
from decoders_bench.versus.plan import BLOCK, TASKS, Plan, Stream, Twin
from decoders_bench.versus.stack import Stack

SEED = 71
"""The seed of the items, which are not those on which decoders are chosen."""


@cache
def items(n: int) -> list[Item]:
    """Validation items of every task, with its wordings in turn."""
    out = []
    for name in TASKS:
        task, rung = name.split("/")
        own = GENERATED[task]
        each = [own.items(rung, "validation", n, SEED, t) for t in range(own.templates)]
        out += [each[i % own.templates][i] for i in range(n)]
    return out


def validation(plan: Plan, streams: Sequence[Stream]) -> Batch:
    """The data of the validation loss: the same examples and the same noise for every stream and at all times."""
    examples = [of_item(item) for item in items(max(plan.items, 8))]
    parts = []
    for stream in streams:
        kinds = [t.objective for t in plan.twins_of([stream])]
        parts.append(shown(examples, kinds, plan.width, "versus/validation"))
    return batch(parts, plan.width)


def losses(stack: Stack, b: Batch) -> Tensor:
    """(E,) the weighted loss of each twin, summed over the examples."""
    device = b.tokens.device.type
    with torch.autocast(device, torch.bfloat16):
        logits = stack.logits(stack(b.tokens, b.position, b.sees), b.source)
    ce = cross_entropy(logits.float().flatten(0, 1), b.target.flatten(), reduction="none").view_as(b.weight)
    return (ce * b.weight).sum(-1)


@dataclass(frozen=True)
class Questions:
    """Items as rows of L columns, and the columns of their canvases."""

    tokens: Tensor  # (R, L) long
    segment: Tensor  # (R, L) long  -1 past the end
    at: Tensor  # (R, W) long  the columns of the canvas
    open: Tensor  # (R, W) bool


def questions(asked: Sequence[Item]) -> Questions:
    own, prompts = segmenter(), [encoded(x.prompt) for x in asked]
    sizes = [canvas(x.task, x.rung) for x in asked]
    L, W = max(len(p) + n for p, n in zip(prompts, sizes, strict=True)), max(sizes)
    tokens, segment = torch.full((len(asked), L), own.end), torch.full((len(asked), L), -1)
    at, here = torch.zeros(len(asked), W, dtype=torch.long), torch.zeros(len(asked), W, dtype=torch.bool)
    for r, (prompt, n) in enumerate(zip(prompts, sizes, strict=True)):
        tokens[r, : len(prompt)], tokens[r, len(prompt) : len(prompt) + n] = torch.tensor(prompt), own.mask
        segment[r, : len(prompt) + n] = 0
        at[r, :n], here[r, :n] = torch.arange(len(prompt), len(prompt) + n), True
    return Questions(tokens, segment, at, here)


@torch.inference_mode()
def decoded(stack: Stack, twins: Sequence[Twin], q: Questions, device: str) -> Tensor:
    """(E, R, W) long: the canvases of all twins, decoded with one position per forward pass: autoregression commits the
    next position, and the other kinds the most confident one, within the first unfinished block or anywhere."""
    E, (R, L), W = len(twins), q.tokens.shape, q.at.shape[1]
    causal, blocks = (
        torch.tensor([t.objective == kind for t in twins], device=device)[:, None, None] for kind in ("ar", "block")
    )
    tokens, segment, at, open_ = (
        x.to(device).expand(E, -1, -1).clone() for x in (q.tokens, q.segment, q.at, q.open)
    )
    column = torch.arange(L, device=device).expand(E, R, L)
    until = torch.where(causal, column + 1, torch.where(blocks, (column // BLOCK + 1) * BLOCK, L))
    sees = Batch(tokens, segment, column, until, at, at, at).sees
    source = (at - causal.long() + L * torch.arange(R, device=device)[:, None]).flatten(1)
    last = torch.where(causal, at, torch.where(blocks, at // BLOCK, 0))
    never = torch.tensor([segmenter().mask, 2], device=device)  # and the token for unknown text
    for _ in range(W):
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = stack.logits(stack(tokens, column, sees), source)
        sure, best = logits.float().index_fill(-1, never, -torch.inf).softmax(-1).max(-1)
        order = torch.where(open_, sure.view(E, R, W) - 2.0 * last, -torch.inf)
        first = order.argmax(-1, keepdim=True)
        where = at.gather(-1, first)
        new = torch.where(open_.any(-1, keepdim=True), best.view(E, R, W).gather(-1, first), tokens.gather(-1, where))
        tokens.scatter_(-1, where, new)
        open_.scatter_(-1, first, False)
    return tokens.gather(-1, at)


def text(tokens: Sequence[int]) -> str:
    """The text before the first stop token."""
    own, pieces = segmenter(), list(segmenter().pieces)
    known = list(tokens)
    return "".join(pieces[t] for t in known[: known.index(own.end) if own.end in known else None])


def look(stack: Stack, plan: Plan, twins: Sequence[Twin], known: Batch, device: str) -> dict[str, Any]:
    """The validation loss of each twin, and the number of right items of each task."""
    asked = items(plan.items)
    with torch.inference_mode():
        lost = losses(stack, known) / len(items(max(plan.items, 8)))
    made = decoded(stack, twins, questions(asked), device).tolist()
    right = []
    for rows in made:
        own = dict.fromkeys(TASKS, 0)
        for item, row in zip(asked, rows, strict=True):
            said = text(row[: canvas(item.task, item.rung)])
            own[f"{item.task}/{item.rung}"] += GENERATED[item.task].grade(item.problem, said).exact
        right.append(own)
    return {"loss": [round(x, 5) for x in lost.tolist()], "right": right}
