"""The role head of `role_order` for the embedded model: a classifier of hidden states at masked positions of its
training tasks.

Roles are derived from the right answers: tokens of the prompt are premises, signs are connectives, the final answer is
the conclusion, stop tokens are filler, and all other numbers are derived. A canvas is masked at a random rate, as in
training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from decoders import load
from decoders.models.adapter import TransformersModel
from decoders.models.loaded import Loaded
from decoders.strategies.role_order import ROLES
from decoders_bench.tasks import TASKS

TAUGHT = ("chain/easy", "chain/hard", "answer_first/easy", "answer_first/hard", "ledger/easy")
SIGNS = set("+-*/=;#,.:{}\"'")
BATCH = 32


def roles(loaded: Loaded, prompt: list[int], answer: list[int], final: str, length: int) -> list[int]:
    """The role of each of `length` positions, which contain the answer followed by stop tokens."""
    words = [loaded.tokenizer.decode([t]).strip() for t in answer]
    said = [i for i, w in enumerate(words) if w == final]
    concluding = said[0] if words[0].startswith("{") else said[-1]
    out = []
    for i, (token, word) in enumerate(zip(answer, words, strict=True)):
        sign = set(word.replace('"answer"', "").replace('"work"', "").replace(" ", "")) <= SIGNS
        name = (
            "conclusion" if i == concluding else "connective" if sign else "premise" if token in prompt else "derived"
        )
        out.append(ROLES.index(name))
    return out + [ROLES.index("filler")] * (length - len(answer))


@dataclass(frozen=True)
class Examples:
    states: Tensor  # (N, D) float32
    roles: Tensor  # (N,) long


@torch.inference_mode()
def examples(split: str, n: int, seed: int, notify: Callable[[], None]) -> Examples:
    """Hidden states at the masked positions of `n` items per task, each canvas masked once at a random rate, and their
    roles."""
    loaded = load("nano")
    model = loaded.model
    assert isinstance(model, TransformersModel)
    g = torch.Generator().manual_seed(seed)
    states, found = [], []
    for name in TAUGHT:
        task, rung = TASKS[name.partition("/")[0]], name.partition("/")[2]
        length = task.length[rung]
        for item in task.items(rung, split, n, seed):  # type: ignore[arg-type]
            prompt, answer = loaded.tokenizer.encode(item.prompt), loaded.tokenizer.encode(item.answer)
            full = torch.tensor([*prompt, *answer, *[model.stop_ids[0]] * (length - len(answer))])
            masked = torch.rand(length, generator=g) < torch.rand(1, generator=g).clamp(min=0.05)
            tokens = full.clone()
            tokens[len(prompt) :][masked] = model.mask_id or 0
            sees = torch.ones(1, len(tokens), len(tokens), dtype=torch.bool)
            hidden, _ = model.states(tokens[None], torch.arange(len(tokens))[None], sees)
            said = task.said(item.answer)
            assert said is not None
            states.append(hidden[0, len(prompt) :][masked].float())
            found.append(torch.tensor(roles(loaded, prompt, answer, said, length))[masked])
            notify()
    return Examples(torch.cat(states).clone(), torch.cat(found))


def train(data: Examples, width: int = 64, epochs: int = 30, seed: int = 0) -> dict[str, Tensor]:
    """The weights of a `RoleHead`, trained with each role weighted by the inverse square root of its frequency."""
    torch.manual_seed(seed)
    hidden, out = torch.nn.Linear(data.states.shape[1], width), torch.nn.Linear(width, len(ROLES))
    net = torch.nn.Sequential(hidden, torch.nn.ReLU(), out)
    counts = torch.bincount(data.roles, minlength=len(ROLES)).float()
    loss = torch.nn.CrossEntropyLoss((counts.sum() / counts.clamp(min=1)).sqrt())
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for at in torch.randperm(len(data.roles)).split(1024):
            optimiser.zero_grad()
            loss(net(data.states[at]), data.roles[at]).backward()
            optimiser.step()
    named = {"hidden": hidden.weight, "hidden_bias": hidden.bias, "out": out.weight, "out_bias": out.bias}
    return {name: x.detach().contiguous() for name, x in named.items()}


def write(path: Path, weights: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(path), {"format": "pt"})


def confusion(weights: dict[str, Tensor], data: Examples) -> Tensor:
    """(R, R) long: the number of tokens of each role (row) that are classified as each role (column)."""
    from decoders.strategies.role_order import RoleHead

    said = RoleHead(**weights)(data.states).argmax(-1)
    return torch.bincount(data.roles * len(ROLES) + said, minlength=len(ROLES) ** 2).view(len(ROLES), -1)
