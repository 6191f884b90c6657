"""What the twins of a run are made of, and what a step of their training takes: computed from the plan."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from decoders_bench.common.results import markdown
from decoders_bench.versus.checkpoints import LEVELS
from decoders_bench.versus.groups import Group, training
from decoders_bench.versus.plan import TITLES, Kind, Plan

PARTS = {
    "layers": r"(model|denoiser\.body)\.(layers|norm)\.",
    "embeddings of tokens": r"(model|denoiser\.body)\.embed_tokens\.",
    "head": r"(lm_head|denoiser\.head)\.",
    "table of latents": r"denoiser\.embedding$",
    "what takes a latent and its level": r"denoiser\.(inp|said|time|kind)\b",
    "rounder": r"rounder\.",
}
"""The parts of a twin, by the names of their weights."""


def size_of(plan: Plan, kind: Kind) -> tuple[dict[str, int], float]:
    """The parameters of each part of a twin, and the operations of the first step of its training, its gradients
    included; only products of matrices count."""
    own = replace(plan, seeds=1, regimes=plan.regimes[:1], kinds=(kind,))
    with TemporaryDirectory() as nowhere:
        run = training(Group(own), Path(nowhere), "cpu", 0)
    parts = dict.fromkeys(PARTS, 0)
    for name, x in run.exported(0).items():
        if name != LEVELS:
            parts[next(part for part, pattern in PARTS.items() if re.match(pattern, name))] += x.numel()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # fused attention is not counted
        run.lost(run.drawn(0).to("cpu")).sum().backward()
    return parts, float(counter.get_total_flops())


def size_table(plan: Plan) -> str:
    kinds = [kind for kind in plan.kinds if kind != "again"]
    own = [size_of(plan, kind) for kind in kinds]
    rows = [[part, *(f"{x[part]:,}" if x[part] else "" for x, _ in own)] for part in PARTS]
    rows = [row for row in rows if any(row[1:])]
    rows.append(["all parameters", *(f"{sum(x.values()):,}" for x, _ in own)])
    rows.append(["MFLOP of a training step", *(f"{flops / 1e6:,.0f}" for _, flops in own)])
    return markdown(["", *(TITLES[kind] for kind in kinds)], rows)
