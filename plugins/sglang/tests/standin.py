"""A small stand-in of what the plugin uses of SGLang 0.5.23, written after its sources: the lookup of algorithms, the
two loops that run one, the hooks of plugins, and a scheduler that hands over block after block. With SGLANG_SOURCE, the
directory of an unpacked wheel, the first three are SGLang's own files and only what they import of the rest of the
engine is made up.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from decoders.core import Forward, SessionSpec

SOURCE = os.environ.get("SGLANG_SOURCE")
NAMES = (
    "sglang", "sglang.srt", "sglang.srt.dllm", "sglang.srt.dllm.algorithm", "sglang.srt.dllm.algorithm.base",
    "sglang.srt.plugins", "sglang.srt.plugins.hook_registry", "sglang.srt.managers",
    "sglang.srt.managers.schedule_batch",
)


def install() -> None:
    """Put `sglang` into this process, as far as it is needed."""
    if SOURCE:
        from_source(SOURCE)
        return
    made = {name: ModuleType(name) for name in NAMES}
    sys.modules.update(made)
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    algorithm, base, hooks = (
        made[f"sglang.srt.{x}"] for x in ("dllm.algorithm", "dllm.algorithm.base", "plugins.hook_registry")
    )
    algorithm.algo_name_to_cls = {"LowConfidence": type("LowConfidence", (), {})}

    def get_algorithm_cls(name: str) -> type:
        if name not in algorithm.algo_name_to_cls:
            raise RuntimeError(f"no algorithm {name}")
        return algorithm.algo_name_to_cls[name]

    algorithm.get_algorithm_cls = get_algorithm_cls
    algorithm.get_algorithm = lambda config: algorithm.get_algorithm_cls(config.algorithm)(config)
    base.DllmAlgorithm = DllmAlgorithm
    made["sglang.srt.managers.schedule_batch"].FINISH_ABORT = Abort
    hooks.HookType, hooks.HookRegistry = HookType, HookRegistry
    HookRegistry.registered.clear()


def from_source(directory: str) -> None:
    """SGLang's own files, without running what its packages do on import."""
    for name in ("sglang", "sglang.srt", "sglang.srt.dllm"):
        package = ModuleType(name)
        package.__path__ = [os.path.join(directory, *name.split("."))]
        sys.modules[name] = package
    made_up = {
        "sglang.srt.environ": {
            "envs": SimpleNamespace(SGLANG_PLUGINS=SimpleNamespace(get=str), SGLANG_PLATFORM=SimpleNamespace(get=str))
        },
        "sglang.srt.dllm.config": {"DllmConfig": SimpleNamespace},
        "sglang.srt.layers": {},
        "sglang.srt.model_executor": {},
        "sglang.srt.layers.logits_processor": {"LogitsProcessorOutput": SimpleNamespace},
        "sglang.srt.model_executor.forward_batch_info": {"ForwardBatch": SimpleNamespace},
        "sglang.srt.model_executor.model_runner": {"ModelRunner": SimpleNamespace},
        "sglang.srt.server_args": {"ServerArgs": SimpleNamespace},
        "sglang.srt.managers": {},
        "sglang.srt.managers.schedule_batch": {"FINISH_ABORT": Abort},
        "sglang.srt.utils": {"is_npu": lambda: False},
    }
    for name, content in made_up.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    for name in ("sglang.srt.plugins.hook_registry", "sglang.srt.dllm.algorithm.base"):
        importlib.import_module(name)


def load_plugins(register: Callable[[], None]) -> None:
    """What each process of SGLang does first, for one plugin."""
    hooks: Any = sys.modules["sglang.srt.plugins.hook_registry"]
    hooks.HookRegistry.reset() if SOURCE else None
    register()
    hooks.HookRegistry.apply_hooks()


class HookType(Enum):
    AROUND = "around"


class HookRegistry:
    """Functions to be put around others, named by their dotted path."""

    registered: dict[str, Callable[..., Any]] = {}

    @classmethod
    def register(cls, target: str, hook: Callable[..., Any], hook_type: HookType) -> None:
        cls.registered[target] = hook

    @classmethod
    def apply_hooks(cls) -> None:
        for target, hook in cls.registered.items():
            module, _, name = target.rpartition(".")
            original = getattr(sys.modules[module], name)
            setattr(sys.modules[module], name, lambda *args, hook=hook, original=original: hook(original, *args))


class DllmAlgorithm:
    """The loops: all blocks of a batch until all are done, or one forward, after which each block says whether it is
    done."""

    def __init__(self, config: Any) -> None:
        self.block_size, self.mask_id, self.fdfo = config.block_size, config.mask_id, config.first_done_first_out_mode

    def prepare_inputs(self, model_runner: Any, forward_batch: Any, states: list[Any]) -> None: ...

    def _prompt_mask(self, forward_batch: Any) -> torch.Tensor:
        said = forward_batch.dllm_prompt_mask
        return said if said is not None else forward_batch.input_ids.view(forward_batch.batch_size, -1) != self.mask_id

    def run(self, model_runner: Any, forward_batch: Any, algo_states: list[Any] | None = None) -> Any:
        B = forward_batch.batch_size
        begun: list[Any] = self.init_step_state(forward_batch)
        if self.fdfo:
            states = [new if old is None else old for new, old in zip(begun, algo_states or [None] * B, strict=True)]
            self.prepare_inputs(model_runner, forward_batch, states)
            out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
            done = self.step(forward_batch, out.logits_output.full_logits, states)
            left = [None if over else state for over, state in zip(done, states, strict=True)]
            lengths = [self.block_size * over for over in done]
            return out.logits_output, forward_batch.input_ids.view(B, -1).tolist(), lengths, left, out.can_run_graph
        starts = self._prompt_mask(forward_batch).sum(1).tolist()
        self.prepare_inputs(model_runner, forward_batch, begun)
        out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
        if all(start == self.block_size for start in starts):
            return out.logits_output, [], None, None, out.can_run_graph
        for _ in range(self.max_steps(self.block_size)):
            if all(self.step(forward_batch, out.logits_output.full_logits, begun)):
                break
            self.prepare_inputs(model_runner, forward_batch, begun)
            out = model_runner.forward(forward_batch, pp_proxy_tensors=None)
        blocks = forward_batch.input_ids.view(B, -1)
        return out.logits_output, [blocks[i, starts[i] :] for i in range(B)], None, None, out.can_run_graph


@dataclass
class Abort:
    """The reason of a request that ends with an error."""

    message: str
    status_code: int
    err_type: str


@dataclass
class Req:
    """A request: what is settled of its row, and the block that is being worked on."""

    rid: str
    prompt: list[int]
    length: int
    seed: int
    said: dict[str, Any] = field(default_factory=dict)
    """What else its sampling parameters say."""
    tokenizer: Any = None
    vocab_size: int = 0
    eos_token_ids: set[int] | None = None
    dllm_config: Any = None
    row: list[int] = field(default_factory=list)
    """All finished blocks."""
    incomplete: list[int] | None = None
    state: Any = None
    to_finish: Any = None

    def __post_init__(self) -> None:
        names = ("regex", "json_schema", "ebnf", "structural_tag", "sampling_seed")
        given = dict.fromkeys(names) | {"max_new_tokens": self.length} | self.said
        self.origin_input_ids, self.sampling_params = self.prompt, SimpleNamespace(**given)

    @property
    def over(self) -> bool:
        return self.to_finish is not None or len(self.row) >= len(self.prompt) + self.length

    def block(self, size: int, mask: int) -> list[int]:
        start = len(self.row)
        text = self.prompt[start : start + size]
        return self.incomplete or text + [mask] * (size - len(text))


class Runner:
    """`forward` gives the logits of each row's block, on a block-causal model of the library's, without any stored keys
    and values."""

    def __init__(self, model: Any, reqs: Sequence[Req], size: int) -> None:
        self.model, self.reqs, self.size = model, reqs, size
        self.model_config = SimpleNamespace(vocab_size=model.vocab)

    def forward(self, batch: Any, pp_proxy_tensors: Any) -> Any:
        out = [self.one(r, batch.input_ids.view(len(self.reqs), -1)[i]) for i, r in enumerate(self.reqs)]
        return SimpleNamespace(logits_output=SimpleNamespace(full_logits=torch.cat(out)), can_run_graph=False)

    def one(self, r: Req, block: torch.Tensor) -> torch.Tensor:
        tokens = torch.tensor([[*r.row, *block.tolist(), 0]])
        L, W, start = tokens.shape[1], self.size, len(r.row)
        column = torch.arange(L)
        yes, no = torch.ones(1, W, dtype=torch.bool), torch.zeros(1, L, dtype=torch.bool)
        f = Forward(
            tokens, ((column // W + 1) * W)[None], (column < L - 1)[None], no, no, (start + torch.arange(W))[None], yes,
            torch.tensor([False]), torch.tensor([True]), torch.tensor([0]), torch.zeros(1, L, 2, dtype=torch.long),
            ~yes, torch.zeros(1, 0, W, dtype=torch.long), torch.zeros(1, 0, W, dtype=torch.bool),
        )
        return self.model.session(SessionSpec(1, L, W))(f).logits[0]


def admit(algorithm: Any, config: Any, loaded: Any, reqs: list[Req]) -> None:
    """What the scheduler does with requests before they wait; raises `ValueError` with what the client is told."""
    for r in reqs:
        r.tokenizer, r.vocab_size, r.eos_token_ids = loaded.tokenizer.fast, loaded.model.vocab, {*loaded.model.stop_ids}
        r.dllm_config = config
        if why := type(algorithm).validate_request(r):
            raise ValueError(why)


def serve(algorithm: Any, model: Any, reqs: list[Req]) -> dict[str, list[int]]:
    """Requests in one batch, block by block, until all have their length; what was generated, under their ids."""
    W, mask, fdfo = algorithm.block_size, algorithm.mask_id, algorithm.fdfo
    while live := [r for r in reqs if not r.over]:
        batch = SimpleNamespace(
            batch_size=len(live), input_ids=torch.tensor([t for r in live for t in r.block(W, mask)]),
            dllm_prompt_mask=None,
            positions=torch.tensor([len(r.row) + i for r in live for i in range(W)], dtype=torch.int32),
            rids=[r.rid for r in live],
            sampling_info=SimpleNamespace(sampling_seed=torch.tensor([r.seed for r in live])),
        )
        states = [r.state for r in live] if fdfo else None
        _, tokens, lengths, left, _ = algorithm.run(Runner(model, live, W), batch, states)
        for i, r in enumerate(live):
            whole = [*r.block(W, mask)]
            if fdfo:
                r.state, r.incomplete = left[i], tokens[i]
                if lengths[i]:
                    r.row, r.incomplete = [*r.row, *tokens[i]], None
                continue
            new = tokens[i].tolist() if tokens else []
            r.row += [*whole[: W - len(new)], *new]
    return {r.rid: r.row[len(r.prompt) : len(r.prompt) + r.length] for r in reqs}
