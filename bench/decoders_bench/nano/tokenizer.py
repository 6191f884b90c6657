"""The tokenizer of the embedded model: whole words and numbers, single characters, and bytes for everything else."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from decoders_bench.tasks.words import CAPITALS, CITIES, GAIN, JOBS, LETTERS, LOSE, NAMES, THINGS

END, MASK, UNKNOWN = "<|end|>", "<|mask|>", "<|unk|>"
OTHER = """How many has is a aged from From The and lives in starts with doubles halves Badge room Total Totals
fill sort reverse copy shuffle""".split()
MERGED = """Q: JSON: Ledger: Balance: Extract: Sudoku: Grid: Sort: Reverse: Copy: Shuffle: List:""".split()
KEYS = ('{"answer":', ', "work": "', '"}', '{"name": "', '", "age":', ', "job": "', '", "city": "', '", "badge": "', '", "room":')


def pieces() -> list[tuple[str, float]]:
    """Vocabulary with scores: the segmentation with the fewest pieces wins, and bytes are the last resort."""
    words = [*NAMES, *THINGS, *CITIES, *JOBS, *GAIN, *LOSE, *OTHER]
    spaced = [f" {w}" for w in words] + [f" {i}" for i in range(100)] + [f" {c}" for c in LETTERS + CAPITALS + "+-*/=;#_.:,"]
    bare = [*NAMES, *CITIES, *JOBS, *MERGED, *KEYS]
    characters = [chr(i) for i in range(32, 127)] + ["\n"]
    special = [(END, 0.0), (MASK, 0.0), (UNKNOWN, -100.0)]
    data = [(f"<0x{i:02X}>", -20.0) for i in range(256)] + [(c, -3.0) for c in characters]
    known = {p for p, _ in data}
    return special + data + [(p, -1.0) for p in dict.fromkeys(spaced + bare) if p not in known]


def build() -> PreTrainedTokenizerFast:
    """Unigram with byte fallback, so that any text comes back unchanged."""
    core = Tokenizer(models.Unigram(pieces(), unk_id=2, byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=END, mask_token=MASK, unk_token=UNKNOWN,
                                   clean_up_tokenization_spaces=False)
