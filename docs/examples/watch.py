"""Seeing what a decoder does, forward by forward."""

from torch import Tensor

from decoders import Canvas, Forward, Generator, Pred
from decoders.core import Event

PROMPT = "Sudoku: 3 _ 2 _ 2 _ _ _ 4 _ 1 2 1 _ 4 _"


def watch(f: Forward, p: Pred, after: Canvas) -> None:
    """After every forward of a batch: what was asked, what was predicted, and the canvas after the step."""
    wanted: Tensor = f.want.sum(-1)
    print("wanted", wanted.tolist(), "still open", after.open.sum(-1).tolist())


def hear(news: Event) -> None:
    """Whenever a row has news: tokens that are final, or what stands behind them for now."""
    print(news.kind, news.start, news.tokens)


generator = Generator("nano", "threshold:tau=0.99")
generator([PROMPT], watch=watch)
generator([PROMPT], on_event=hear)
