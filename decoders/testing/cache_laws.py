"""The laws that every cache policy keeps. Each is a function of a policy that raises `AssertionError`, with what went
wrong.

An approximation may keep keys and values that are out of date; `decoders.testing.measured` measures how many. Its form,
its rows and its costs have to be right, and it may not keep forever what was never right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from decoders.caches.none import NoCache
from decoders.core import NOTHING, Cache, Canvas, UsageError, mapped
from decoders.registry import get_cache, spec_of
from decoders.testing.cache_runs import (
    DECODERS,
    cache_rooms,
    cached_rows,
    copied,
    questions,
    speaks,
    trodden,
)
from decoders.testing.laws import check_written, same
from decoders.testing.rooms import Room, difference, expect, leaves
from decoders.testing.tensors import Count

CacheLaw = Callable[[Cache], None]


def written(cache: Cache) -> None:
    """Its class is a frozen dataclass itself, and it has either a `stale` or declares itself `exact` or `whole`."""
    check_written(cache)
    cls = type(cache)
    own = cls.stale is not Cache.stale
    expect(own or not speaks(cache), f"{cls.__name__} has no stale, and declares neither exact nor whole")
    declared = "exact" if cache.exact else "whole"
    expect(speaks(cache) or not own, f"{cls.__name__} declares {declared}, so its stale is never called")


def form(x: object) -> dict[str, object]:
    """Shapes and types of a tree's tensors, and its other leaves."""
    return {k: (v.shape, v.dtype) if isinstance(v, Tensor) else v for k, v in leaves(x).items()}


def gives_columns(cache: Cache) -> None:
    """`stale` returns (B, L) bool, one for each column; the results of `init` and `remember` have leading dimension B,
    and their structure never changes."""
    for room, spec in asked_in(cache):
        for q in questions(room, spec, cache):
            columns = q.after.open.shape
            found, kept = cache.stale(*copied(q).arguments), cache.remember(*copied(q).arguments)
            expect(isinstance(found, Tensor), f"{room.name}: stale returns {type(found).__name__}, not a tensor")
            told = f"{tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}"
            right = found.shape == columns and found.dtype == torch.bool
            expect(right, f"{room.name}: stale returns {told}, not {tuple(columns)} bool (B, L)")
            memory = q.after.store.memory
            rows = all(x.shape[:1] == columns[:1] for x in leaves(memory).values() if isinstance(x, Tensor))
            expect(rows, f"{room.name}: what it remembers has no leading dimension of {columns[0]} rows")
            expect(form(memory) == form(kept), f"{room.name}: remember changed the structure of what is remembered")


def asked_in(cache: Cache) -> list[tuple[Room, str]]:
    """A step at which a policy is called."""
    return [(room, spec) for room in cache_rooms(cache) for spec in DECODERS] if speaks(cache) else []


def meta_safe(cache: Cache) -> None:
    """It runs on meta tensors, which have shapes and no data: nothing is read on the host and no shape depends on a
    value."""
    for room, spec in asked_in(cache):
        for q in questions(room, spec, cache, most=2):
            on_meta = mapped(lambda x: x.to("meta"), q)
            try:
                found = cache.stale(*on_meta.arguments), cache.remember(*on_meta.arguments), cache.init(on_meta.after)
            except Exception as e:
                raise AssertionError(
                    f"{room.name}: a value is read on the host, or a tensor is on another device: {e}"
                ) from e
            held = [x for x in leaves(found).values() if isinstance(x, Tensor)]
            expect(all(x.is_meta for x in held), f"{room.name}: a tensor has left its device")


def pure(cache: Cache) -> None:
    """`stale` and `remember` leave their arguments and torch's random state alone and give the same answer twice."""
    for room, spec in asked_in(cache):
        for q in questions(room, spec, cache):
            given, random = copied(q), torch.get_rng_state()
            first = cache.stale(*given.arguments), cache.remember(*given.arguments)
            for name, now, then in zip(("after", "before", "p"), given.arguments, q.arguments, strict=True):
                path = difference(now, then)
                expect(path is None, f"{room.name}: the argument {name} was changed in place ({path})")
            expect(torch.equal(random, torch.get_rng_state()), f"{room.name}: torch's random state was used")
            again = cache.stale(*copied(q).arguments), cache.remember(*copied(q).arguments)
            expect(difference(first, again) is None, f"{room.name}: two calls with the same arguments differ")


def no_loops(cache: Cache) -> None:
    """The number of tensor operations does not grow with rows or columns: no Python loop runs over them."""

    def operations(room: Room) -> int:
        *_, q = questions(room, DECODERS[0], cache, most=2)
        cache.stale(*copied(q).arguments)  # values that are computed once and kept are computed now
        cache.remember(*copied(q).arguments)
        given, count = copied(q), Count()  # type: ignore[no-untyped-call]  # torch's own constructor
        with count:
            cache.stale(*given.arguments)
            cache.remember(*given.arguments)
        return count.calls

    if not speaks(cache):
        return
    home = replace(cache_rooms(cache)[0], prompts=((1, 2),) * 2)
    small, tall = operations(home), operations(replace(home, prompts=home.prompts * 2))
    wide = operations(replace(home, length=2 * home.length))
    expect(small == tall, f"{small} tensor operations for 2 rows and {tall} for 4: a Python loop over rows")
    expect(small == wide, f"{small} tensor operations for a row and {wide} for a longer one: a loop over columns")


def batch_invariant(cache: Cache) -> None:
    """A row alone, in a batch, and beside a longer row: the same tokens and forwards, and the same cost."""
    for room, spec in asked_in(cache):
        together = cached_rows(room, spec, cache, room.prompts)
        alone = [cached_rows(room, spec, cache, (prompt,))[0] for prompt in room.prompts]
        longer = (1, 2, 3, 4) * 3 + room.prompts[-1]
        beside = cached_rows(room, spec, cache, (longer, *room.prompts))[1:]
        for name, others in (("alone", alone), ("beside a longer row", beside)):
            same(room.name, room.prompts, {"in a batch": together, name: others})
            for i, (a, b) in enumerate(zip(together, others, strict=True)):
                first, second = ((x.positions_computed, x.positions_reused) for x in (a, b))
                expect(
                    first == second,
                    f"{room.name}: row {i + 1} computes {first[0]} positions and reads {first[1]} in a batch, and "
                    f"{second[0]} and {second[1]} {name}",
                )


def settles(cache: Cache) -> None:
    """A decided token is computed again before its window is left: no later window reads keys and values of a token
    that has been replaced."""
    for room, spec in asked_in(cache):
        held = torch.full_like(trodden(room, spec, cache)[0].before.tokens, NOTHING)
        for n, m in enumerate(trodden(room, spec, cache)):
            c, f = m.before, m.forward
            held = torch.where(f.compute, f.tokens, held)
            left = (c.column < c.start[:, None]) & c.live[:, None] & f.want.any(-1, keepdim=True)
            for b, column in (left & (held != f.tokens)).nonzero().tolist():
                raise AssertionError(
                    f"{room.name}: column {column} of row {b + 1} became {int(f.tokens[b, column])} in its window, and "
                    f"forward {n + 1}, in a later one, still reads what was computed of {int(held[b, column])}"
                )


def costs(cache: Cache) -> None:
    """`positions_computed` and `positions_reused` count what the model ran and read: it runs stale, wanted and never
    computed positions, and no others."""
    for room in cache_rooms(cache):
        for spec in DECODERS:
            check_costs(room, spec, cache)


def check_costs(room: Room, spec: str, cache: Cache) -> None:
    run = trodden(room, spec, cache)
    known = torch.zeros_like(run[0].before.open)
    computed, read = torch.zeros(2, len(known), dtype=torch.long)
    for m in run:
        c, f = m.before, m.forward
        within = (c.column < c.reach[:, None]) & c.live[:, None]
        if speaks(cache):
            due = (c.store.stale | ~known | wanted(c, f.want)) & within
            expect((f.compute == due).all(), f"{room.name}: other columns are computed than stale, wanted and new ones")
        computed = computed + f.compute.sum(-1)
        seen = c.column < torch.where(f.compute, f.until, 0).amax(-1, keepdim=True)
        read = read + (known & seen & ~f.compute & c.live[:, None]).sum(-1)
        known = known | f.compute
    for name, ran in (("computed", computed), ("reused", read)):
        told = getattr(run[-1].after.store, name)
        if cache.whole and name == "reused":
            ran = torch.zeros_like(ran)
        found = f"rows report {told.tolist()} positions {name}, and {ran.tolist()} were"
        expect(torch.equal(told, ran), f"{room.name}: {found}")


def wanted(c: Canvas, want: Tensor) -> Tensor:
    """(B, L) bool: the columns of the positions `want (B, W)`."""
    return c.window & want.gather(1, c.index)


def exact_is_exact(cache: Cache) -> None:
    """A policy that declares itself `exact`, or `whole`, changes no token of a run without a cache."""
    for room in cache_rooms(cache) if not speaks(cache) else ():
        for spec in (*DECODERS, "left_to_right"):
            plain = cached_rows(room, spec, NoCache(), room.prompts)
            same(room.name, room.prompts, {
                "without a cache": plain, "with it": cached_rows(room, spec, cache, room.prompts)
            })


def sizes(cache: Cache) -> None:
    """`sizes` ascend and end with the longest row, so that every forward can be padded to one."""
    for columns, width in ((12, 4), (12, 12), (33, 8), (7, 1)):
        found = cache.sizes(columns, width)
        rising = all(0 < a < b for a, b in pairwise((0.5, *found)))
        expect(rising and found[-1] == columns, f"sizes({columns}, {width}) gives {found}")


def spec_round_trip(cache: Cache) -> None:
    """Its spec string makes an equal policy, with an equal hash."""
    spec = spec_of(cache)
    try:
        made = get_cache(spec)
        alike = made == cache and hash(made) == hash(cache)
    except (UsageError, TypeError) as e:
        raise AssertionError(f"{spec!r} does not make it: {e}") from e
    expect(alike, f"{spec!r} makes {made!r}, not {cache!r}")


CACHE_LAWS: tuple[CacheLaw, ...] = (
    written, gives_columns, meta_safe, pure, batch_invariant, no_loops, settles, costs, exact_is_exact, sizes,
    spec_round_trip,
)
CACHE_FAST: tuple[CacheLaw, ...] = (written, gives_columns, meta_safe, pure, sizes, spec_round_trip)
"""The quickest laws."""
