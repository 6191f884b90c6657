"""The network's part of a captured step, captured separately: the rest of the step belongs to this library."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from decoders.engine.backends import Backend
from decoders.engine.graph import Bucket, Room
from decoders_bench.common.stopwatch import Stopwatch

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


@contextmanager
def heard(net: PreTrainedModel) -> Iterator[list[Call]]:
    """Records the calls of the model's layers and of its head in the context, in their order, with their arguments."""
    calls: list[Call] = []

    def hear(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((module, args, kwargs))

    held = [m.register_forward_pre_hook(hear, with_kwargs=True) for m in (net.base_model, net.get_output_embeddings())]
    try:
        yield calls
    finally:
        for hook in held:
            hook.remove()


def network_times(
    net: PreTrainedModel,
    room: Room,
    buckets: Sequence[Bucket],
    backend: Backend,
    clock: Callable[[], Stopwatch],
    repeats: int = 5,
) -> list[float] | None:
    """Milliseconds of the network in each of the steps of a room, by the bucket of each; None if the decoder asks for
    attention maps, for which the network computes differently."""
    found: dict[Bucket, float] = {}
    for bucket in dict.fromkeys(buckets):
        with heard(net) as calls:
            room.session.fixed(room.forward, *bucket)
        if any(kwargs.get("output_attentions") for _, _, kwargs in calls):
            return None
        found[bucket] = replayed(calls, backend, clock(), repeats)
    return [found[bucket] for bucket in buckets]


def replayed(calls: Sequence[Call], backend: Backend, watch: Stopwatch, repeats: int) -> float:
    """The median time of replaying captured calls, after one warm-up."""

    def body() -> None:
        for module, args, kwargs in calls:
            module(*args, **kwargs)

    replay = backend.capture(body, lambda: None)
    replay()
    watch.begin()
    for _ in range(repeats):
        replay()
        watch.tick()
    return statistics.median(watch.steps)
