"""Replay of an answer: the canvas after each forward pass, and a picture of it."""

from __future__ import annotations

from typing import NamedTuple

from decoders import Forward, Generator, Pred, load
from decoders.core import Canvas, Decoder
from decoders.models.loaded import Loaded
from decoders_bench.site.drawing import box, image, words

CELL, HEIGHT, LEFT, TOP = 30, 22, 78, 26
TOLD = 40
"""The largest number of forward passes that a picture shows."""


class Replay(NamedTuple):
    """One prompt's answer, forward pass by forward pass."""

    prompt: str
    frames: tuple[tuple[str | None, ...], ...]
    """After each forward pass, the token at each position of the answer; None if it is open."""


def replay(loaded: Loaded, decoder: str | Decoder, prompt: str, length: int) -> Replay:
    """Decode `prompt` and keep the canvas after every forward pass. Raises `UsageError` if the model does not support
    the decoder."""
    frames: list[tuple[str | None, ...]] = []

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        here = c.editable[0]
        standing = zip(c.tokens[0][here].tolist(), c.open[0][here].tolist(), strict=True)
        frames.append(tuple(None if still else label(loaded, token) for token, still in standing))

    Generator(loaded, decoder)([prompt], length=length, watch=watch)
    return Replay(prompt, tuple(frames))


def label(loaded: Loaded, token: int) -> str:
    """A token in a form that fits into a cell: without its leading space, and an end token as a square."""
    return "■" if token in loaded.model.stop_ids else loaded.tokenizer.decode([token]).strip()[:3] or "␣"


def kind(before: str | None, after: str | None) -> str:
    """The class of a cell: open, taken back, new in this forward pass, or unchanged."""
    if after is None:
        return "open" if before is None else "back"
    return "old" if before == after else "new"


def picture(made: Replay) -> str:
    """A row of cells for the canvas after every forward pass."""
    width = len(made.frames[0])
    before: tuple[str | None, ...] = (None,) * width
    parts = [words(0, 14, f"{made.prompt}   ({len(made.frames)} forwards)", "")]
    shown = made.frames[:TOLD]
    for number, frame in enumerate(shown, 1):
        y = TOP + (number - 1) * (HEIGHT + 3)
        parts.append(words(0, y + 15, f"forward {number}"))
        pairs = zip(before, frame, strict=True)
        parts += [box(LEFT + i * CELL, y, CELL - 3, HEIGHT, kind(a, b), b or "") for i, (a, b) in enumerate(pairs)]
        before = frame
    bottom = TOP + len(shown) * (HEIGHT + 3)
    if len(made.frames) > TOLD:
        parts.append(words(0, bottom + 12, f"and {len(made.frames) - TOLD} more forwards"))
    return image(LEFT + width * CELL, bottom + 18, f"The canvas of “{made.prompt}” after each forward", parts)


def settling() -> str:
    """The picture in the README: the embedded model and the default decoder."""
    return picture(replay(load("nano"), "threshold:tau=0.99", "Sudoku: 3 _ 2 _ 2 _ _ _ 4 _ 1 2 1 _ 4 _", 18))


if __name__ == "__main__":
    print(settling(), end="")
