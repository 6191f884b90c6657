"""The settings of a server, of one process or of each of several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from decoders.generator import Generator
from decoders.serve.app import App


@dataclass(frozen=True)
class Setup:
    """The fields are those of `Generator` and `App`. `name`: the model's name for clients; empty: its own name.
    `options`: options of loading the model."""

    model: str
    decoder: str
    cache: str | None
    guidance: float
    slots: int
    name: str
    queue: int
    body: int
    options: dict[str, Any] = field(default_factory=dict)
    memory: int | None = None
    deadline: float | None = None

    def app(self, key: str | None = None, local: bool = False) -> App:
        """Load the model. Raises `UsageError`."""
        how = {"guidance": self.guidance, "slots": self.slots, "memory": self.memory, **self.options}
        generator = Generator(self.model, self.decoder, self.cache, **how)
        return App(generator, self.name or generator.loaded.name, self.queue, self.body, key, local, self.deadline)
