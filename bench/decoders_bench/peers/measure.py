"""Runs of a peer and of this library in turns, on the same prompts, each in a process of one thread.

Times are processor times of the process: they approximate the time on an idle core even if other processes use the
machine.
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
"""Seconds without an answer after which a process is ended."""


@dataclass(frozen=True)
class Setting:
    """A model on disk, and the prompts."""

    path: str
    mask: int | None
    prompts: tuple[tuple[int, ...], ...]
    stops: tuple[int, ...]
    """A text ends before the first of these tokens."""


@dataclass(frozen=True)
class Side(Rates):
    """The results of one of the two, over all prompts. The whole canvas is decoded, however much of it is text; seconds
    are processor time, the median over repeats."""

    peak: int | None = None
    """The peak memory beyond the model, in bytes, as a maximum over repeats; None if the system does not report it."""


@dataclass(frozen=True)
class Compared:
    """The results of a case; `failed` says why it could not be run, and the rest is then empty."""

    case: Case
    failed: str = ""
    versions: Mapping[str, str] | None = None
    """The versions in the peer's environment."""
    offers: tuple[str, ...] = ()
    """The names of the peer's other methods, if its script reports them."""
    prompts: int = 0
    same: int = 0
    """The number of prompts with identical canvases, token by token."""
    agreement: float = 0.0
    """The share of equal positions of all canvases."""
    ours: Side | None = None
    peer: Side | None = None
    ratios: tuple[float, ...] = ()
    """Our tokens per second divided by the peer's, for each repeat."""

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def ratio_per_forward(self) -> float | None:
        """The peer's seconds per forward pass divided by ours: the ratio without the effect of different numbers of
        forward passes."""
        if self.ours is None or self.peer is None:
            return None
        return (self.peer.seconds / self.peer.nfe) / (self.ours.seconds / self.ours.nfe)


def compare_all(
    cases: Sequence[Case], settings: Mapping[str, Setting], root: Path, repeats: int,
    notify: Callable[[Compared], object], code: Mapping[str, Path] = MappingProxyType({}), scripts: Path = SCRIPTS,
    patience: float = PATIENCE,
) -> list[Compared]:
    """Run every case, peer by peer; `settings` are by the model name of a case, environments are under `root`, and
    `code` has the directories of peers that the user fetched. If a peer cannot be installed, started or run, only its
    own cases fail. Raises `UsageError` if this library itself cannot run a case."""
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
    """The arguments of a peer's script: the directory of its code, if the user fetched it. Raises `UsageError` if the
    directory was not given."""
    if name not in FETCHED:
        return []
    if name not in code:
        raise UsageError(f"not measured: give --{name} DIR, a checkout of {FETCHED[name][0]}")
    return [code[name]]


def compare(case: Case, setting: Setting, ours: Process, peer: Process, repeats: int) -> Compared:
    """One warm-up of each side, then `repeats` of both, alternating which one is first."""
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
    """A peer reports that it cannot run a case."""


def side(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], stops: Sequence[int]) -> Side:
    """The results of a side, from the output of its warm-up and the times of the runs after it."""
    rows = made["rows"]
    texts = [next((i for i, t in enumerate(row["tokens"]) if t in stops), len(row["tokens"])) for row in rows]
    peaks = [run["peak"] for run in runs]
    peak = None if None in peaks else max(peaks)
    return Side(sum(row["nfe"] for row in rows), sum(texts), median(run["seconds"] for run in runs), peak)
