"""Mercury's two ways of editing code: a region that is rewritten in place, and an update that is merged into the
original. Both come as one message, whose parts stand between tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from decoders.serve.refusals import RefusedError
from decoders.text.records import Generation

CURSOR = "<|cursor|>"
GROWTH = (-8, -4, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16)
"""The canvases for the new region have so many tokens more than the present region."""
MERGED = "The original code with the update merged into it:\n"
"""The text between the original and the answer."""
_MARKER = re.compile(r"[^\w\n]*\.\.\.\s*existing code\s*\.\.\.[^\w\n]*")


@dataclass(frozen=True)
class Region:
    """The region of a file that is to be rewritten, between the text that the model gets before it and the code below;
    it ends at the end of a line."""

    before: str
    code: str
    after: str

    @classmethod
    def read(cls, content: str) -> Region:
        """From a message of `/v1/edit/completions`. Raises `RefusedError`."""
        file = needed(content, "current_file_content")
        above, code, below = divided(file, "code_to_edit")
        told = [tagged(content, tag) for tag in ("recently_viewed_code_snippets", "edit_diff_history")]
        plain = code.replace(CURSOR, "")
        told.append(f"<|code_to_edit|>\n{code}\n<|/code_to_edit|>" if plain.strip() else "")
        return cls("".join(f"{x}\n\n" for x in told if x) + above, plain, below)

    def sizes(self, tokens: int, most: int | None) -> list[int]:
        """The tokens of its canvases if it has so many now; each has one more, for the end of the line. Raises
        `RefusedError` if that is more than `most`."""
        if most is not None and tokens >= most:
            raise RefusedError(400, f"the region has {tokens} tokens, and max_tokens is {most}", "max_tokens")
        return [n for more in GROWTH if 2 <= (n := tokens + more + 1) <= (most or inf)]


@dataclass(frozen=True)
class Update:
    """A snippet of code that is merged into an original. `pieces`: its lines between those that stand for unchanged
    code; `opens`, `closes`: such a line stands before the first piece, and after the last one."""

    content: str
    original: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    opens: bool
    closes: bool

    @classmethod
    def read(cls, content: str) -> Update:
        """From a message of `/v1/apply/completions`. Raises `RefusedError`."""
        original, snippet = (needed(content, tag) for tag in ("original_code", "update_snippet"))
        parts = list[list[str]]([[]])
        for line in snippet.split("\n"):
            if _MARKER.fullmatch(line):
                parts.append([])
            else:
                parts[-1].append(line)
        pieces = tuple(tuple(x) for x in parts if any(line.strip() for line in x))
        if not pieces:
            raise RefusedError(400, "the update_snippet has no code that is not there already", "messages")
        free = len(parts) == 1
        return cls(content, tuple(original.split("\n")), pieces, free or not parts[0], free or not parts[-1])

    @property
    def prompt(self) -> str:
        return f"{self.content.strip()}\n\n{MERGED}"


def section(content: str, tag: str) -> tuple[str, str, str] | None:
    """The text before, between and after a pair of tags; None if they do not occur exactly once each, in this order."""
    opening, closing = f"<|{tag}|>", f"<|/{tag}|>"
    if content.count(opening) != 1 or content.count(closing) != 1:
        return None
    before, _, rest = content.partition(opening)
    inside, closed, after = rest.partition(closing)
    return (before, inside, after) if closed else None


def divided(content: str, tag: str) -> tuple[str, str, str]:
    """The same, without the line ends beside the tags. Raises `RefusedError` if the tags are missing."""
    found = section(content, tag)
    if found is None:
        raise RefusedError(400, f"the message needs one part between <|{tag}|> and <|/{tag}|>", "messages")
    before, inside, after = found
    return before, inside.removeprefix("\n").removesuffix("\n"), after.removeprefix("\n")


def needed(content: str, tag: str) -> str:
    return divided(content, tag)[1]


def tagged(content: str, tag: str) -> str:
    """A part with its tags, if there is something in it."""
    found = section(content, tag)
    return f"<|{tag}|>{found[1]}<|/{tag}|>" if found and found[1].strip() else ""


def likeliest(made: Sequence[Generation]) -> Generation:
    """Of the texts that end with the line, if there are any, the one whose tokens had the highest average probability
    in the forwards that committed them; the first of several. It is charged with the cost of all of them."""
    ended = [g for g in made if g.text.endswith("\n")]
    best = max(ended or made, key=mean)
    took = {key: sum(getattr(g, key) for g in made) for key in ("nfe", "positions_computed", "flops")}
    return replace(best, **took)


def mean(made: Generation) -> float:
    said = [x for x in made.logprobs or () if x is not None]
    return sum(said) / len(said) if said else -inf
