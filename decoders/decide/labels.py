"""Labels as token ids, and the places where a token of theirs has to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decoders.core import UsageError

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """A place where some labels are the same up to there."""

    prefix: Ids
    tokens: Ids
    """What may stand next."""


@dataclass(frozen=True)
class Tree:
    """Some labels, by their tokens from the left. Labels of one token have one node."""

    nodes: tuple[Node, ...]
    paths: tuple[tuple[int, ...], ...]
    """For each label its tokens, as numbers of those of all nodes."""
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
    nodes = tuple(Node(prefix, tuple(tokens)) for prefix, tokens in ways.items())
    number = {way: i for i, way in enumerate((n.prefix, token) for n in nodes for token in n.tokens)}
    paths = tuple(tuple(number[ids[:i], token] for i, token in enumerate(ids)) for ids in whole)
    return Tree(nodes, paths, max(map(len, whole)))


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
