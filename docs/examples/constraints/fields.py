"""A constraint that is a text with holes."""

from collections.abc import Callable
from dataclasses import dataclass

from decoders import Constraint, UsageError


@dataclass(frozen=True)
class Fields(Constraint):
    """The names of fields, two tokens behind each: `name,age` is ` name = ## ; age = ##`."""

    def canvas(self, encode: Callable[[str], list[int]], mask: str) -> list[int]:
        if not mask:
            raise UsageError("this model has no mask token, so that no field can be left open")
        return encode(" ;".join(f" {name} ={mask * 2}" for name in self.text.split(",")))
