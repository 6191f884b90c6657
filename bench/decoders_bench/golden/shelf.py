"""Replay of whole runs of published decoders by their authors' code: AdaBlock, LocalLeap, DUS, PC-Sampler, Saber,
DAEDAL, DreamOn.

Each adapter translates the reference's constants into options of this library; where they differ from its defaults, the
defaults follow the paper, and the strategy says so.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from decoders import Decoder, Pred, Query, State, decode, get
from decoders.core import Trace, Whole, Windows
from decoders.models.adapter import TransformersModel
from decoders.strategies.saber import Running, Saber, Sum
from decoders_bench.golden.cases import Case, MismatchError, WrongReferenceError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.trajectory import Setup, free, job_of, trajectory


def run(case: Case, models: Models, decoder: Decoder) -> str:
    """Compare a run in blocks of the reference's length. Raises `MismatchError`."""
    return trajectory(case, models, Setup(decoder, Pred.best, case.params.get("block_length")))


def adablock(case: Case, models: Models) -> str:
    q = case.params
    return run(case, models, get(
        "ada_block", delimiters=tuple(q["delimiter_ids"]), tau=q["delimiter_threshold"], block=q["init_block_length"],
        look=int(0.25 * q["gen_length"]), base=get("threshold", tau=q["threshold"]),
    ))


def local_leap(case: Case, models: Models) -> str:
    q = case.params
    return run(case, models, get("local_leap", tau=q["threshold"], relaxed=q["relaxed_threshold"], radius=q["radius"]))


def dus(case: Case, models: Models) -> str:
    return run(case, models, get("dus", base=case.params["base"], merge=True))


def pc_sampler(case: Case, models: Models) -> str:
    """The reference gives a token that the corpus lacks a frequency of 1e-9, as in a corpus of 1e9 tokens, and adds
    1e-9 to every frequency; the addition matters only for such a token."""
    q = case.params
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.safetensors"
        save_file({"frequency": case.tensors()["frequency"]}, corpus)
        decoder = get("pc_sampler", steps=q["steps"], decay=q["lambd"], cap=q["alpha"], corpus=str(corpus), absent=2e-9)
    return run(case, models, decoder)


class Reached(NamedTuple):
    """The progress of Saber's reference, and the memory of this library's Saber."""

    block: Tensor  # (B,) long
    inner: Any


@dataclass(frozen=True)
class WholeSaber(Decoder):
    """Saber as its reference runs it in blocks: tokens in earlier blocks may be taken back, the confidences of tokens
    that were taken back still count in the mean, and the first forward pass of a later block takes nothing of that
    block back."""

    saber: Saber
    block: int

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return Whole()

    def init(self, s: State) -> State:
        return replace(s, memo=Reached(torch.zeros_like(s.size), self.saber.init(s).memo))

    def query(self, s: State) -> Query:
        return self.saber.query(s)

    def step(self, s: State, p: Pred) -> State:
        m: Reached = s.memo
        number = torch.arange(s.tokens.shape[1]) // self.block
        block = torch.where((s.open & (number <= m.block[:, None])).any(-1), m.block, m.block + 1)
        entered = (number == block[:, None]) & (number > m.block[:, None])
        memo: Running = m.inner._replace(before=torch.where(entered, -torch.inf, m.inner.before))
        ever = s.editable & (s.confidence > 0)  # a position that is reopened keeps its confidence
        memo = memo._replace(here=Sum(torch.where(ever, s.confidence, 0.0).double().sum(-1), ever.sum(-1)))
        here = number <= block[:, None]
        t = self.saber.step(replace(s, open=s.open & here, editable=s.editable & here, memo=memo), p)
        return replace(t, open=t.open | (s.open & ~here), editable=s.editable, memo=Reached(block, t.memo))


def saber(case: Case, models: Models) -> str:
    """If fewer positions are open than it commits at least, the reference overwrites decided ones. Raises
    `MismatchError`, or `WrongReferenceError` if this is the only difference."""
    least, canvases = case.params["n"], case.need("expected", "canvases")
    decoder = WholeSaber(Saber(at_least=least), case.params["block_length"])
    try:
        free(job_of(case, models, Setup(decoder, Pred.best)))
    except MismatchError as e:
        left = [canvas.count(case.mask_id) for canvas in canvases]
        if e.step != len(canvases) - 1 or left[-2] >= least or len(left) != case.need("expected", "nfe"):
            raise
        why = f"its last forward overwrites decided tokens, for {left[-2]} positions are open and it takes {least}"
        line = "what is unmasked was masked before (2510.18165, adaptive acceleration)"
        raise WrongReferenceError(f"{why}; {line}") from e
    return "with what the reference takes back in earlier blocks, and still counts in its mean"


def daedal(case: Case, models: Models) -> str:
    """Compare every canvas at the length that this library's canvas then has; the reference's end token is the model's
    only stop token. A full canvas of this library ends with end tokens, which the reference's lacks. If the first stage
    ends at the full length, the reference runs the same text twice, and this library once. Raises `MismatchError`."""
    q, (prompt,) = case.params, rows(case.need("prompt"))
    decoder = get(
        "daedal", initial=q["initial_gen_length"], grow=q["expansion_factor"], watched=q["eos_check_tokens"],
        tau_eos=q["eos_confidence_threshold"], tau=q.get("high_conf_threshold", 0.9), tau_low=q["low_conf_threshold"],
        tau_expand=q["expand_eos_confidence_threshold"], block=q["block_length"],
    )
    plain, trace, end = models.get(case.need("model"), case.mask_id), Trace(), q["eos_token_id"]
    model = TransformersModel(plain.model, mask_id=case.mask_id, stop_ids=(end,))
    decode(model, decoder, [prompt], length=q["max_gen_length"], stop=False, watch=trace)
    recorded = [prompt + [case.mask_id] * q["initial_gen_length"], *case.need("expected", "canvases")]
    theirs = [canvas for before, canvas in pairwise(recorded) if canvas != before]
    for k, (ours, canvas) in enumerate(zip(trace.canvases, theirs, strict=False)):
        n, tokens = len(canvas), ours.tokens[0, : int(ours.limit[0])].tolist()
        over = k == len(theirs) - 1
        if tokens[:n] != canvas or (set(tokens[n:]) > {end} if over else int(ours.start[0] + ours.size[0]) != n):
            raise MismatchError(f"{tokens} instead of {canvas}", k)
    nfe = case.need("expected", "nfe") + 1 + len(theirs) - len(recorded)
    if len(trace.canvases) != nfe:
        raise MismatchError(f"{len(trace.canvases)} forwards instead of {nfe}", len(theirs))
    return ""


def dreamon(case: Case, models: Models) -> str:
    """Compare every canvas at the length that this library's canvas then has. The case names the tokens for more and
    fewer positions; the second is the model's only stop token. The positions to which this library's canvas did not
    grow contain end tokens, and do not exist in the reference. Raises `MismatchError`."""
    q, (prompt,) = case.params, rows(case.need("prompt"))
    end = q["eos_id"]
    decoder = get(
        "dreamon", by=q["alg"], top_p=q.get("top_p"), rest=q["pad_eos_to_right"], expansions=q["max_gen_len"]
    )
    plain, trace = models.get(case.need("model"), case.mask_id), Trace()
    model = TransformersModel(
        plain.model, mask_id=case.mask_id, stop_ids=(end,), shifted=plain.shifted, expand_id=q["expand_id"]
    )
    decode(
        model, decoder, [prompt], length=q["max_gen_len"] - q["min_gen_len"], infill=True, stop=False, watch=trace
    )
    theirs = case.need("expected", "canvases")
    for k, (ours, canvas) in enumerate(zip(trace.canvases, theirs, strict=False)):
        n, tokens = len(canvas), ours.tokens[0, : int(ours.limit[0])].tolist()
        over = k == len(theirs) - 1
        if tokens[:n] != canvas or (set(tokens[n:]) > {end} if over else int(ours.start[0] + ours.size[0]) != n):
            raise MismatchError(f"{tokens} instead of {canvas}", k)
    if len(trace.canvases) != (nfe := case.need("expected", "nfe")):
        raise MismatchError(f"{len(trace.canvases)} forwards instead of {nfe}", len(theirs))
    return ""
