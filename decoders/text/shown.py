"""A `Generation` in a notebook and in a terminal. The HTML loads nothing, and text from a model is escaped in it."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from decoders.errors import several
from decoders.text.trace import Settled, Trace

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

OPEN = "\u00b7"
SPACED = f" {OPEN}"
"""An open position in a notebook: set apart from the token before it, as most tokens are."""
LEGEND = "amber: low confidence; underlined: changed by this forward"
END_OPACITY = 0.5
"""Of a stop token, which is not part of the text."""
LINES = 16
"""The largest number of forwards in the table, including the first and the last."""
DOUBT = "217, 119, 6"
"""The colour behind tokens of low confidence; it is fainter for higher confidence."""
FAINTEST = 0.65
STYLES = ((0.5, "bold red"), (0.8, "yellow"), (0.95, "green"), (math.inf, "bold green"))
"""Styles on a terminal, each for confidences below its limit."""
Canvas = Sequence[Settled | None]


class Generation(Protocol):
    """The fields of a `decoders.Generation` that are shown."""

    @property
    def text(self) -> str: ...
    @property
    def nfe(self) -> int: ...
    @property
    def generated_tokens(self) -> int: ...
    @property
    def tokens_per_forward(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def decoder(self) -> str: ...
    @property
    def cache(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def commit_steps(self) -> tuple[int, ...]: ...
    @property
    def trace(self) -> Trace | None: ...


def sure(x: Settled) -> float:
    """Its confidence from 0 to 1; 0 if it is not finite."""
    return min(max(x.confidence, 0.0), 1.0) if math.isfinite(x.confidence) else 0.0


def canvases(g: Generation) -> list[list[Settled | None]]:
    """The canvas after each forward, up to the first stop token; empty without a trace."""
    width = len(g.commit_steps) + (g.finish_reason == "stop")
    return [canvas[:width] for canvas in (g.trace.canvases() if g.trace else ())]


def facts(g: Generation) -> str:
    return (
        f"{several(g.nfe, 'forward')}, {several(g.generated_tokens, 'token')}, "
        f"{g.tokens_per_forward:.2f} tokens per forward, {g.seconds:.2f} s, {g.decoder}, cache {g.cache}, "
        f"seed {g.seed}, {g.finish_reason}"
    )


def page(g: Generation) -> str:
    """HTML with the text, and with a trace its replay: a slider over the forwards, and a button that plays them."""
    shown = canvases(g)
    below = f'<div style="opacity: .65; font-size: 85%; margin-top: .4em">{escape(facts(g))}</div>'
    if not shown:
        return f'<div><div style="white-space: pre-wrap">{escape(g.text)}</div>{below}</div>'
    name = f"decoders-{uuid.uuid4().hex}"
    frames = json.dumps(differences(shown)).replace("<", "\\u003c")
    script = SCRIPT.replace("NAME", name).replace("FRAMES", frames)
    ended = g.finish_reason == "stop"
    slots = "".join(slot(x, ended and i == len(shown[-1]) - 1) for i, x in enumerate(shown[-1]))
    control = (
        f'<div style="display: flex; gap: .6em; align-items: center; margin-top: .4em"><button type="button">play'
        f'</button><input type="range" aria-label="forward" min="0" max="{len(shown)}" value="{len(shown)}" '
        f'style="flex: 0 1 20em"><span>forward {len(shown)} of {len(shown)}</span>'
        f'<span style="opacity: .65; font-size: 85%">{LEGEND}</span></div>'
    )
    text = f'<div style="white-space: pre-wrap; line-height: 1.7">{slots}</div>'
    return f'<div id="{name}">{text}{control}{below}</div><script>{script}</script>'


def slot(x: Settled | None, end: bool) -> str:
    """A position; `end`: it is that of the stop token."""
    if x is None:
        return f"<span>{SPACED}</span>"
    style = f"background: rgba({DOUBT}, {FAINTEST * (1 - sure(x)):.3f})"
    style += f"; opacity: {END_OPACITY}" if end else ""
    return f'<span style="{style}" title="{escape(title(x))}">{escape(x.text)}</span>'


def title(x: Settled) -> str:
    return f"forward {x.step + 1}, confidence {sure(x):.3f}"


def differences(shown: Sequence[Canvas]) -> list[list[tuple[int, str | None, float, str]]]:
    """For each forward the slots that it changed: which, its text and none where it is open again, how faint the colour
    behind it is, and what is said of it."""
    nothing: Canvas = [None] * len(shown[0])
    return [
        [
            (i, None, 0.0, "") if x is None else (i, x.text, round(FAINTEST * (1 - sure(x)), 3), title(x))
            for i, (x, old) in enumerate(zip(canvas, before, strict=True)) if x != old
        ]
        for before, canvas in pairwise([nothing, *shown])
    ]


SCRIPT = """
(() => {
  const root = document.getElementById("NAME"), frames = FRAMES;
  const slots = root.firstChild.children, [button, slider, label] = root.children[1].children;
  let timer = null;
  const show = (count) => {
    const now = Array.from(slots, () => null);
    for (const frame of frames.slice(0, count)) for (const x of frame) now[x[0]] = x[1] === null ? null : x;
    now.forEach((x, i) => {
      slots[i].textContent = x ? x[1] : "SPACED";
      slots[i].style.background = x ? `rgba(COLOUR, ${x[2]})` : "none";
      slots[i].style.boxShadow = x && frames[count - 1].includes(x) ? "inset 0 -2px rgba(COLOUR, .9)" : "none";
      slots[i].title = x ? x[3] : "";
    });
    label.textContent = `forward ${count} of ${frames.length}`;
  };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "play"; };
  slider.oninput = () => { stop(); show(+slider.value); };
  button.onclick = () => {
    if (timer !== null) return stop();
    if (+slider.value === frames.length) slider.value = 0;
    button.textContent = "pause";
    timer = setInterval(() => {
      slider.value = +slider.value + 1;
      show(+slider.value);
      if (+slider.value === frames.length) stop();
    }, 250);
  };
})();
""".replace("COLOUR", DOUBT).replace("SPACED", SPACED)


def table(g: Generation) -> Group:
    """The text, coloured by confidence where there is a trace, a line for each of some forwards, and what it took."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = canvases(g)
    made = Table()
    made.add_column("forward", justify="right", style="dim")
    made.add_column("text", overflow="fold")
    for n in some(len(shown)):
        made.add_row(str(n + 1), line(shown[n], n))
    if not shown:
        made.add_row(str(g.nfe), Text(printable(g.text)))
    return Group(made, Text(facts(g), "dim"))


def some(count: int) -> list[int]:
    """Forwards to show: all of them, or so many of them at equal distances."""
    shown = min(count, LINES)
    return [round(i * (count - 1) / max(shown - 1, 1)) for i in range(shown)]


def line(canvas: Canvas, n: int) -> Text:
    """A canvas; what this forward put there is underlined."""
    from rich.text import Text

    parts = []
    for x in canvas:
        if x is None:
            parts.append((OPEN, "dim"))
        else:
            style = next(style for least, style in STYLES if sure(x) < least)
            parts.append((printable(x.text), f"{style} underline" if x.step == n else style))
    return Text.assemble(*parts)


def printable(text: str) -> str:
    """A text without what moves a terminal's cursor or changes its colours."""
    return "".join(c if c.isprintable() else "\u23ce" if c == "\n" else "\ufffd" for c in text)
