"""A wrapper around another decoder."""

from dataclasses import dataclass

from decoders import Around, Decoder, State, get, only, option, top


@dataclass(frozen=True)
class AtMost(Around):
    """Any rule, of whose commitments a forward keeps the `most` that have the highest probability."""

    base: Decoder = option(get("threshold"), "the rule that commits")
    most: int = option(4, "positions that one forward may commit", min=1)

    def outer(self, s: State, t: State) -> State:
        new = s.open & ~t.open
        kept = top(only(new, t.confidence), self.most)
        return s.taking(kept | ~new, t, t.memo)
