"""The text of a row, from the canvas at the end of a run."""

from __future__ import annotations

from typing import NamedTuple

from decoders.core import Canvas, generated
from decoders.models.loaded import Tokenizer
from decoders.text.stopping import StopStrings


class Text(NamedTuple):
    """The text of a row: `made` of its tokens were generated; `cut`: a stop string ended it."""

    tokens: tuple[int, ...]
    text: str
    made: int
    cut: bool = False

    def behind(self, prompt: int, tokenizer: Tokenizer) -> Text:
        """The text without the prompt, which has `prompt` tokens."""
        return self._replace(tokens=self.tokens[prompt:], text=tokenizer.decode(self.tokens[prompt:]))


def written(c: Canvas, row: int, revises: bool, halt: StopStrings) -> Text:
    """The text after the prompt, cut before a stop string; only settled text can contain one. `revises`: the attribute
    of the decoder."""
    tokens, count = generated(c, row, revises)
    kept = [t for t in tokens if t is not None]
    sure = halt.ended.get(row) or [t for t in tokens[:count] if t is not None]
    cut = halt.find(sure)
    if cut is None:
        return Text(tuple(kept), halt.decode(kept), len(kept))
    text = halt.decode(sure)[:cut]
    count = next(n for n in range(len(sure) + 1) if halt.decode(sure[:n]).startswith(text))
    return Text(tuple(sure[:count]), text, count, cut=True)


def filled(c: Canvas, row: int, prompt: int, revises: bool, tokenizer: Tokenizer) -> Text:
    """The prompt, of `prompt` tokens, with its holes filled, and the text after it; an undecided hole is still a mask
    token. If the prompt's text has moved, `prompt` is `last_given` instead of its length."""
    tokens, _ = generated(c, row, revises)
    holes = int(c.editable[row, :prompt].sum())
    whole = (*c.tokens[row, :prompt].tolist(), *(t for t in tokens[holes:] if t is not None))
    return Text(whole, tokenizer.decode(whole), sum(t is not None for t in tokens))


def last_given(c: Canvas, row: int) -> int:
    """The number of columns of a row up to the last given one, which is included."""
    return int((c.given[row] * (c.column + 1)).amax())
