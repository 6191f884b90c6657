"""Labels as token ids, and where they part from one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoders.core import UsageError

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Fork:
    """A place where labels part that are the same up to there."""

    prefix: Ids
    tokens: Ids
    """What may stand next."""


@dataclass(frozen=True)
class Tree:
    """Some labels. Only forks have to be looked at: elsewhere a label has but one way on."""

    forks: tuple[Fork, ...]
    """The first is where they part first, as every label comes by there."""
    paths: tuple[tuple[int, ...], ...]
    """For each label the tokens at which it parts from others, counted through all forks."""
    size: int
    """Tokens of the longest label."""


def tree(labels: Sequence[str], spelled: Sequence[Ids], end: int | None) -> Tree:
    """Labels with their token ids. The end token follows one that another begins with. Raises `UsageError` for labels
    that cannot be told from each other."""
    known: dict[Ids, str] = {}
    for label, ids in zip(labels, spelled, strict=True):
        if ids in known:
            raise UsageError(f"the labels {known[ids]!r} and {label!r} are the same tokens to this model")
        known[ids] = label
    whole = [ended(ids, known, end) for ids in spelled]
    ways: dict[Ids, dict[int, None]] = {}
    for ids in whole:
        for i, token in enumerate(ids):
            ways.setdefault(ids[:i], {})[token] = None
    forks = tuple(Fork(p, tuple(w)) for p, w in sorted(ways.items(), key=lambda x: len(x[0])) if len(w) > 1)
    flat = [(f.prefix, token) for f in forks for token in f.tokens]
    number = {way: i for i, way in enumerate(flat)}
    ways_of = [[(ids[:i], token) for i, token in enumerate(ids)] for ids in whole]
    paths = tuple(tuple(number[way] for way in some if way in number) for some in ways_of)
    return Tree(forks, paths, max(map(len, whole)))


def ended(ids: Ids, known: dict[Ids, str], end: int | None) -> Ids:
    """A label, with the end token if another one goes on where it ends. Raises `UsageError` where there is none."""
    longer = next((x for x in known if len(x) > len(ids) and x[: len(ids)] == ids), None)
    if longer is None:
        return ids
    if end is None:
        raise UsageError(
            f"the label {known[longer]!r} begins with the label {known[ids]!r}, and this model has no end token to "
            "tell them apart"
        )
    return (*ids, end)
