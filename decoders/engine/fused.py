"""The part of a step after the decision in few kernels: traced once with the shapes of a room and compiled.

Updating the records of a canvas takes about a hundred operations on small tensors of integers, booleans and copies, so
the compiled form gives the same bits. The forward, the statistics of the logits and the decision are not compiled. A
policy that reads a prediction cannot be traced; with such a policy nothing is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from decoders.core import Canvas, Fixed, Forward, Plan, Pred, State, choose, kept, mapped, prepare, view
from decoders.engine.backends import CannotCapture
from decoders.engine.buffers import leaves


@dataclass(frozen=True)
class Decided:
    """A step whose decision was made."""

    canvas: Canvas
    before: State
    forward: Forward
    after: State
    undefined: Tensor  # (B,) bool
    cost: tuple[Tensor, Tensor]
    fits: Tensor  # (B,) bool  rows that took part; the others stay unchanged
    waits: Tensor  # () long


@dataclass(frozen=True)
class Books:
    """The state that is carried to the next step."""

    canvas: Canvas
    forward: Forward
    shown: dict[str, Tensor]  # what stands on the windows
    needs: Tensor
    news: Tensor
    waits: Tensor


def shown(c: Canvas) -> dict[str, Tensor]:
    """What `view` cuts out of a canvas."""
    return {name: getattr(view(c), name) for name in CUT}


CUT = ("tokens", "open", "editable", "confidence", "committed_at", "opened", "position")


class Spent:
    """A prediction of which only the cost is known."""

    def __init__(self, cost: tuple[Tensor, Tensor]) -> None:
        self.cost = cost

    def __getattr__(self, name: str) -> Any:
        raise CannotCapture(f"the cache policy reads {name} of a prediction, which cannot be compiled")


def carried(plan: Plan, session: Fixed, told: Callable[[Canvas, Tensor], Tensor], d: Decided) -> Books:
    """What becomes of it."""
    c = replace(d.canvas)
    vars(c)["state"] = d.before
    after = choose(d.fits, kept(plan, c, d.forward, cast(Pred, Spent(d.cost)), d.after, d.undefined), c)
    after = replace(after)
    g = prepare(plan, after)
    needs = session.needs(g)
    return Books(after, g, shown(after), needs, told(after, needs), d.waits + (~d.fits).sum())


class Fused:
    """`carried`, compiled for the shapes of its first call."""

    def __init__(self, body: Callable[[Decided], Books]) -> None:
        self.body = body
        self.compiled: Callable[..., list[Tensor]] | None = None

    def __call__(self, d: Decided, buffers: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Buffers, which are arranged as `Books` are, and what has to be written to them."""
        given = distinct(d)
        if self.compiled is None:
            self.trace(d, given)
        assert self.compiled is not None
        into = leaves(buffers)
        return [into[i] for i in self.written], self.compiled(*given)

    @torch.inference_mode(False)
    @torch.no_grad()
    def trace(self, d: Decided, given: list[Tensor]) -> None:
        self.body(d)  # what is made once is made now, and no part of what is traced
        place = {id(x): i for i, x in enumerate(given)}
        into: list[int] = []

        def traced(*tensors: Tensor) -> list[Tensor]:
            out = leaves(self.body(mapped(lambda x: tensors[place[id(x)]], d)))
            known = {id(x) for x in tensors}
            into[:] = [i for i, x in enumerate(out) if id(x) not in known]
            return [out[i] for i in into]

        graph = make_fx(traced)(*(x.clone() for x in given))
        self.written, self.compiled = into, torch.compile(graph, dynamic=False)


def distinct(d: Any) -> list[Tensor]:
    """Its tensors, each once."""
    return list({id(x): x for x in leaves(d)}.values())
