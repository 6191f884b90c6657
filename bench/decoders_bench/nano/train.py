"""Training of the embedded model on the generated tasks: seeded, resumable, on as many CPU processes as there are
cores.

The batches of every step come from a random generator seeded with (seed, worker, step), so a run that is interrupted
and resumed sees the data of an uninterrupted one. Gradients of the workers are averaged over gloo; each worker has one
thread, because intra-operator threads are slow for matrices this small.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from decoders.core import UsageError
from decoders_bench.nano.batches import Batch, Mixture, Mode, batches
from decoders_bench.nano.mixes import LATER, STAGES
from decoders_bench.nano.muon import Muon
from decoders_bench.nano.network import Network, config_of
from decoders_bench.nano.tokenizer import build, segmenter

MODES = {
    Mode("full"): 0.5, Mode("block", 1): 0.22, Mode("answer", 4): 0.04, Mode("answer", 8): 0.06,
    Mode("answer", 16): 0.04, Mode("answer", 32): 0.02, Mode("block", 4): 0.03, Mode("block", 8): 0.05,
    Mode("block", 16): 0.04,
}
"""The share of each way of decoding in the training. A block of one is the same in both block modes."""


FIXED = ("seed", "positions", "rate", "warmup", "hidden", "layers", "heads", "inner", "stages", "start")
"""The parameters that must not change when a run is resumed. The number of steps may change, which moves the decay, and
so may the device."""


@dataclass(frozen=True)
class Plan:
    """Everything that determines a run. `positions` is per worker and step; `decay` is the share of the steps in which
    the learning rate falls to 0; `start` is a directory with initial weights, if any."""

    out: str
    steps: int = 7000
    workers: int = 2
    seed: int = 0
    positions: int = 4000
    widest: int = 3000
    rate: float = 5e-3
    decay: float = 0.4
    warmup: int = 30
    save_every: int = 250
    hidden: int = 128
    layers: int = 6
    heads: int = 4
    inner: int = 352
    device: str = "cpu"
    stages: tuple[tuple[int, dict[str, float]], ...] = STAGES
    start: str = ""

    def mix(self, step: int) -> dict[str, float]:
        return next(mix for first, mix in reversed(self.stages) if step >= first)


def warmed(plan: Plan, start: str, mix: str = "pages") -> Plan:
    """The plan of a run that begins with the weights in `start`, with a mix of `LATER` and smaller steps."""
    stages, positions = LATER[mix]
    return replace(plan, start=start, stages=stages, positions=positions, rate=3.5e-3, decay=0.8)


def create(plan: Plan, vocab: int) -> Network:
    """The initial network: it has unit-variance activations and small residual branches."""
    torch.manual_seed(plan.seed)
    d = plan.hidden
    model = Network(vocab, d, plan.layers, plan.heads, plan.inner)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(std=deviation(name, d, plan.layers))
        if plan.start:
            begin(model, Path(plan.start))
    return model.to(plan.device)


def deviation(name: str, hidden: int, layers: int) -> float:
    """The standard deviation of the initial weights of a matrix with that name."""
    if "embed" in name:
        return 0.5
    if "lm_head" in name:
        return 0.02
    residual = name.endswith(("o_proj.weight", "down_proj.weight"))
    return float(hidden**-0.5 / ((2 * layers) ** 0.5 if residual else 1))


def begin(model: Network, directory: Path) -> None:
    """Load the weights of a model of the same shape, whose vocabulary may be the first part of this one. Raises
    `UsageError` for weights that do not fit."""
    weights, own = load_file(directory / "model.safetensors"), model.state_dict()
    fits = weights.keys() == own.keys() and all(
        weights[k].shape[1:] == x.shape[1:] and len(weights[k]) <= len(x) for k, x in own.items()
    )
    if not fits:
        raise UsageError(f"{directory} holds a model of another shape")
    for name, x in own.items():
        x[: len(weights[name])] = weights[name].float()


def loss_of(model: Network, b: Batch) -> torch.Tensor:
    """Sum over examples of the weighted cross-entropy at masked positions; products with weights are in bfloat16."""
    with torch.autocast(b.tokens.device.type, torch.bfloat16):
        logits = model.lm_head(model.model(b.tokens, b.position, b.sees).flatten(0, 1)[b.counts])
    ce = torch.nn.functional.cross_entropy(logits.float(), b.target.flatten()[b.counts], reduction="none")
    return (ce * b.weight.flatten()[b.counts]).sum()


def drawn(plan: Plan, step: int, ranks: Sequence[int]) -> tuple[Mode, list[Batch]]:
    """The batches of one step for these workers, and the way of decoding that they train; they depend only on the
    plan's seed."""
    tokenizer = segmenter()
    made: list[Batch] = []
    mode = Random(f"{plan.seed}/{step}").choices(list(MODES), list(MODES.values()))[0]
    for rank in ranks:
        own = Random(f"{plan.seed}/{rank}/{step}")
        mixture = Mixture(tokenizer, plan.mix(step), own)
        made += batches(iter(mixture), mode, own, plan.positions, plan.widest, tokenizer.end, tokenizer.mask)
    return mode, made


def rate_at(plan: Plan, step: int) -> float:
    """Relative learning rate: linear warm-up, constant, then linear to zero."""
    return min(1.0, (step + 1) / plan.warmup, (plan.steps - step) / max(plan.decay * plan.steps, 1))


class Run:
    """One worker's model, optimisers and checkpoint."""

    def __init__(self, plan: Plan, rank: int) -> None:
        self.plan, self.rank, self.out = plan, rank, Path(plan.out)
        self.model, layers = self.network()
        matrices = [p for layer in layers for p in layer.parameters() if p.dim() == 2]
        ids = {id(p) for p in matrices}
        self.rest = [p for p in self.model.parameters() if id(p) not in ids]
        self.optimisers = [
            Muon(matrices, plan.rate),
            torch.optim.AdamW(self.rest, plan.rate * 0.6, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.base = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.step, self.saved, self.log = 0, 0, {"minutes": 0.0, "examples": 0, "positions": 0}
        self.smooth: dict[str, torch.Tensor] = {}  # on the device: reading it waits for the device
        self.curve: list[dict[str, Any]] = []
        if (self.out / "checkpoint.json").exists():
            self.load()

    def network(self) -> tuple[torch.nn.Module, Iterable[torch.nn.Module]]:
        """The model, and those of its layers whose matrices Muon trains."""
        model = create(self.plan, len(segmenter()))
        return model, model.model.layers

    def loss(self, b: Any) -> torch.Tensor:
        """The sum over the examples of a batch, on the device."""
        return loss_of(self.model, b)  # type: ignore[arg-type]

    def smoothed(self, name: str, loss: torch.Tensor) -> None:
        self.smooth[name] = 0.97 * self.smooth.get(name, loss) + 0.03 * loss

    @property
    def told(self) -> dict[str, float]:
        """The current smoothed losses."""
        return {name: float(x) for name, x in self.smooth.items()}

    @staticmethod
    def drawn(plan: Plan, step: int, ranks: Sequence[int]) -> tuple[Mode, list[Any]]:
        """The data of a step for these workers; it depends only on the plan's seed."""
        return drawn(plan, step, ranks)

    def written(self) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        """The content of config.json for the model, and its weights by their names."""
        own, tokenizer = self.plan, segmenter()
        config = config_of(len(tokenizer), own.hidden, own.layers, own.heads, own.inner, tokenizer.end, tokenizer.mask)
        return config, self.model.state_dict()

    def export(self) -> None:
        """Write `config.json`, `model.safetensors` in bfloat16 and the tokenizer to `OUT/model`, and the course of the
        losses to `OUT/curve.json`."""
        where, (config, weights) = self.out / "model", self.written()
        where.mkdir(exist_ok=True)
        (where / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        stored = {name: x.to("cpu", torch.bfloat16).contiguous() for name, x in weights.items()}
        save_file(stored, where / "model.safetensors", {"format": "pt"})
        build().save_pretrained(where)
        (self.out / "curve.json").write_text("[\n" + ",\n".join(map(json.dumps, self.curve)) + "\n]\n")
        (where / "model.safetensors").chmod(0o644)

    def load(self) -> None:
        meta = json.loads((self.out / "checkpoint.json").read_text())
        differ = [k for k in FIXED if meta["plan"][k] != json.loads(json.dumps(asdict(self.plan)))[k]]
        if differ:
            raise UsageError(f"{self.out} holds a run with another {', '.join(differ)}; give the same or another --out")
        tensors = load_file(self.out / meta["file"])
        self.model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        for i, o in enumerate(self.optimisers):
            for j, p in enumerate(p for g in o.param_groups for p in g["params"]):
                own = {k.rpartition("/")[2]: v for k, v in tensors.items() if k.startswith(f"optimiser/{i}/{j}/")}
                # step counts stay on the host
                o.state[p] = {k: v.to(self.plan.device) if v.dim() else v for k, v in own.items()}
        self.step, self.log = meta["step"], meta["log"]
        self.curve = meta.get("curve", [])  # older checkpoints have none
        self.smooth = {k: torch.tensor(x, device=self.plan.device) for k, x in meta.get("smooth", {}).items()}
        self.saved = self.step

    def save(self) -> None:
        """The new file is complete before the pointer to it moves, so an interrupted save loses nothing."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for i, o in enumerate(self.optimisers):
            for j, p in enumerate(p for g in o.param_groups for p in g["params"]):
                tensors |= {f"optimiser/{i}/{j}/{k}": v for k, v in o.state[p].items()}
        file = f"checkpoint-{self.step % (2 * self.plan.save_every)}.safetensors"
        save_file(tensors, self.out / file)
        self.curve.append({"step": self.step, **self.log, "loss": self.told})
        meta = {
            "step": self.step, "file": file, "log": self.log, "plan": asdict(self.plan), "smooth": self.told,
            "curve": self.curve,
        }
        (self.out / "checkpoint.tmp").write_text(json.dumps(meta))
        os.replace(self.out / "checkpoint.tmp", self.out / "checkpoint.json")
        self.saved = self.step

    def one_step(self, mode: Mode, batches: Sequence[Any]) -> None:
        """One optimiser step with these batches, and with those of the other processes."""
        total = torch.zeros((), device=self.plan.device)
        for b in (batch.to(self.plan.device) for batch in batches):
            loss = self.loss(b)
            loss.backward()
            total += loss.detach()
        grads = [grad_of(p) for p in self.model.parameters()]
        counts = [float(sum(len(b.tokens) for b in batches)), float(sum(b.tokens.numel() for b in batches))]
        if dist.is_initialized():
            told = torch.cat([total[None], torch.tensor(counts, device=self.plan.device)])
            flat = torch.cat([g.flatten() for g in grads] + [told])
            dist.all_reduce(flat)
            for grad, own in zip(grads, flat[:-3].split([x.numel() for x in grads]), strict=True):
                grad.copy_(own.view_as(grad))
            total, *counts = flat[-3], *flat[-2:].tolist()
        n, positions = map(int, counts)
        torch._foreach_div_(grads, n)
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for o, base in zip(self.optimisers, self.base, strict=True):
            for g, lr in zip(o.param_groups, base, strict=True):
                g["lr"] = lr * rate_at(self.plan, self.step)
            o.step()
        self.model.zero_grad()
        self.step += 1
        self.log["examples"] += n
        self.log["positions"] += positions
        self.smoothed(f"{mode.kind}{mode.block or ''}", total / n)


def grad_of(p: torch.Tensor) -> torch.Tensor:
    """The gradient, which `backward` has set."""
    assert p.grad is not None
    return p.grad


Draw = Callable[[int], tuple[Mode, list[Any]]]
"""Returns the data of a step, given its number."""
Notify = Callable[[dict[str, Any]], None]


def work(rank: int, plan: Plan, port: int, notify: Notify | None, kind: type[Run] = Run) -> None:
    """One worker's whole run; the first one also reports, saves and exports."""
    torch.set_num_threads(1)
    if plan.workers > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=plan.workers)
    try:
        run = kind(plan, rank)
        steps(run, lambda step: run.drawn(plan, step, [rank]), notify)
        if rank == 0:
            run.export()
    finally:
        if plan.workers > 1:
            dist.destroy_process_group()


def steps(run: Run, draw: Draw, notify: Notify | None, deadline: float = inf, until: float = inf) -> None:
    """Run the steps that are left, or those before the step `until` that begin before `time.monotonic()` reaches
    `deadline`."""
    began, before = time.time(), run.log["minutes"]
    while run.step < min(run.plan.steps, until) and time.monotonic() < deadline:
        run.one_step(*draw(run.step))
        run.log["minutes"] = before + (time.time() - began) / 60
        if run.rank == 0:
            if notify:
                notify({"step": run.step, "loss": run.smooth, **run.log})
            if run.step % run.plan.save_every == 0:
                run.save()
    if run.rank == 0 and run.saved < run.step:
        run.save()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def train(plan: Plan, notify: Notify, kind: type[Run] = Run) -> None:
    """Train, or continue from the checkpoint in `plan.out`; `notify` is called after every step. Raises `UsageError` if
    that checkpoint was made with another plan."""
    Path(plan.out).mkdir(parents=True, exist_ok=True)
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GLOO_SOCKET_IFNAME": "lo"}
    port = free_port()
    others = [
        mp.get_context("spawn").Process(target=work, args=(r, plan, port, None, kind), daemon=True)
        for r in range(1, plan.workers)
    ]
    for p in others:
        p.start()
    try:
        work(0, plan, port, notify, kind)
    finally:
        for p in others:
            p.join(5)
            p.kill()
