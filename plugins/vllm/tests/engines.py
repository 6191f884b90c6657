"""Engines for tests: in this process, on a CPU, one at a time; and the library's own loop beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import decoders
from decoders.core import Blocks, Suppress, decode

NANO = Path(decoders.__file__).parent / "models" / "nano"
SMALL = {"dtype": "float32", "enforce_eager": True, "max_num_seqs": 8, "kv_cache_memory_bytes": 64 << 20}


def engine(directory: Path, **options: Any) -> Any:
    from decoders_vllm.plugin import overrides
    from vllm import LLM

    return LLM(str(directory), hf_overrides=overrides(str(directory)), **{**SMALL, **options})


class Served:
    """An engine and the library's own loop, side by side."""

    def __init__(self, llm: Any, loaded: decoders.Loaded) -> None:
        self.llm, self.loaded = llm, loaded
        self.windows = Blocks(loaded.block, loaded.model.attention_block)

    def params(self, spec: str, length: int, **more: Any) -> Any:
        from vllm import SamplingParams

        own = {key: more.pop(key) for key in ("seed", "temperature", "top_p", "infill", "constraint") if key in more}
        return SamplingParams(
            max_tokens=length, temperature=1.0, extra_args={"decoder": spec, **own}, **{"detokenize": False, **more}
        )

    def run(self, asked: Sequence[tuple[Sequence[int], Any]]) -> list[Any]:
        """The outputs of requests that run together."""
        done = self.llm.generate(
            [{"prompt_token_ids": list(p)} for p, _ in asked], [s for _, s in asked], use_tqdm=False
        )
        return [o.outputs[0] for o in done]

    def tokens(self, asked: Sequence[tuple[Sequence[int], Any]]) -> list[list[int]]:
        """Their tokens, without the one that ended them."""
        return [list(o.token_ids[: len(o.token_ids) - (o.finish_reason == "stop")]) for o in self.run(asked)]

    def own(
        self, spec: str, prompt: Sequence[int], length: int, seed: int = 0, stop: bool = True, **more: Any
    ) -> list[int]:
        """The tokens of the library's loop; without `stop` all that follow the prompt, of any kind."""
        d = decoders.get(spec).tokenized(self.loaded.tokenizer.inner)
        rules = [Suppress(self.loaded.never), *more.pop("rules", ())]
        row = decode(
            self.loaded.model, d, [list(prompt)], length=length, windows=self.windows, rules=rules, seed=seed,
            stop=stop, **more
        )[0]
        return list(row.tokens if stop else row.canvas[len(row.canvas) - length :])
