"""Training of twins side by side, either all or those of one stream of examples; an interrupted run continues with
identical results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from decoders.core import UsageError
from decoders_bench.nano import train as nano
from decoders_bench.nano.muon import Muon
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.nano.train import grad_of, rate_at
from decoders_bench.versus.looks import look, losses, validation
from decoders_bench.versus.packing import Batch, batch, of_stream
from decoders_bench.versus.plan import Plan, Stream, Twin
from decoders_bench.versus.stack import Stack

STATE, WEIGHTS, TRAINED = "training{}.pt", "weights-{}.safetensors", "trained.json"
AGAIN = 1000
"""The difference between the seed of the initial weights of `again` and that of its twin."""
PART = 14 << 20
"""The largest size of a file of weights, in bytes."""

Draw = Callable[[int], Batch]
Notify = Callable[["Run"], None]


def initial(plan: Plan, twin: Twin) -> dict[str, Tensor]:
    """The initial weights of a twin; twins of the same seed begin with the same bits."""
    seed = twin.seed + (AGAIN if twin.kind == "again" else 0)
    return nano.create(network_plan(plan, seed), len(segmenter())).state_dict()


def network_plan(plan: Plan, seed: int = 0) -> nano.Plan:
    """The shape and the learning-rate schedule, in the form that the training of the embedded model uses."""
    return nano.Plan(
        "", steps=plan.steps, seed=seed, decay=plan.decay, warmup=plan.warmup, hidden=plan.hidden, layers=plan.layers,
        heads=plan.heads, inner=plan.inner,
    )


def drawn(plan: Plan, step: int, streams: Sequence[Stream] | None = None) -> Batch:
    """The batch of a step for all twins, or for those of some streams."""
    return batch([of_stream(plan, *stream, step) for stream in streams or plan.streams], plan.width)


def state_file(where: Path, part: int | None) -> Path:
    """The file of the saved state of all streams, or of one."""
    return where / STATE.format("" if part is None else f"-{part}")


def clip(params: list[torch.nn.Parameter]) -> None:
    """Scale the gradients of each twin to a norm of at most one, over all its parameters in `params`."""
    square = torch.stack([grad_of(p).flatten(1).square().sum(1) for p in params]).sum(0)
    scale = (1.0 / (square.sqrt() + 1e-6)).clamp(max=1.0)
    for p in params:
        grad_of(p).mul_(scale.view(-1, *(1,) * (p.dim() - 1)))


class Run:
    """The twins, their optimisers, and their progress. `where`: the directory of the saved state; `part`: the number of
    the one stream whose twins these are, or None for all."""

    def __init__(self, plan: Plan, where: Path, device: str, part: int | None = None) -> None:
        self.plan, self.device, self.schedule = plan, device, network_plan(plan)
        self.state = state_file(where, part)
        self.streams = plan.streams if part is None else [plan.streams[part]]
        self.twins = plan.twins_of(self.streams)
        self.stack = Stack([initial(plan, twin) for twin in self.twins], plan.heads).to(device)
        self.optimisers = [
            Muon(self.stack.matrices, plan.rate),
            torch.optim.AdamW(self.stack.rest, plan.rate * 0.6, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.base = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.step, self.seconds = 0, 0.0
        self.smooth = torch.zeros(len(self.twins), device=device)
        self.curve: list[dict[str, Any]] = []
        self.known = validation(plan, self.streams).to(device)
        if self.state.exists():
            self.load()

    def load(self) -> None:
        """Raises `UsageError` for the state of another plan."""
        try:
            found = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as e:  # whatever the error is, the file has to be removed
            raise UsageError(f"{self.state} cannot be read: {next(iter(str(e).splitlines()), e)}") from None
        if found["plan"] != plain(self.plan):
            raise UsageError(f"{self.state} is the training of another plan; give the same or another directory")
        self.stack.load_state_dict(found["weights"])
        for o, own in zip(self.optimisers, found["optimisers"], strict=True):
            o.load_state_dict(own)
        self.step, self.seconds, self.curve = found["step"], found["seconds"], found["curve"]
        self.smooth = found["smooth"].to(self.device)

    def save(self) -> None:
        """Save atomically: the new file is complete before it replaces the old one."""
        own = {
            "plan": plain(self.plan), "weights": self.stack.state_dict(), "step": self.step, "seconds": self.seconds,
            "optimisers": [o.state_dict() for o in self.optimisers], "curve": self.curve, "smooth": self.smooth,
        }  # fmt: skip
        new = self.state.with_name(self.state.name + ".new")
        torch.save(own, new)
        os.replace(new, self.state)

    def one_step(self, b: Batch) -> None:
        lost = losses(self.stack, b.to(self.device)) / self.plan.examples
        lost.sum().backward()
        clip(self.stack.rest)
        for o, base in zip(self.optimisers, self.base, strict=True):
            for g, lr in zip(o.param_groups, base, strict=True):
                g["lr"] = lr * rate_at(self.schedule, self.step)
            o.step()
        self.stack.zero_grad()
        self.smooth = torch.lerp(self.smooth, lost.detach(), 1.0 if not self.step else 0.03)
        self.step += 1

    def look(self) -> None:
        made = look(self.stack, self.plan, self.twins, self.known, self.device)
        told = [round(x, 5) for x in self.smooth.tolist()]
        self.curve.append({"step": self.step, "seconds": round(self.seconds, 2), "training": told} | made)


def plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data."""
    own: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    return own


def go(run: Run, draw: Draw, notify: Notify, every: int, deadline: float = inf, until: float = inf) -> None:
    """Run the remaining steps, or those before the step `until` that begin before `time.monotonic()` reaches
    `deadline`. The state is saved after `every` steps, and at the end."""
    plan = run.plan
    marks = {max(round(plan.steps * (i + 1) / plan.looks), 1) for i in range(plan.looks)}
    before, began, saved = run.seconds, time.monotonic(), run.step
    while run.step < min(plan.steps, until) and time.monotonic() < deadline:
        run.one_step(draw(run.step))
        run.seconds = before + time.monotonic() - began
        if run.step in marks:
            run.look()
        if run.step % every == 0 and until == inf:
            run.save()
            saved = run.step
        notify(run)
    if saved < run.step and until == inf:
        run.save()


def export(runs: Sequence[Run], out: Path, told: dict[str, Any]) -> None:
    """Write all weights of a plan, in bfloat16, and how they were trained, from one run of all streams or one run for
    each stream; the last file marks the others as complete."""
    out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for stack, number, twin in ((run.stack, i, twin) for run in runs for i, twin in enumerate(run.twins)):
        own = {
            f"{twin.name}/{name}": x.to("cpu", torch.bfloat16).contiguous()
            for name, x in stack.network(number).items()
        }
        more = sum(x.numel() * 2 for x in own.values())
        if size + more > PART and parts[-1]:
            parts.append({})
            size = 0
        parts[-1] |= own
        size += more
    for number, part in enumerate(parts):
        save_file(part, out / WEIGHTS.format(number), {"format": "pt"})
    found = {
        "plan": plain(runs[0].plan), "files": len(parts), "seconds": round(sum(run.seconds for run in runs), 1),
        "curve": [together(looks) for looks in zip(*(run.curve for run in runs), strict=True)], **told
    }
    (out / f"{TRAINED}.new").write_text(json.dumps(found) + "\n")
    os.replace(out / f"{TRAINED}.new", out / TRAINED)


def together(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluations of several streams merged into one."""
    whole = {name: [x for look in looks for x in look[name]] for name in ("training", "loss", "right")}
    return {"step": looks[0]["step"], "seconds": round(sum(look["seconds"] for look in looks), 2)} | whole


def weights_of(out: Path) -> dict[str, Tensor]:
    """The weights that `export` wrote, by `TWIN/NAME`."""
    files = json.loads((out / TRAINED).read_text())["files"]
    return {name: x for i in range(files) for name, x in load_file(out / WEIGHTS.format(i)).items()}
