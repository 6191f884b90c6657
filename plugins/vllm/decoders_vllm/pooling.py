"""Fully bidirectional models in vLLM's pooling runner, driven by the library's own loop: `-m vllm:DIRECTORY`.

With bidirectional attention, one new token changes all keys and values, so nothing is stored between forwards: each row
is one pooling request per forward, all rows of a batch are in flight together, and a row costs its whole length. The
engine returns only the statistics that the strategy needs (`decoders_vllm.compact`), a few numbers per position instead
of a whole row of logits.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from decoders.core import Canvas, Forward, Plan, Pred, SessionSpec, UsageError, option
from decoders.files import expanded
from decoders.models.checkpoint import check_weights, native_class
from decoders.models.columns import compact
from decoders.models.families import Family
from decoders.models.ids import edits_of, forbidden, mask_of, stops_of
from decoders.models.loaded import Loaded
from decoders.models.reading import read_json
from decoders.models.recognition import family_of
from decoders.models.source import Source
from decoders.models.tokenizer import load_tokenizer
from decoders_vllm.compact import Compact, Ledger, Question, foreseen

CLASSES = {
    "LlamaForCausalLM": "LlamaForPooling",
    "Qwen2ForCausalLM": "Qwen2ForPooling",
    "Qwen3ForCausalLM": "Qwen3ForPooling",
}
"""The transformers class that runs a family, to our class in `decoders_vllm.pooling_models`."""
ARCHITECTURE = "Decoders{}".format
LONGEST = 4096
"""The default limit on the positions of a row."""


def register() -> None:
    """Register the pooling models with vLLM; a second call changes nothing."""
    from vllm import ModelRegistry

    for cls in CLASSES.values():
        ModelRegistry.register_model(ARCHITECTURE(cls), f"decoders_vllm.pooling_models:{cls}")


@dataclass(frozen=True)
class Pooled(Source):
    """A checkpoint run by vLLM in this process or in processes of its own: LLaDA, Dream and the embedded model."""

    path: str = option("", "the directory")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "precision; auto: float32 on a CPU, else as stored"
    )
    rows: int = option(32, "requests in flight", min=1)
    columns: int | None = option(None, f"longest row; none: what the model was made for, {LONGEST} at most", min=1)
    memory: int = option(64, "MiB for vLLM's pages, on a CPU", min=16)
    tensor_parallel: int = option(1, "devices that share every layer", min=1)

    def load(self) -> Loaded:
        try:
            from vllm import LLM
            from vllm.platforms import current_platform
        except ImportError as e:
            raise UsageError(f"a model vllm:PATH needs vLLM in this environment: {e}") from None
        directory = expanded(self.path)
        config = read_json(directory / "config.json")
        family = poolable(config, directory)
        check_weights(directory)
        mask = mask_of(directory, config, family)
        tokenizer, never = load_tokenizer(directory, mask)
        on_cpu = current_platform.is_cpu()
        with ExitStack() as stack:
            view, native = translated(directory, config, family, stack)
            positions = native.max_position_embeddings
            most = self.columns or min(positions, LONGEST)
            register()
            llm = LLM(
                str(view), runner="pooling", skip_tokenizer_init=True, enable_prefix_caching=False,
                enforce_eager=on_cpu, dtype="float32" if self.dtype == "auto" and on_cpu else self.dtype,
                max_model_len=most, max_num_seqs=self.rows, max_num_batched_tokens=max(most, 2048),
                tensor_parallel_size=self.tensor_parallel,
                **({"kv_cache_memory_bytes": self.memory << 20} if on_cpu else {}),
            )
        vocab = int(native.vocab_size)
        stops = stops_of(directory, config, family, vocab, tokenizer)
        model = PooledModel(llm, mask_id=mask, stop_ids=stops, vocab=vocab, shifted=family.shifted)
        never = forbidden(tokenizer, (*never, *edits_of(directory, config, tokenizer)), stops, vocab)
        return Loaded(model, tokenizer, f"vllm:{directory.resolve()}", family.length, None, most, never, tokenizer.chat)


def poolable(config: dict[str, Any], directory: Path) -> Family:
    """The family of a checkpoint. Raises `UsageError` for one that is not fully bidirectional or has no class here."""
    family = family_of(config, str(directory))
    if "bidirectional" not in family.attentions or family.adapter or family.native not in CLASSES:
        raise UsageError(
            f"{directory} is of the family {family.name}, and vllm: runs the fully bidirectional ones of llada, "
            "illada, dream and nano; "
            "serve block-causal ones with decoders serve -m PATH"
        )
    return family


def translated(directory: Path, config: dict[str, Any], family: Family, stack: ExitStack) -> tuple[Path, Any]:
    """A directory with the checkpoint's weights and a config.json under transformers' names, which names our class; and
    that config. The directory exists until the stack is closed. Raises `UsageError` for settings that the family does
    not know."""
    known = native_class(config, family).config_class
    try:
        native = known(**family.settings(config, known))
    except UsageError as e:
        raise UsageError(f"{directory}: {e}") from None
    view = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="decoders-vllm-")))
    for file in weights_of(directory):  # vLLM would read every safetensors file beside them
        (view / file.name).symlink_to(file.resolve())
    words = native.to_dict() | {
        "architectures": [ARCHITECTURE(CLASSES[family.native])], "model_type": known.model_type,
        "diffusion_family": family.name, "dtype": config.get("dtype", config.get("torch_dtype", "float32")),
    }
    (view / "config.json").write_text(json.dumps(words, default=str), "utf-8")
    return view, native


def weights_of(directory: Path) -> list[Path]:
    """The files that hold a checkpoint's weights, as `check_weights` found them."""
    index = directory / "model.safetensors.index.json"
    if (directory / "model.safetensors").is_file():
        return [directory / "model.safetensors"]
    return [index, *(directory / name for name in sorted(set(read_json(index)["weight_map"].values())))]


class PooledModel:
    """A `Model` whose forwards are requests to a vLLM engine. It stores no keys and values and runs no causal
    forwards."""

    block_causal = False
    causal_context = False
    attention_block: int | None = None
    capabilities: frozenset[str] = frozenset()
    column_bytes = 0
    device = torch.device("cpu")

    def __init__(self, llm: Any, *, mask_id: int | None, stop_ids: tuple[int, ...], vocab: int, shifted: bool) -> None:
        self.llm, self.mask_id, self.stop_ids, self.vocab, self.shifted = llm, mask_id, stop_ids, vocab, shifted

    def session(self, spec: SessionSpec) -> PooledSession:
        return PooledSession(self)


class PooledSession:
    """One canvas. A forward sends every row with a wanted position; `compact_rows` and `whole_rows` count the logit
    rows that came back as statistics and as a whole."""

    def __init__(self, owner: PooledModel) -> None:
        self.owner = owner
        self.questions: list[Question] | None = None
        self.at: Tensor | None = None
        self.compact_rows = self.whole_rows = 0

    def foresee(self, plan: Plan, c: Canvas, f: Forward) -> None:
        """Find the statistics that the step after this forward needs, so that only these are returned."""
        self.at = compact(f.want, f.want.shape[1])
        self.questions = foreseen(plan, c, self.at, self.owner.vocab)

    def __call__(self, f: Forward) -> Pred:
        B, W = f.want.shape
        at, questions = self.at if self.at is not None else compact(f.want, W), self.questions
        self.at = self.questions = None
        there = at < W
        source = (f.at.gather(1, at.clamp(max=W - 1)) - int(self.owner.shifted)).clamp(min=0)
        end, wanting = f.until.amax(-1), there.any(-1)
        asked = [
            self.request(f, b, int(end[b]), source[b][there[b]], questions, b * at.shape[1] + there[b].nonzero()[:, 0])
            for b in wanting.nonzero()[:, 0].tolist()
        ]
        found = self.encode(asked)
        width = self.owner.vocab if questions is None else sum(len(q.columns) for q in questions)
        rows = torch.zeros(at.numel(), width).index_put((there.flatten().nonzero()[:, 0],), found)
        cost = torch.where(wanting, end, 0), torch.zeros(B, dtype=torch.double)
        if questions is None:
            self.whole_rows += len(found)
            return Pred(rows.view(*at.shape, -1), at, W, cost)
        self.compact_rows += len(found)
        return Compact.of(Ledger(at.numel(), self.owner.vocab, questions=questions, answers=rows), at, W, cost)

    def request(
        self, f: Forward, row: int, end: int, source: Tensor, questions: list[Question] | None, places: Tensor
    ) -> tuple[list[int], dict[str, Any]]:
        """The tokens of one row, and the questions about it."""
        said = None if questions is None else [q.spoken(places) for q in questions]
        return f.tokens[row, :end].tolist(), {"rows": source.tolist(), "questions": said}

    def encode(self, asked: list[tuple[list[int], dict[str, Any]]]) -> Tensor:
        """The answers of all requests, concatenated along the rows."""
        from vllm import PoolingParams

        if not asked:
            return torch.zeros(0, 1)
        done = self.owner.llm.encode(
            [{"prompt_token_ids": tokens} for tokens, _ in asked],
            [PoolingParams(extra_kwargs=said) for _, said in asked], pooling_task="token_classify", use_tqdm=False,
        )
        return torch.cat([o.outputs.data.float() for o in done])
