"""The law of verified rounding: the tokens of rounding one by one, in one forward plus one for each correction."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from decoders.core import Canvas, Forward, Pred, Row, decode
from decoders.strategies.latent.codar import Codar
from decoders.testing.latent import ToyLatent
from decoders.testing.rooms import expect


class Rounded(NamedTuple):
    """The result of a row, and how it was reached."""

    row: Row
    draft: tuple[int, ...]
    """The tokens of its latents."""
    text: tuple[int, ...]
    """The tokens after rounding."""
    forwards: dict[str, int]
    """The number of forwards of each kind."""


def rounded(decoder: Codar, prompt: tuple[int, ...], length: int = 16, seed: int = 0) -> Rounded:
    """A row of a toy model, decoded alone."""
    canvases: list[Canvas] = []

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        canvases.append(c)

    model = ToyLatent(seed=seed)
    (row,) = decode(model, decoder, [list(prompt)], length=length, seed=seed, stop=False, watch=watch)
    drafts = canvases[-1].memo.draft[0].tolist()
    place = [i for i, editable in enumerate(canvases[0].editable[0].tolist()) if editable]
    window = [int(i) - int(canvases[-1].start[0]) for i in place]
    forwards = dict(zip(decoder.phases, row.forwards, strict=True))
    return Rounded(row, tuple(drafts[i] for i in window), tuple(row.canvas[i] for i in place), forwards)


def verified(decoder: Codar, rows: int = 4) -> int:
    """Rounding has the same result verified and one by one, and the right cost. Returns the number of corrections;
    raises `AssertionError`."""
    total = 0
    for seed in range(rows):
        quick, slow = (rounded(replace(decoder, verify=v), (1, seed % 8), seed=seed) for v in (True, False))
        expect(quick.text == slow.text, f"verified {quick.text}, and one by one {slow.text}")
        expect(quick.draft == slow.draft, f"the drafts are {quick.draft} and {slow.draft}")
        corrections = [i for i, (a, b) in enumerate(zip(quick.draft, quick.text, strict=True)) if a != b]
        total += len(corrections)
        due = 1 + len([i for i in corrections if i < len(quick.text) - 1])  # no position is left after the last one
        found, each = quick.forwards["round"], slow.forwards["round"]
        expect(found == due, f"{found} forwards for {len(corrections)} corrections")
        expect(each == len(slow.text), f"{each} forwards for {len(slow.text)} positions one by one")
        expect(quick.forwards["denoise"] == decoder.denoiser.steps, f"{quick.forwards} forwards")
        expect(quick.row.nfe == sum(quick.forwards.values()), f"{quick.row.nfe} forwards, and {quick.forwards}")
    return total
