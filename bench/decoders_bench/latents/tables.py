"""The tables of `decoders bench latents`, with sentences about them that follow from the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown, percent, rows_of
from decoders_bench.common.statistics import difference, disagreements, mcnemar, wilson
from decoders_bench.latents.measure import ARGMAX, ROUNDINGS, Outcome, Trial

Place = tuple[str, str]


def load_latents(path: Path) -> list[Outcome]:
    return [Outcome(**{**row, "trial": Trial(**row["trial"])}) for row in rows_of(path)]


def places_of(rows: Iterable[Outcome]) -> list[Place]:
    return list(dict.fromkeys((r.trial.task, r.trial.rung) for r in rows))


def named(place: Place) -> str:
    return "/".join(place)


def share(right: Sequence[bool]) -> str:
    low, high = wilson(sum(right), len(right))
    return f"**{percent(sum(right) / len(right))}** ({percent(low)}-{percent(high)})"


def samplers(rows: Sequence[Outcome]) -> list[Outcome]:
    return [r for r in rows if r.trial.kind not in (*ROUNDINGS, "nano")]


def labelled(kind: str, clamp: bool) -> str:
    return f"{marked(kind, '`')}{', clamped' if clamp else ''}"


def pooled_table(rows: Sequence[Outcome]) -> str:
    """Accuracy over all tasks, with Wilson's interval; a row for each sampler and clamp, a column for each number of
    forward passes, and nano in the last rows."""
    own = [r for r in rows if r.trial.kind not in ROUNDINGS]
    columns = sorted({r.trial.forwards for r in own})
    body = []
    for kind, clamp in dict.fromkeys((r.trial.kind, r.trial.clamp) for r in own):
        cells = []
        for k in columns:
            here = [r for r in own if (r.trial.kind, r.trial.clamp, r.trial.forwards) == (kind, clamp, k)]
            cells.append(share([x for r in here for x in r.right]) if here else "")
        body.append(["nano, masked: `llada`" if kind == "nano" else labelled(kind, clamp), *cells])
    return markdown(["sampler", *(f"{k} forwards" for k in columns)], body)


def place_table(rows: Sequence[Outcome], forwards: int) -> str:
    """Accuracy on each task with a given number of forward passes."""
    own = [r for r in rows if r.trial.kind not in ROUNDINGS and r.trial.forwards == forwards]
    places = places_of(own)
    found = {(r.trial.kind, r.trial.clamp, r.trial.task, r.trial.rung): r for r in own}
    body = [
        [
            "nano, masked: `llada`" if kind == "nano" else labelled(kind, clamp),
            *(share(found[kind, clamp, *place].right) for place in places),
        ]
        for kind, clamp in dict.fromkeys((r.trial.kind, r.trial.clamp) for r in own)
    ]
    return markdown([f"{forwards} forwards", *map(named, places)], body)


def gained(a: Outcome, b: Outcome) -> str:
    """The numbers of items that only b and only a solves, with the interval of the difference and McNemar's p."""
    lost, won = disagreements(a.right, b.right)
    n = len(a.right)
    low, high = difference(lost, won, n)
    p = mcnemar(lost, won)
    return f"{100 * (won - lost) / n:+.0f} ({100 * low:+.0f} to {100 * high:+.0f}), p={p:.2f}"


def roundings(rows: Sequence[Outcome]) -> list[tuple[Outcome, Outcome, Outcome]]:
    """Results on the same latents: the argmax, the rounder token by token, and the rounder that verifies."""
    found = {(r.trial.kind, r.trial.forwards, r.trial.clamp, r.trial.task, r.trial.rung): r for r in rows}
    made = []
    for r in rows:
        t = r.trial
        plain, slow = (found.get((kind, t.forwards, t.clamp, t.task, t.rung)) for kind in ("ddim", "one by one"))
        if t.kind == "verified" and plain and slow:
            made.append((plain, slow, r))
    return made


def rounding_table(rows: Sequence[Outcome]) -> str:
    """The argmax and the rounder, and the rounder's own forward passes in both of its ways."""
    body = [
        [
            named((r.trial.task, r.trial.rung)), f"{r.trial.forwards}{', clamped' if r.trial.clamp else ''}",
            share(plain.right), share(slow.right), gained(plain, slow), f"{slow.rounds:.1f}", f"{r.rounds:.2f}",
            "the same" if slow.texts == r.texts else "**differ**",
        ]
        for plain, slow, r in roundings(rows)
    ]
    header = [
        "task", "forwards of `ddim`", ARGMAX, "rounder", "rounder against argmax, points",
        "rounder's forwards, one by one", "verified", "answers",
    ]
    return markdown(header, body)


def beside(rows: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """nano and the sampler of latents, with equal numbers of forward passes on the same items."""
    masked = {(r.trial.forwards, r.trial.task, r.trial.rung): r for r in rows if r.trial.kind == "nano"}
    return [
        (masked[key], r) for r in samplers(rows)
        if (key := (r.trial.forwards, r.trial.task, r.trial.rung)) in masked
    ]


VERDICTS = ("nano", "latents", "not distinguishable")


def verdict(a: Outcome, b: Outcome, level: float = 0.05) -> str:
    """Which of the two is better by McNemar's test."""
    lost, won = disagreements(a.right, b.right)
    if mcnemar(lost, won) >= level:
        return VERDICTS[2]
    return VERDICTS[1] if won > lost else VERDICTS[0]


def beside_table(rows: Sequence[Outcome]) -> str:
    """The tasks on which each sampler is worse than nano at equal forward passes, and those on which it is better."""
    pairs = beside(rows)
    body = []
    for kind, clamp in dict.fromkeys((b.trial.kind, b.trial.clamp) for _, b in pairs):
        own = [(a, b) for a, b in pairs if (b.trial.kind, b.trial.clamp) == (kind, clamp)]
        cells = {v: [b.trial for a, b in own if verdict(a, b) == v] for v in VERDICTS}
        body.append([labelled(kind, clamp), *(where(cells[v]) for v in VERDICTS)])
    return markdown(["sampler", "nano is better", "latents are better", "not distinguishable"], body)


def where(trials: Sequence[Trial]) -> str:
    """Tasks with their numbers of forward passes."""
    by: dict[str, list[int]] = {}
    for t in trials:
        by.setdefault(f"{t.task}/{t.rung}", []).append(t.forwards)
    return ", ".join(f"{name} ({', '.join(map(str, ks))})" for name, ks in by.items())


def reading(rows: Sequence[Outcome]) -> str:
    """How often each side is better at equal forward passes, and the effects of the clamp and the rounder."""
    pairs = beside(rows)
    lines = []
    if pairs:
        counts = {v: sum(verdict(a, b) == v for a, b in pairs) for v in VERDICTS}
        lines.append(
            f"- At equal forwards nano is better in {counts['nano']} of {len(pairs)} comparisons, the latents in "
            f"{counts['latents']}, and in {counts['not distinguishable']} no difference is shown (McNemar, 5 %, each "
            "by itself)."
        )
    lines += [clamp_line(rows), rounder_line(rows)]
    return "\n".join(line for line in lines if line)


def clamp_line(rows: Sequence[Outcome]) -> str:
    found = {r.trial: r for r in samplers(rows)}
    plain = {cell(t): r for t, r in found.items() if not t.clamp}
    pairs = [(plain[cell(t)], r) for t, r in found.items() if t.clamp and cell(t) in plain]
    if not pairs:
        return ""
    better, worse = (sum(verdict(a, b) == v for a, b in pairs) for v in ("latents", "nano"))
    return (
        f"- The clamp helps in {better} of {len(pairs)} comparisons and hurts in {worse}, by the same test; "
        f"over all of them it changes accuracy by {points(pairs):+.1f} points."
    )


def points(pairs: Sequence[tuple[Outcome, Outcome]]) -> float:
    total = sum(len(a.right) for a, _ in pairs)
    return 100 * sum(sum(b.right) - sum(a.right) for a, b in pairs) / total


def cell(t: Trial) -> tuple[str, int, str, str]:
    """The settings that two trials have in common if only their clamp differs."""
    return t.kind, t.forwards, t.task, t.rung


def rounder_line(rows: Sequence[Outcome]) -> str:
    triples = roundings(rows)
    pairs, verified = [(plain, slow) for plain, slow, _ in triples], [(slow, quick) for _, slow, quick in triples]
    if not triples:
        return ""
    better, worse = (sum(verdict(a, b) == v for a, b in pairs) for v in ("latents", "nano"))
    same = sum(a.texts == b.texts for a, b in verified)
    slow, quick = (sum(x[i].rounds for x in verified) / len(verified) for i in (0, 1))
    return (
        f"- The rounder is better than the argmax in {better} of {len(pairs)} comparisons and worse in {worse}; it "
        f"changes accuracy by {points(pairs):+.1f} points. Verified it says the same in {same} of {len(verified)}, in "
        f"{quick:.2f} of its forwards in place of {slow:.1f}."
    )


def latents_tables(rows: Sequence[Outcome], forwards: int = 8) -> str:
    """The whole text with all tables."""
    own = samplers(rows)
    n, places = rows[0].trial.n, places_of(own)
    parts = [f"Over {', '.join(map(named, places))}, {n} test items of each:", pooled_table(rows)]
    if any(r.trial.forwards == forwards for r in own):
        parts += ["On each:", place_table(rows, forwards)]
    parts += [rounding_table(rows), beside_table(rows), reading(rows)]
    return "\n\n".join(part for part in parts if part)
