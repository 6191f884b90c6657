"""Writes a repository for the hub with a custom generation method for transformers: `model.generate(...,
custom_generate="ORG/NAME", trust_remote_code=True)`.

    python plugins/custom_generate/build.py DIRECTORY

The repository contains no decoder: its one function calls the installed package, which must have the version that
wrote it or a later one. It can be uploaded unchanged (`hf upload ORG/NAME DIRECTORY`), or named as a directory."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import decoders
from decoders.registry import entries
from decoders.tree import version

FUNCTION = '''"""A way of generating for transformers: the decoders of the package dllm-decoders."""

from decoders.recipe import from_arguments


def generate(*inputs, model, **arguments):
    return from_arguments(model, *inputs, **arguments)
'''

CARD = """---
library_name: transformers
license: apache-2.0
tags:
- custom_generate
---

# Decoding strategies for diffusion language models

```
pip install dllm-decoders
```

```python
out = model.generate(
    **tokenizer(prompts, return_tensors="pt", padding=True), custom_generate="{repository}", trust_remote_code=True,
    decoder="threshold:tau=0.9", kv_policy="dual", block=32, max_new_tokens=128, mask_id=126336,
)
```

`decoder` is one of {decoders}; `kv_policy` one of {policies}. `decoders list` shows their options.

{arguments}
"""


def build(directory: Path, repository: str = "dllm-decoders/generate") -> None:
    """Writes the files of the repository. Raises `OSError` if they cannot be written."""
    inner = directory / "custom_generate"
    inner.mkdir(parents=True, exist_ok=True)
    (inner / "generate.py").write_text(FUNCTION, "utf-8")
    (inner / "requirements.txt").write_text(f"dllm-decoders>={version()}\n", "utf-8")
    named = {k: ", ".join(f"`{e.name}`" for e in entries(k) if not e.problem) for k in ("strategies", "caches")}
    card = CARD.format(
        repository=repository, decoders=named["strategies"], policies=named["caches"],
        arguments=inspect.getdoc(decoders.generate),
    )
    (directory / "README.md").write_text(card, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build.py DIRECTORY")
    build(Path(sys.argv[1]))
