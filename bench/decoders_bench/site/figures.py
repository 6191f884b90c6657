"""The figures of the page of concepts, and a measured one: `python -m decoders_bench.site.figures DIRECTORY` draws
them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from decoders_bench.site.drawing import box, image, words
from decoders_bench.site.scaling import scaling

CELL, HEIGHT = 52, 28
PROMPT = ("The", "sum", "is")
ANSWER = ("40", "+", "2", "=", "42")
COLUMNS = len(PROMPT) + len(ANSWER)


def cells(y: float, kinds: Sequence[str], labels: Sequence[str], left: float = 0) -> list[str]:
    """A row of cells with shared borders."""
    return [
        box(left + i * CELL + 2, y, CELL - 4, HEIGHT, k, x)
        for i, (k, x) in enumerate(zip(kinds, labels, strict=True))
    ]


def canvas() -> str:
    """Prompt, decided and open positions of one row."""
    kinds = ["given"] * 3 + ["old", "old", "open", "old", "open"]
    labels = [*PROMPT, "40", "+", "", "=", ""]
    parts = [*cells(20, kinds, labels), words(2, 14, "given: the prompt"), words(3 * CELL + 2, 14, "the answer")]
    parts += [words(3 * CELL + 2, 64, "decided"), words(5 * CELL + 2, 64, "open")]
    return image(COLUMNS * CELL, 72, "A canvas: given, decided and open positions", parts)


def window() -> str:
    """The block in which a decoder works."""
    kinds = ["given"] * 3 + ["old"] * 2 + ["open"] * 3
    frame = f'<rect class="window" x="{5 * CELL:g}" y="18" width="{2 * CELL:g}" height="{HEIGHT + 4}" rx="5"/>'
    parts = [*cells(20, kinds, [*PROMPT, "40", "+", "", "", ""]), frame, words(5 * CELL, 12, "window (block of 2)")]
    parts += [words(3 * CELL, 66, "finished block"), words(7 * CELL, 66, "later")]
    return image(COLUMNS * CELL, 74, "A window: the positions that the decoder works on next", parts)


def step() -> str:
    """The changes of one step."""
    before, after = ["old", "old", "open", "old", "open"], ["old", "old", "new", "old", "open"]
    parts = [words(0, 20 + 18, "before"), *cells(20, before, ["40", "+", "", "=", ""], 64)]
    parts += [words(64 + 2 * CELL + 2, 64, "commit what is sure")]
    parts += [words(0, 74 + 18, "after"), *cells(74, after, ["40", "+", "2", "=", ""], 64)]
    return image(64 + 5 * CELL + 40, 108, "A step: the decoder commits an open position", parts)


def forward() -> str:
    """The input and the output of a forward pass: the canvas, and predictions of the open positions."""
    kinds = ["given"] * 3 + ["old", "old", "open", "old", "open"]
    parts = cells(84, kinds, [*PROMPT, "40", "+", "", "=", ""])
    parts += [box(2, 48, COLUMNS * CELL - 4, 26, "given", "the model, once")]
    for column, text in ((5, "2: 0.97"), (7, "42: 0.61")):
        parts += [words((column + 0.5) * CELL, 22, text, "s m"), words((column + 0.5) * CELL, 40, "↑", "m")]
    return image(COLUMNS * CELL, 118, "A forward: the model predicts the open positions once", parts)


def stale() -> str:
    """The columns that a cache recomputes."""
    kinds = ["given"] * 3 + ["old", "old", "back", "old", "back"]
    parts = cells(20, kinds, [*PROMPT, "40", "+", "2", "=", ""])
    parts += [words(2, 14, "stored keys and values are read")]
    parts += [words(5 * CELL + 2, 14, "stale"), words(7 * CELL + 2, 14, "stale")]
    parts += [words(5 * CELL + 2, 64, "just decided"), words(7 * CELL + 2, 64, "open")]
    return image(COLUMNS * CELL, 72, "Stale columns are computed again; the others are read from the store", parts)


FIGURES = {f.__name__: f for f in (canvas, window, step, forward, stale, scaling)}


def draw(directory: Path) -> None:
    """Write every figure to a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        (directory / f"{name}.svg").write_text(figure(), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
