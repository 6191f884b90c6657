"""The split of a step's time into the model, the cache, statistics of the logits, the decision, and the rest.

Each part is timed by wrapping the objects of a run: hooks on the model's layers and head, the store of keys and values,
the cache policy, and the predictions, whose methods compute what strategies need of the logits. The library itself
contains nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from transformers import PreTrainedModel

from decoders import Cache, Forward, Model, Pred
from decoders.core import Session, SessionSpec
from decoders_bench.common.stopwatch import OUTSIDE, Stopwatch

FORWARD, CACHE, ASSEMBLY, STATISTICS, DECISION = "forward", "cache", "assembly", "statistics", "decision"
REGIONS = {
    FORWARD: "the model's layers and its head",
    CACHE: "writing keys and values to the store, and the cache policy",
    ASSEMBLY: "what is around the model: which columns to run, what they see, which rows of logits",
    STATISTICS: "what the strategy asks of the logits",
    DECISION: "everything else before and after the forward",
    OUTSIDE: "the loop, and the look of the host whether all rows are done",
}


def asked(name: str, x: Any) -> bool:
    """Whether a method computes something for a strategy; `spread` and `gather` only move results."""
    return callable(x) and not name.startswith("_") and name not in ("spread", "gather")


METHODS = tuple(name for name, x in vars(Pred).items() if asked(name, x))


def timed(cls: type, names: Sequence[str], region: str, clock: Stopwatch) -> type:
    """A subclass whose methods are timed as a region."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
            with clock.region(region):
                return method(self, *args, **kwargs)

        return inside

    return type(cls.__name__, (cls,), {name: around(getattr(cls, name)) for name in names})


def again(cls: type, x: Any) -> Any:
    """A dataclass instance as one of its subclass."""
    return cls(**{f.name: getattr(x, f.name) for f in fields(x) if f.init})


def timed_cache(cache: Cache, clock: Stopwatch) -> Cache:
    """The policy with its decisions timed, as they are part of the cost of caching."""
    return again(timed(type(cache), ("stale", "remember"), CACHE, clock), cache)  # type: ignore[no-any-return]


@contextmanager
def hooked(net: PreTrainedModel, clock: Stopwatch) -> Iterator[None]:
    """In this context, the model's layers and its head are timed regions."""
    held = []
    for module in (net.base_model, net.get_output_embeddings()):
        held.append(module.register_forward_pre_hook(lambda *_: clock.enter(FORWARD)))
        held.append(module.register_forward_hook(lambda *_: clock.leave(), always_call=True))
    try:
        yield
    finally:
        for hook in held:
            hook.remove()


class Watched:
    """The model with sessions whose cache and whose predictions' methods are timed regions. If it is not a transformer
    with recognisable layers, all of its work counts as the forward pass."""

    def __init__(self, model: Model, clock: Stopwatch, store: str = CACHE) -> None:
        """`store`: the region of writing keys and values."""
        self.model, self.clock, self.store = model, clock, store
        self.own = ASSEMBLY if isinstance(getattr(model, "model", None), PreTrainedModel) else FORWARD
        self.forwards: list[Forward] = []
        """The forward passes of the sessions."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def session(self, need: SessionSpec) -> Session:
        session, cls = self.model.session(need), timed(Pred, METHODS, STATISTICS, self.clock)
        # a session may serve several canvases of a row; this is the one that runs them
        store = getattr(getattr(session, "session", session), "cache", None)
        if store is not None:
            update = store.update

            def write(*args: Any, **kwargs: Any) -> Any:
                with self.clock.region(self.store):
                    return update(*args, **kwargs)

            store.update = write

        def forward(f: Forward) -> Pred:
            self.forwards.append(f)
            with self.clock.region(self.own):
                p = session(f)
            return again(cls, p)  # type: ignore[no-any-return]

        return forward
