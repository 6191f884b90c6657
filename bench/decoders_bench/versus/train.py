"""Training of twins: those that are computed together, side by side, either all or those of one stream of examples. An
interrupted run continues with identical results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
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

STATE, WEIGHTS, TRAINED = "training{}.pt", "weights{}-{}.safetensors", "trained{}.json"
AGAIN = 1000
"""The difference between the seed of the initial weights of `again` and that of its twin."""
PART = 14 << 20
"""The largest size of a file of weights, in bytes."""

Draw = Callable[[int], Any]
"""Returns the input of a step, given its number."""
Notify = Callable[[Any], None]
"""It is called with the `Training` after every step."""


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


def state_file(where: Path, part: int | None, group: str = "") -> Path:
    """The file of the saved state of all streams of a group, or of one."""
    return where / STATE.format(group if part is None else f"{group}-{part}")


def trained_file(where: Path, group: str = "") -> Path:
    """The file that marks a group as trained."""
    return where / TRAINED.format(group)


def clip(params: list[torch.nn.Parameter]) -> None:
    """Scale the gradients of each twin to a norm of at most one, over all its parameters in `params`."""
    square = torch.stack([grad_of(p).flatten(1).square().sum(1) for p in params]).sum(0)
    scale = (1.0 / (square.sqrt() + 1e-6)).clamp(max=1.0)
    for p in params:
        grad_of(p).mul_(scale.view(-1, *(1,) * (p.dim() - 1)))


class Training:
    """Twins that are trained together, their optimisers, and their progress. `where`: the directory of the saved state;
    `part`: the number of the one stream whose twins these are, or None for all; `group`: the part of the file names
    that tells the groups of a run apart."""

    def __init__(self, plan: Plan, where: Path, device: str, part: int | None = None, group: str = "") -> None:
        self.plan, self.device, self.schedule = plan, device, network_plan(plan)
        self.state = state_file(where, part, group)
        self.streams = plan.streams if part is None else [plan.streams[part]]
        self.twins = plan.twins_of(self.streams)
        self.model, matrices, self.rest = self.network()
        self.optimisers = [
            Muon(matrices, plan.rate),
            torch.optim.AdamW(self.rest, plan.rate * 0.6, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.base = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.step, self.seconds = 0, 0.0
        self.smooth = torch.zeros(len(self.twins), device=device)
        self.curve: list[dict[str, Any]] = []
        if self.state.exists():
            self.load()

    def network(self) -> tuple[torch.nn.Module, list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        """The module of all twins on the device, the matrices of its layers, and all other parameters."""
        raise NotImplementedError

    def drawn(self, step: int) -> Any:
        """The input of a step."""
        raise NotImplementedError

    def lost(self, b: Any) -> Tensor:
        """(E,) the loss of each twin, in the mean over the examples."""
        raise NotImplementedError

    def clip(self) -> None:
        """Scale the gradients of `rest` to a norm of at most one for each twin."""
        raise NotImplementedError

    def looked(self) -> dict[str, Any]:
        """The validation loss of each twin, and the number of its right items of each task."""
        raise NotImplementedError

    def exported(self, number: int) -> dict[str, Tensor]:
        """What the checkpoint of a twin is made of, by name."""
        raise NotImplementedError

    def load(self) -> None:
        """Raises `UsageError` for the state of another plan."""
        try:
            found = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as e:  # whatever the error is, the file has to be removed
            raise UsageError(f"{self.state} cannot be read: {next(iter(str(e).splitlines()), e)}") from None
        if found["plan"] != plain(self.plan):
            raise UsageError(f"{self.state} is the training of another plan; give the same or another directory")
        self.model.load_state_dict(found["weights"])
        for o, own in zip(self.optimisers, found["optimisers"], strict=True):
            o.load_state_dict(own)
        self.step, self.seconds, self.curve = found["step"], found["seconds"], found["curve"]
        self.smooth = found["smooth"].to(self.device)

    def save(self) -> None:
        """Save atomically: the new file is complete before it replaces the old one."""
        own = {
            "plan": plain(self.plan), "weights": self.model.state_dict(), "step": self.step, "seconds": self.seconds,
            "optimisers": [o.state_dict() for o in self.optimisers], "curve": self.curve, "smooth": self.smooth,
        }  # fmt: skip
        new = self.state.with_name(self.state.name + ".new")
        torch.save(own, new)
        os.replace(new, self.state)

    def one_step(self, b: Any) -> None:
        lost = self.lost(b.to(self.device))
        lost.sum().backward()
        self.clip()
        for o, base in zip(self.optimisers, self.base, strict=True):
            for g, lr in zip(o.param_groups, base, strict=True):
                g["lr"] = lr * rate_at(self.schedule, self.step)
            o.step()
        self.model.zero_grad()
        self.smooth = torch.lerp(self.smooth, lost.detach(), 1.0 if not self.step else 0.03)
        self.step += 1

    def look(self) -> None:
        told = [round(x, 5) for x in self.smooth.tolist()]
        self.curve.append({"step": self.step, "seconds": round(self.seconds, 2), "training": told} | self.looked())


class Run(Training):
    """The twins of equal shape."""

    def __init__(self, plan: Plan, where: Path, device: str, part: int | None = None, group: str = "") -> None:
        super().__init__(plan, where, device, part, group)
        self.known = validation(plan, self.streams).to(device)

    def network(self) -> tuple[torch.nn.Module, list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        self.stack = Stack([initial(self.plan, twin) for twin in self.twins], self.plan.heads).to(self.device)
        return self.stack, self.stack.matrices, self.stack.rest

    def drawn(self, step: int) -> Batch:
        return drawn(self.plan, step, self.streams)

    def lost(self, b: Batch) -> Tensor:
        return losses(self.stack, b) / self.plan.examples

    def clip(self) -> None:
        clip(self.rest)

    def looked(self) -> dict[str, Any]:
        return look(self.stack, self.plan, self.twins, self.known, self.device)

    def exported(self, number: int) -> dict[str, Tensor]:
        return stored(self.stack.network(number))


def stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a checkpoint has them, in bfloat16."""
    return {name: x.detach().to("cpu", torch.bfloat16).contiguous() for name, x in weights.items()}


def plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data."""
    own: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    return own


def plan_of(found: dict[str, Any]) -> Plan:
    own: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in found.items()}
    return Plan(**own)


def go(run: Training, draw: Draw, notify: Notify, every: int, deadline: float = inf, until: float = inf) -> None:
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


def export(runs: Sequence[Training], out: Path, told: dict[str, Any], group: str = "") -> None:
    """Write all weights of a group, and how they were trained, from one run of all streams or one run for each stream;
    the last file marks the others as complete."""
    out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for one, number, twin in ((run, i, twin) for run in runs for i, twin in enumerate(run.twins)):
        own = {f"{twin.name}/{name}": x for name, x in one.exported(number).items()}
        more = sum(x.nbytes for x in own.values())
        if size + more > PART and parts[-1]:
            parts.append({})
            size = 0
        parts[-1] |= own
        size += more
    for number, part in enumerate(parts):
        save_file(part, out / WEIGHTS.format(group, number), {"format": "pt"})
    found = {
        "plan": plain(runs[0].plan), "files": len(parts), "seconds": round(sum(run.seconds for run in runs), 1),
        "curve": [together(looks) for looks in zip(*(run.curve for run in runs), strict=True)], **told
    }
    put(trained_file(out, group), found)


def put(path: Path, found: Any) -> None:
    """Write a file atomically: it is complete, or missing."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    os.replace(new, path)


def together(looks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluations of several streams merged into one."""
    whole = {name: [x for look in looks for x in look[name]] for name in ("training", "loss", "right")}
    return {"step": looks[0]["step"], "seconds": round(sum(look["seconds"] for look in looks), 2)} | whole


def weights_of(out: Path, group: str = "") -> dict[str, Tensor]:
    """The weights that `export` wrote for a group, by `TWIN/NAME`."""
    files = json.loads(trained_file(out, group).read_text())["files"]
    return {name: x for i in range(files) for name, x in load_file(out / WEIGHTS.format(group, i)).items()}
