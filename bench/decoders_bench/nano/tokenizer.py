"""The tokenizer of the embedded model: whole words and numbers, single characters, and bytes for everything else."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from decoders_bench.tasks.words import CAPITALS, CITIES, GAIN, JOBS, LETTERS, LOSE, NAMES, THINGS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, MASK, UNKNOWN = "<|end|>", "<|mask|>", "<|unk|>"
OTHER = """How many has is a aged from From The and lives in starts with doubles halves Badge room Total Totals
fill sort reverse copy shuffle""".split()
MERGED = """Q: JSON: Ledger: Balance: Extract: Sudoku: Grid: Sort: Reverse: Copy: Shuffle: List:""".split()
KEYS = (
    '{"answer":', ', "work": "', '"}', '{"name": "', '", "age":', ', "job": "', '", "city": "', '", "badge": "',
    '", "room":',
)

LATER = [
    *"""Cycle: Repeat: Table: Rows: Columns: Nest: Brackets: Edit: Text: Records: People: Program: Code:""".split(),
    *(f" {x}" for x in "Columns: Put Rename for print List around the .. ( ) [ ] { } > += -=".split()),
    '[{"name": "', '"}, {"name": "', '}, {"name": "', ', "left":', '", "left":', '}]',
]
"""Pieces for the texts of a page; they are last, so that the ids of all others are unchanged."""


def pieces() -> list[tuple[str, float]]:
    """The vocabulary with scores: the segmentation with the fewest pieces wins, and bytes are the last resort."""
    words = [*NAMES, *THINGS, *CITIES, *JOBS, *GAIN, *LOSE, *OTHER]
    spaced = (
        [f" {w}" for w in words] + [f" {i}" for i in range(100)] + [f" {c}" for c in LETTERS + CAPITALS + "+-*/=;#_.:,"]
    )
    bare = [*NAMES, *CITIES, *JOBS, *MERGED, *KEYS]
    characters = [chr(i) for i in range(32, 127)] + ["\n"]
    special = [(END, 0.0), (MASK, 0.0), (UNKNOWN, -100.0)]
    data = [(f"<0x{i:02X}>", -20.0) for i in range(256)] + [(c, -3.0) for c in characters]
    known = {p for p, _ in data}
    return special + data + [(p, -1.0) for p in dict.fromkeys(spaced + bare + LATER) if p not in known]


def build() -> PreTrainedTokenizerFast:
    """Unigram with byte fallback, so that decoding reproduces any text."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.Unigram(pieces(), unk_id=2, byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=END,
        mask_token=MASK,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


class Segmenter:
    """The encoder of `build` for the texts of tasks, without that function's dependencies. All characters of a text
    have to be pieces, as the printable ones of ASCII are."""

    @cached_property
    def pieces(self) -> dict[str, tuple[int, float]]:
        """The id and the score of each piece."""
        return {piece: (number, score) for number, (piece, score) in enumerate(pieces())}

    @cached_property
    def tree(self) -> dict[str, Any]:
        """A trie of the pieces by characters; an entry "" marks the end of a piece."""
        root: dict[str, Any] = {}
        for piece, found in self.pieces.items():
            node = root
            for c in piece:
                node = node.setdefault(c, {})
            node[""] = found
        return root

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def end(self) -> int:
        return self.pieces[END][0]

    @property
    def mask(self) -> int:
        return self.pieces[MASK][0]

    def encode(self, text: str) -> list[int]:
        """The ids of the segmentation with the highest score; of several, the one whose pieces begin first. Raises
        `KeyError` for a character that is no piece."""
        # for each prefix of the text: its score, the start of its last piece, and the id of that piece
        best: list[tuple[float, int, int]] = [(0.0, 0, 0)] + [(float("-inf"), 0, 0)] * len(text)
        for start in range(len(text)):
            before, node = best[start][0], self.tree
            for stop in range(start, len(text)):
                if text[stop] not in node:
                    break
                node = node[text[stop]]
                if "" in node and before + node[""][1] > best[stop + 1][0]:
                    best[stop + 1] = before + node[""][1], start, node[""][0]
        ids, stop = [], len(text)
        while stop:
            if best[stop][0] == float("-inf"):
                raise KeyError(f"no piece begins {text[best[stop][1] :]!r}")
            ids.append(best[stop][2])
            stop = best[stop][1]
        return ids[::-1]


segmenter = cache(Segmenter)
"""One instance for this process, so that its trie is built once."""
