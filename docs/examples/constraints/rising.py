"""A constraint that is an automaton of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from decoders import Constraint, UsageError
from decoders.constraints import Automaton, build


@dataclass(frozen=True)
class Rising(Constraint):
    """Letters in the order of the alphabet, with a space before each; `text` says which there are."""

    def automaton(self, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton:
        letters = sorted(set(self.text))
        tokens = {text: token for token, text in spellings.items()}
        missing = [x for x in letters if f" {x}".encode() not in tokens]
        if missing:
            raise UsageError(f"the constraint rising:{self.text} needs a token that writes ' {missing[0]}'")
        place = {x: i for i, x in enumerate(letters, 1)}  # the state: which letter was the last one, 0 none
        moves = {
            state: {tokens[f" {x}".encode()]: i for x, i in place.items() if i > state}
            for state in range(len(letters) + 1)
        }
        return build(0, [*place.values()], moves, vocab, ends, f"rising:{self.text}")
