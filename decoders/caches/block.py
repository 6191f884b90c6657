"""The exact rule for block-causal models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Attested, Exact


@dataclass(frozen=True)
class Block(Exact):
    """The exact rule, for models whose attention is block-causal: the keys and values of finished blocks are final, so
    they are read and never recomputed. The last tokens of a block are stored by the first forward of the next one,
    which spends no forward on committing a block. Arriola et al. 2025, BD3-LM, 2503.09573, section 5.2."""

    needs_blocks: ClassVar[bool] = True
    needs_store: ClassVar[bool] = True
    source: ClassVar[str] = "Arriola et al. 2025, arXiv 2503.09573"
    attested: ClassVar[Attested] = "replayed"
