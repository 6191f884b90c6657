"""The table of peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from decoders_bench.common.results import markdown, recorded_on, rows_of
from decoders_bench.peers.cases import Case
from decoders_bench.peers.measure import Compared, Side
from decoders_bench.peers.settings import PROMPT

HEADER = (
    "what of it", "here", "same canvases", "forwards a prompt, here / there", "tokens per forward, here / there",
    "tokens/s, here over there", "time a forward, there over here",
)
MIB = 1 << 20
MEMORY = ("peak memory above the model, MiB, here / there",)
RESULTS = Path(__file__).parents[2] / "results"
REALISTIC_ROWS = RESULTS / "peers-realistic.json"


def load_peers(path: Path) -> list[Compared]:
    return [compared_of(row) for row in rows_of(path)]


def compared_of(row: dict[str, Any]) -> Compared:
    sides = {name: row[name] and Side(**row[name]) for name in ("ours", "peer")}
    listed = {name: tuple(row[name]) for name in ("offers", "ratios")}
    return Compared(**{**row, **sides, **listed, "case": Case(**row["case"])})


def peer_tables(rows: Sequence[Compared]) -> str:
    """A table for each peer, the reasons for differences in tokens or forward passes, the peer's other methods, and the
    cases that it could not run."""
    parts = []
    for peer in dict.fromkeys(r.case.peer for r in rows):
        own = [r for r in rows if r.case.peer == peer]
        ran = [r for r in own if not r.failed]
        versions = next((r.versions for r in own if r.versions), None)
        parts.append(
            f"**{peer}**" + (f" ({', '.join(f'{name} {v}' for name, v in versions.items())})" if versions else "")
        )
        if ran:
            held = MEMORY if any(memory(r) for r in ran) else ()
            parts.append(markdown([*HEADER, *held], [[*line(r), *[memory(r) for _ in held]] for r in ran]))
        notes = [
            *(f"- {r.case.named}: {r.case.because}." for r in ran if differs(r) and r.case.because),
            *unexplained(ran),
        ]
        notes += [f"- {r.case.named} cannot be run: `{r.failed}`" for r in own if r.failed]
        rest = sorted({name for r in own for name in r.offers} - {r.case.options.get("scheduler") for r in own})
        if rest:
            notes.append(f"- It also has {', '.join(f'`{name}`' for name in rest)}, which were not compared.")
        if notes:
            parts.append("\n".join(dict.fromkeys(notes)))
    return "\n\n".join([*parts, reading(rows)])


def line(r: Compared) -> list[str]:
    assert r.ours is not None
    assert r.peer is not None
    told = r.case.attention == "block" or r.case.model == "realistic"
    cache = f", cache `{r.case.cache}`" if told else ""
    same = f"{r.same} of {r.prompts}" + ("" if r.same == r.prompts else f"; {100 * r.agreement:.0f} % of positions")
    spread = f"{r.ratio or 0:.2f} ({min(r.ratios):.2f}-{max(r.ratios):.2f})"
    return [
        r.case.named, f"`{r.case.decoder}`{cache}", same,
        f"{r.ours.nfe / r.prompts:.1f} / {r.peer.nfe / r.prompts:.1f}",
        f"{r.ours.tokens_per_forward:.2f} / {r.peer.tokens_per_forward:.2f}", spread, f"{r.ratio_per_forward:.2f}",
    ]


def memory(r: Compared) -> str:
    """The memory of both; empty if the system did not report it."""
    if r.ours is None or r.peer is None or r.ours.peak is None or r.peer.peak is None:
        return ""
    return f"{r.ours.peak / MIB:.0f} / {r.peer.peak / MIB:.0f}"


def differs(r: Compared) -> bool:
    return r.same < r.prompts or (r.ours is not None and r.peer is not None and r.ours.nfe != r.peer.nfe)


def unexplained(rows: Sequence[Compared]) -> list[str]:
    """Unexpected differences, reported as such."""
    odd = [r.case for r in rows if differs(r) and not r.case.because]
    return [f"- {case.named} against `{case.decoder}`: they differ, and we do not know why." for case in odd]


def reading(rows: Sequence[Compared]) -> str:
    """The counts of equal tokens, and of cases in which this library is faster."""
    ran = [r for r in rows if not r.failed]
    if not ran:
        return "Nothing could be compared."
    same = sum(r.same == r.prompts for r in ran)
    a_forward = [r.ratio_per_forward for r in ran if r.ratio_per_forward]
    faster = sum((r.ratio or 0) > 1 for r in ran)
    return (
        f"Every canvas is the same in {same} of {len(ran)} comparisons. This library makes more tokens a second in "
        f"{faster} of them; a "
        f"forward and what belongs to it takes the peers {median(a_forward):.2f} times as long in the median "
        f"({min(a_forward):.2f}-{max(a_forward):.2f})."
    )


def peers_section() -> str:
    """The section of docs/benchmarks.md."""
    path = RESULTS / "peers.json"
    return f"{recorded_on(path)}; {ABOUT}\n\n{peer_tables(load_peers(path))}"


def realistic_tables(rows: Sequence[Compared]) -> str:
    """A table for each vocabulary."""
    parts = []
    for vocab in dict.fromkeys(r.case.vocab for r in rows):
        parts += [f"### A vocabulary of {vocab:,}", peer_tables([r for r in rows if r.case.vocab == vocab])]
    return "\n\n".join(parts)


def realistic_section() -> str:
    """The section of docs/benchmarks.md."""
    return f"{recorded_on(REALISTIC_ROWS, nano=False)}; {REALISTIC}\n\n{realistic_tables(load_peers(REALISTIC_ROWS))}"


def realistic_summary() -> str:
    """A part of the README: a line for each loop and cache, with the speed ratio and the memory of both for each
    vocabulary."""
    rows = [r for r in load_peers(REALISTIC_ROWS) if not r.failed]
    vocabs = list(dict.fromkeys(r.case.vocab for r in rows))
    found = {(r.case.peer, r.case.named, r.case.cache, r.case.vocab): r for r in rows}
    columns = (f"{text}, V = {v:,}" for v in vocabs for text in ("times as fast", "MiB here / there"))
    header = ["loop", "cache here", "same tokens", *columns]
    lines = []
    for peer, named, cache in dict.fromkeys(key[:3] for key in found):
        own = [found.get((peer, named, cache, v)) for v in vocabs]
        same = "yes" if all(r.same == r.prompts for r in own if r) else "no"
        cells = [x for r in own for x in ((f"**{r.ratio:.2f}**", memory(r)) if r else ("", ""))]
        lines.append([f"{peer}: {named.partition(',')[0]}", f"`{cache}`", same, *cells])
    return markdown(header, lines)


SHARED = (
    "each decoder in a process of one thread, in turns, one prompt at a time; medians of paired repeats, with the "
    "least and the largest, of the processor time of the process, since others use the machine. "
)
FASTER = "A ratio above 1 means that this library is faster. "
ABOUT = (
    f"{SHARED}Tokens are those left of the first stop token; neither prompts nor padding count. {FASTER}The masked "
    "model is `nano`; DiffusionGemma is one of that size with random weights, and both sides are given the same random "
    "numbers."
)
REALISTIC = (
    f"{SHARED}{FASTER}The model has LLaDA's shape with 4 layers of 512 and random weights in float32; the prompt has "
    f"{PROMPT} tokens, and blocks have 16. Memory is the most that the process held while it decoded, beyond what it "
    "held with its model in place before."
)
