"""Runs of a peer and of this library in turns, on the same prompts, each in a process of one thread.

The clock is the processor time of the process: what the same run would take on an idle core, near enough, while others
use the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

from decoders import UsageError
from decoders_bench.common.rates import Rates
from decoders_bench.peers.cases import Case
from decoders_bench.peers.environments import FETCHED, prepare
from decoders_bench.peers.process import SCRIPTS, Process

PATIENCE = 600.0
"""Seconds without an answer after which a process is given up."""


@dataclass(frozen=True)
class Setting:
    """A model on disk, and the prompts."""

    path: str
    mask: int | None
    prompts: tuple[tuple[int, ...], ...]
    stops: tuple[int, ...]
    """A text is what stands left of the first of these tokens."""


@dataclass(frozen=True)
class Side(Rates):
    """One of the two, over all prompts. All of the canvas is decoded, whatever of it is text; seconds are of processor
    time, the median over repeats."""

    peak: int | None = None
    """The most bytes that it held beyond its model in any repeat; None where the system does not say."""


@dataclass(frozen=True)
class Compared:
    """What became of a case; `failed` says why it could not be run, and the rest is then empty."""

    case: Case
    failed: str = ""
    versions: Mapping[str, str] | None = None
    """Of the peer's environment."""
    offers: tuple[str, ...] = ()
    """What else it has, by name, where its script says so."""
    prompts: int = 0
    same: int = 0
    """Prompts whose whole canvas is the same, token by token."""
    agreement: float = 0.0
    """The share of equal positions of all canvases."""
    ours: Side | None = None
    peer: Side | None = None
    ratios: tuple[float, ...] = ()
    """Our tokens a second over the peer's, repeat by repeat."""

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def ratio_per_forward(self) -> float | None:
        """Of seconds a forward, the peer's over ours: what is left of the ratio where one of the two takes fewer
        forwards."""
        if self.ours is None or self.peer is None:
            return None
        return (self.peer.seconds / self.peer.nfe) / (self.ours.seconds / self.ours.nfe)


def compare_all(
    cases: Sequence[Case], settings: Mapping[str, Setting], root: Path, repeats: int,
    notify: Callable[[Compared], object], code: Mapping[str, Path] = MappingProxyType({}), scripts: Path = SCRIPTS,
    patience: float = PATIENCE,
) -> list[Compared]:
    """Every case, peer by peer; `settings` by the name of a case's model, environments under `root`, and `code`, the
    directories of peers that are fetched by the user. A peer that cannot be installed, started or run costs its own
    cases only. Raises `UsageError` if this library itself cannot run one."""
    rows = []
    with Process(prepare("transformers", root), scripts / "with_decoders.py", patience) as ours:
        for name, group in groupby(cases, key=lambda c: c.peer):
            for row in compare_with(name, list(group), settings, root, repeats, ours, code, scripts, patience):
                rows.append(row)
                notify(row)
    return rows


def compare_with(
    name: str, cases: Sequence[Case], settings: Mapping[str, Setting], root: Path, repeats: int, ours: Process,
    code: Mapping[str, Path], scripts: Path, patience: float,
) -> Iterable[Compared]:
    script = scripts / f"with_{name.replace('-', '_')}.py"
    done = 0
    while done < len(cases):
        try:
            peer = Process(prepare(name, root), script, patience, *fetched(name, code))
        except UsageError as e:
            yield from (Compared(case, str(e)) for case in cases[done:])
            return
        with peer:
            # a case that ends the process does not end the others
            while done < len(cases) and peer.child.poll() is None:
                case = cases[done]
                done += 1
                yield compare(case, settings[case.model], ours, peer, repeats)


def fetched(name: str, code: Mapping[str, Path]) -> list[Path]:
    """What the script of a peer is told: where its code is, if the user fetched it. Raises `UsageError` where that was
    not said."""
    if name not in FETCHED:
        return []
    if name not in code:
        raise UsageError(f"not measured: give --{name} DIR, a checkout of {FETCHED[name][0]}")
    return [code[name]]


def compare(case: Case, setting: Setting, ours: Process, peer: Process, repeats: int) -> Compared:
    """One warm-up of each, then `repeats` of both, the first of the two in turns."""
    prompts = [list(p) for p in setting.prompts]
    job = case.job(setting.path, setting.mask)
    draws = None
    if case.model == "diffusion_gemma":
        draws = [row["draws"] for row in ours.ask({**job, "record": True}, prompts)["rows"]]

    def own() -> dict[str, Any]:
        return ours.ask(job, prompts)

    def theirs() -> dict[str, Any]:
        try:
            return peer.ask(job, prompts, draws)
        except UsageError as e:
            raise PeerError(str(e)) from None

    try:
        made = theirs()
        if not case.decoder:
            raise UsageError(f"{case.peer}: {case.named} runs, and is compared with nothing")
        mine = own()
        pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for i in range(repeats):
            first, second = (own, theirs) if i % 2 == 0 else (theirs, own)
            a, b = first(), second()
            pairs.append((a, b) if i % 2 == 0 else (b, a))
    except PeerError as e:
        return Compared(case, str(e), peer.versions, tuple(peer.offers))
    left, right = ([row["tokens"] for row in x["rows"]] for x in (mine, made))
    equal = [a == b for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)]
    us, them = side(mine, [a for a, _ in pairs], setting.stops), side(made, [b for _, b in pairs], setting.stops)
    ratios = tuple((us.tokens / a["seconds"]) / (them.tokens / b["seconds"]) for a, b in pairs)
    same = sum(a == b for a, b in zip(left, right, strict=True))
    return Compared(case, "", peer.versions, tuple(peer.offers), len(prompts), same, fmean(equal), us, them, ratios)


class PeerError(Exception):
    """A peer said that it cannot do a case."""


def side(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], stops: Sequence[int]) -> Side:
    """What a warm-up made, and what the timed runs after it took."""
    rows = made["rows"]
    texts = [next((i for i, t in enumerate(row["tokens"]) if t in stops), len(row["tokens"])) for row in rows]
    peaks = [run["peak"] for run in runs]
    peak = None if None in peaks else max(peaks)
    return Side(sum(row["nfe"] for row in rows), sum(texts), median(run["seconds"] for run in runs), peak)
