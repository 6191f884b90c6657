"""dlmserve: its engine, one request at a time."""

from __future__ import annotations

from typing import Any
from unittest import mock

import dlmserve.engine
import torch
from dlmserve import LLM, Engine, SamplingParams
from dlmserve.models.llada import LoadedLLaDA
from networks import masked
from serving import Decode, Job, serve


class Given:
    """A tokenizer whose texts are token ids."""

    pad_token_id, eos_token_id = None, 0

    def __call__(self, texts: list[str], **_: object) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([list(map(int, text.split())) for text in texts])}

    def batch_decode(self, rows: list[Any], **_: object) -> list[str]:
        return [""] * len(rows)


def engine(job: Job) -> Decode:
    """The engine around a network that was loaded here: its own loader supports only LLaDA, whose mask token id is
    fixed."""
    net, count = masked(job)
    loaded = LoadedLLaDA(net, Given(), torch.device("cpu"), "bf16", job["mask"])
    with mock.patch.object(dlmserve.engine, "load_model", return_value=loaded):
        own = Engine()
    params = SamplingParams(gen_length=job["length"], block_length=job["block"], **job["options"])

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        out = own.generate([" ".join(map(str, prompt))], params, prerendered=True)
        return out[0].output_ids.tolist(), count.times

    return decode


def loader(job: Job) -> Decode:
    """The engine loaded in the way of its users."""
    LLM(job["path"], dtype="bf16", device="cpu")
    raise RuntimeError("it loads, so measure it")


if __name__ == "__main__":
    serve(lambda job: {"engine": engine, "loader": loader}[job["way"]](job), ["dlmserve"])
