"""A reasoner in this process: any causal language model of transformers in a local directory. Nothing is downloaded, no
code of the checkpoint is run, and weights are read from safetensors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import torch
from torch import Tensor

from decoders.core import UsageError, option, validate
from decoders.files import expanded
from decoders.models.loaded import Chat, Messages
from decoders.models.reading import line, quiet, read_json
from decoders.reasoning.base import ReasonerError, Reasoning, named, until
from decoders.stats.random import gumbel, scramble, unit

if TYPE_CHECKING:
    from decoders.models.tokenizer import JsonTokenizer

SALT = 0x7265617  # keeps the reasoner's draws apart from those of a diffusion model that has the same seed


@dataclass(frozen=True)
class Local:
    """A causal language model of transformers: `hf:DIRECTORY?temperature=0.7&device=cuda`. It is loaded when it is
    made."""

    path: str = option("", "the directory")
    chat: bool | None = option(None, "put the prompt into the model's chat template; none: if it has one")
    temperature: float = option(0.0, "0: the likeliest token", min=0)
    device: str = option("cpu", "where it runs: cpu, cuda, cuda:1")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "precision; auto: float32 on a CPU, else as stored"
    )

    def __post_init__(self) -> None:
        validate(self)
        read_json(self.directory / "config.json")
        if self.chat and self.tokenizer.chat is None:
            raise UsageError(f"{self.directory} has no chat template; leave out chat=true")
        _ = self.tokenizer, self.model

    @property
    def name(self) -> str:
        return named(f"hf:{quote(self.path, safe='/~:')}", self, ("chat", "temperature", "dtype"))

    @property
    def template(self) -> Chat | None:
        """The chat template that prompts are put into; none if they are continued."""
        return None if self.chat is False else self.tokenizer.chat

    @property
    def directory(self) -> Path:
        return expanded(self.path)

    @cached_property
    def tokenizer(self) -> JsonTokenizer:
        """Raises `UsageError`."""
        from decoders.models.tokenizer import JsonTokenizer, read_tokenizer

        file = self.directory / "tokenizer_config.json"
        return JsonTokenizer(read_tokenizer(self.directory, read_json(file) if file.is_file() else {}))

    @cached_property
    def model(self) -> Any:
        """Raises `UsageError`."""
        from transformers import AutoModelForCausalLM

        from decoders.models.checkpoint import check_weights, placed

        check_weights(self.directory)
        place = placed(self.device, self.dtype, None, False)
        device = place.pop("device")
        loader: Any = AutoModelForCausalLM
        try:
            with quiet():
                model, told = loader.from_pretrained(
                    self.directory, local_files_only=True, trust_remote_code=False, use_safetensors=True,
                    output_loading_info=True, **place
                )
        except Exception as e:  # any error here is an error of the directory
            raise UsageError(
                f"{self.directory} is no causal language model that transformers can load: {line(e)}"
            ) from e
        if told["missing_keys"]:
            raise UsageError(
                f"{self.directory} lacks {len(told['missing_keys'])} weights, the first is {min(told['missing_keys'])}"
            )
        return model.to(device).eval()

    def write(
        self, prompts: Sequence[str | Messages], *, seeds: Sequence[int], boundary: str, budget: int
    ) -> list[Reasoning | ReasonerError]:
        """All prompts are one batch. The samples of a prompt depend on its own seed alone."""
        began = time.perf_counter()
        ids: dict[int, list[int]] = {}
        out: dict[int, Reasoning | ReasonerError] = {}
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for i, prompt in enumerate(prompts):
            try:
                ids[i] = self.encode(prompt)
                if most is not None and len(ids[i]) + budget > most:
                    raise UsageError(
                        f"the prompt has {len(ids[i])} of its tokens; with a budget of {budget} that is beyond its "
                        f"{most}"
                    )
            except UsageError as e:
                ids.pop(i, None)
                out[i] = ReasonerError(f"{self.name}: {e}")
        written = self.generate(list(ids.values()), [seeds[i] for i in ids], boundary, budget) if ids else []
        seconds = time.perf_counter() - began
        for i, (tokens, spent) in zip(ids, written, strict=True):
            text = self.tokenizer.decode(tokens)
            cut = until(text, boundary)
            reason = "stop" if cut != text or len(tokens) < spent or spent < budget else "length"
            out[i] = Reasoning(cut, spent, seconds, reason, self.template is None, self.name)
        return [out[i] for i in range(len(prompts))]

    def encode(self, prompt: str | Messages) -> list[int]:
        """Token ids of the reasoner's own tokenizer. Raises `UsageError`."""
        if self.template:
            return self.template([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
        if not isinstance(prompt, str):
            raise UsageError("a conversation needs a chat template, and it has none, or is not to use it")
        ids = self.tokenizer.encode(prompt)
        if not ids:
            raise UsageError("the prompt is empty")
        return ids

    @torch.inference_mode()
    def generate(
        self, prompts: list[list[int]], seeds: Sequence[int], boundary: str, budget: int
    ) -> list[tuple[list[int], int]]:
        """For each prompt the tokens of the text, and the number of generated tokens, including an end token."""
        from transformers import GenerationConfig

        settings, device = self.model.generation_config, self.model.device
        said = settings.eos_token_id if settings.eos_token_id is not None else []
        ends = [said] if isinstance(said, int) else list(said)
        width = max(map(len, prompts))
        pad = ends[0] if ends else 0  # padding is masked, whatever its token is
        shown = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        stop = AtBoundary(self.tokenizer, boundary, width)
        noise = [Drawn(torch.tensor(seeds, device=device), self.temperature, width)] if self.temperature else []
        with quiet():
            made = self.model.generate(
                shown, attention_mask=mask, stopping_criteria=[stop], logits_processor=noise,
                generation_config=GenerationConfig(
                    max_new_tokens=budget, do_sample=False, eos_token_id=ends or None, pad_token_id=pad, use_cache=True
                ),
            )
        out = []
        for row, tokens in enumerate(made[:, width:].tolist()):
            whole = tokens[: stop.at.get(row, len(tokens))]
            text = next((i for i, t in enumerate(whole) if t in ends), len(whole))
            out.append((whole[:text], min(text + 1, len(whole))))
        return out


class AtBoundary:
    """A stopping criterion of transformers: rows whose text holds the boundary are done. `at`: after how many
    tokens."""

    def __init__(self, tokenizer: JsonTokenizer, boundary: str, start: int) -> None:
        self.decode, self.boundary, self.start = tokenizer.decode, boundary, start
        # tokens that hold it for certain, if it ends in the newest; a few for what decoding strips
        self.tail = len(boundary.encode()) + 8
        self.at: dict[int, int] = {}

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        made = input_ids[:, self.start :].tolist()
        for row, tokens in enumerate(made):
            if self.boundary and row not in self.at and self.boundary in self.decode(tokens[-self.tail :]):
                self.at[row] = len(tokens)
        return torch.tensor([row in self.at for row in range(len(made))], device=input_ids.device)


class Drawn:
    """A logits processor of transformers that makes the likeliest token a sample: Gumbel noise from a hash of the row's
    seed, the step and the token, so that no row depends on another."""

    def __init__(self, seeds: Tensor, temperature: float, start: int) -> None:
        self.seeds, self.temperature, self.start = seeds, temperature, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        row = scramble(scramble(scramble(self.seeds) + SALT) + (input_ids.shape[1] - self.start))[:, None]
        noise = gumbel(unit(scramble(row ^ torch.arange(scores.shape[-1], device=scores.device) * 0x2545F4914F6CDD1D)))
        return scores.double() / self.temperature + noise
