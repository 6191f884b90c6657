"""What each token of a vocabulary writes, as bytes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from decoders.core import UsageError

if TYPE_CHECKING:
    from decoders.models.loaded import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>$")


def spellings(tokenizer: Tokenizer, vocab: int, without: tuple[int, ...] = ()) -> dict[int, bytes]:
    """Token id to the bytes that it writes inside a text, for the ids below `vocab` that write any. Special tokens and
    those in `without` are left out. Raises `UsageError` for a tokenizer that does not come with a checkpoint."""
    core = getattr(tokenizer, "core", None)
    if core is None:
        raise UsageError("constraints need the tokenizer of a checkpoint, and this model brings one of its own")
    special = {t for t, added in core.get_added_tokens_decoder().items() if added.special} | set(without)
    kinds = json.dumps(json.loads(core.to_str()).get("decoder"))
    bytes_of = unicode_bytes() if '"ByteLevel"' in kinds else None
    anchor = next(iter(core.encode("a", add_special_tokens=False).ids))
    begun = core.decode([anchor])
    out: dict[int, bytes] = {}
    for token in range(min(vocab, core.get_vocab_size())):
        written = core.id_to_token(token)
        if written is None or token in special:
            continue
        if byte := _BYTE.match(written):
            out[token] = bytes([int(byte[1], 16)])
        elif bytes_of is not None and all(c in bytes_of for c in written):
            out[token] = bytes(bytes_of[c] for c in written)
        else:  # after another token, because some tokenizers drop the space at the start of a text
            out[token] = core.decode([anchor, token], skip_special_tokens=False).removeprefix(begun).encode()
    return {token: text for token, text in out.items() if text}


def unicode_bytes() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (Radford et al. 2019, GPT-2): printable ones
    for themselves, the others for code points from 256 on, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
