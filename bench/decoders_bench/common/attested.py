"""The mark of decoders that were implemented from an abstract alone, in every table that ranks decoders."""

from __future__ import annotations

from functools import cache

from decoders.core import Decoder, UsageError, inner_decoders
from decoders_bench.common.recorded import recorded

MARK = "abstract only"


def from_abstract(decoder: Decoder) -> bool:
    """Whether it, or a decoder among its options, was implemented from an abstract alone."""
    return decoder.attested == "abstract" or any(map(from_abstract, inner_decoders(decoder).values()))


@cache
def marked(spec: str, quote: str = "") -> str:
    """A spec in quotes, with the mark after it if it applies; a spec of an old run that is no longer valid has none."""
    try:
        due = from_abstract(recorded(spec))
    except UsageError:
        due = False
    return f"{quote}{spec}{quote}{f' ({MARK})' if due else ''}"
