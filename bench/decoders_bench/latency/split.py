"""Where the time of a step goes: the model, the cache, statistics of the logits, the decision, and the rest.

Everything is measured where it happens, by wrapping what a run is made of: hooks on the model's layers and head, the
store of keys and values, the cache policy, and the predictions, whose methods are what strategies ask of logits.
Nothing in the library knows of it.
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
    """A method that a strategy calls on a prediction; `spread` and `gather` only move what was found."""
    return callable(x) and not name.startswith("_") and name not in ("spread", "gather")


METHODS = tuple(name for name, x in vars(Pred).items() if asked(name, x))


def timed(cls: type, names: Sequence[str], region: str, clock: Stopwatch) -> type:
    """The same class, with methods that are a region."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
            with clock.region(region):
                return method(self, *args, **kwargs)

        return inside

    return type(cls.__name__, (cls,), {name: around(getattr(cls, name)) for name in names})


def again(cls: type, x: Any) -> Any:
    """A dataclass instance as one of a subclass."""
    return cls(**{f.name: getattr(x, f.name) for f in fields(x) if f.init})


def timed_cache(cache: Cache, clock: Stopwatch) -> Cache:
    """The policy, whose decisions are part of what caching costs."""
    return again(timed(type(cache), ("stale", "remember"), CACHE, clock), cache)  # type: ignore[no-any-return]


@contextmanager
def hooked(net: PreTrainedModel, clock: Stopwatch) -> Iterator[None]:
    """Within it, the model's layers and its head are regions."""
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
    """The model, with sessions whose store is a region and whose predictions' methods are. Where it is no transformer
    whose layers can be told from what is around them, all of it is the forward."""

    def __init__(self, model: Model, clock: Stopwatch, store: str = CACHE) -> None:
        """`store`: the region of writing keys and values."""
        self.model, self.clock, self.store = model, clock, store
        self.own = ASSEMBLY if isinstance(getattr(model, "model", None), PreTrainedModel) else FORWARD
        self.forwards: list[Forward] = []
        """Those that were asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def session(self, need: SessionSpec) -> Session:
        session, cls = self.model.session(need), timed(Pred, METHODS, STATISTICS, self.clock)
        # of one session for several canvases of a row, the one that runs them
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
