"""Muon: momentum with orthogonalised updates (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).

`torch.optim.Muon` computes the orthogonalisation in bfloat16, one matrix at a time, which is slow on a CPU without
bfloat16 arithmetic; so this one stays in float32 and computes all matrices of one shape in a single batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """(N, R, C) -> (N, R, C): all singular values near one, by a quintic Newton-Schulz iteration."""
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    found: Tensor = x.mT if tall else x
    return found


class Muon(torch.optim.Optimizer):
    """For matrices (R, C), or stacks of them (E, R, C). The size of an update matches that of AdamW: 0.2 * sqrt(max(R,
    C)) (Moonlight, 2502.16982)."""

    def __init__(
        self, params: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.03
    ) -> None:
        shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for p in params:
            shapes.setdefault(p.shape, []).append(p)
        groups = [{"params": ps} for ps in shapes.values()]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            params, lr, beta = group["params"], group["lr"], group["momentum"]
            grads = torch.stack([p.grad for p in params])
            for p in params:
                self.state[p].setdefault("momentum", torch.zeros_like(p))
            old = torch.stack([self.state[p]["momentum"] for p in params])
            new = old.lerp(grads, 1 - beta)
            update = orthogonalise(grads.lerp(new, beta)) * (0.2 * max(params[0].shape[-2:]) ** 0.5)
            for p, m in zip(params, new, strict=True):
                self.state[p]["momentum"] = m
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            torch._foreach_sub_(params, list(update), alpha=lr)
