"""The tables of the costs and savings of caches, with sentences about them that follow from the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import floor
from operator import attrgetter
from pathlib import Path

from decoders_bench.caches.calibrate import NEVER, Tried, best_tau, pooled
from decoders_bench.caches.measure import TOGETHER, Measured
from decoders_bench.caches.timing import Run, Timed
from decoders_bench.common.outcome import CLOCK_TEXT
from decoders_bench.common.results import markdown, percent, rows_of
from decoders_bench.common.statistics import mcnemar, wilson

MARGIN = 0.1
"""A difference in time below this share counts as none."""


def load_caches(path: Path) -> list[Measured]:
    return [Measured(**{**row, "tasks": tuple(row["tasks"])}) for row in rows_of(path)]


def load_calibration(path: Path) -> list[Tried]:
    return [Tried(**row) for row in rows_of(path)]


def load_cache_times(path: Path) -> list[Timed]:
    return [Timed(**{**row, "run": Run(**row["run"])}) for row in rows_of(path)]


def share(x: float) -> str:
    """A share in percent, rounded down, so that only 1 becomes 100."""
    return f"{floor(1000 * x) / 10:.1f}" if x < 1 else "100"


def pays(m: Measured) -> str:
    alone, batched = (ratio < 1 - MARGIN for ratio in (m.ratio_alone, m.ratio_batched))
    return (
        ""
        if m.cache == "none"
        else "yes"
        if alone and batched
        else "alone"
        if alone
        else "in batches"
        if batched
        else "no"
    )


def cache_tables(rows: Sequence[Measured]) -> str:
    """A table for every length, model and decoder, and its results in sentences."""
    parts = []
    for _, group in groupby(rows, key=lambda m: m.place):
        own = list(group)
        parts += [caption(own[0]), cache_table(own), " ".join(reading(own))]
    return "\n\n".join(parts)


def cache_summary(rows: Sequence[Measured]) -> str:
    """One row per cache, one column per table: time as a multiple of that under `none`, one by one and in batches; and
    right answers and agreement in percent."""
    places = list(dict.fromkeys(m.place for m in rows))
    found = {(m.cache, m.place): m for m in rows}

    def show(m: Measured | None) -> str:
        if m is None:
            return ""
        return (
            f"**{m.ratio_alone:.2f}** / **{m.ratio_batched:.2f}**<br>{percent(m.right / m.n)} right, "
            f"{share(m.agreement)} agree"
        )

    header = ["cache", *(f"{positions}, `{decoder}`, `{model}`" for positions, model, decoder in places)]
    caches = dict.fromkeys(m.cache for m in rows)
    return markdown(
        header, [[f"`{cache}`", *(show(found.get((cache, place))) for place in places)] for cache in caches]
    )


def caption(m: Measured) -> str:
    blocks = f"blocks of {m.block}" if m.block < m.length else "one block"
    cut = f", batches cut after {m.forwards} forwards and not graded" if m.forwards else ""
    ends = "decoded past the end token, agreement of the whole canvas" if m.ignore_eos else "ended at the end token"
    return (
        f"**Rows of about {m.positions} positions, `{m.decoder}`, `{m.model}`**: canvas of {m.length} in {blocks}, "
        f"{ends}; "
        f"{' and '.join(m.tasks)}; {m.alone} items one by one, {m.batched} in batches of {TOGETHER}{cut}; "
        f"{CLOCK_TEXT[m.clock]}."
    )


def cache_table(rows: Sequence[Measured]) -> str:
    """One row per cache. Seconds are per item; `x` is the multiple of the time under `none`."""

    def line(m: Measured) -> list[str]:
        low, high = wilson(m.right, m.n)
        return [
            f"`{m.cache}`", f"{m.seconds_alone:.3f}", f"{m.ratio_alone:.2f}", f"{m.seconds_batched:.3f}",
            f"{m.ratio_batched:.2f}", f"{m.padded:.2f}", f"{m.computed:.0f}", percent(m.hit_rate), f"{m.nfe:.1f}",
            f"**{percent(m.right / m.n)}** ({percent(low)}-{percent(high)})", share(m.agreement), pays(m),
        ]

    header = [
        "cache", "s", "x", f"s, batch {TOGETHER}", "x", "padded", "positions", "hit, %", "NFE",
        f"right, % (n={rows[0].n})", "agree, %", "pays",
    ]
    return markdown(header, [line(m) for m in rows])


def reading(rows: Sequence[Measured]) -> list[str]:
    """The results of a table in sentences."""
    none, others = rows[0], rows[1:]
    out = []
    for word, ratio in (("One by one", attrgetter("ratio_alone")), ("In batches", attrgetter("ratio_batched"))):
        good, bad = (names(m for m in others if (ratio(m) < 1 - MARGIN) is saved) for saved in (True, False))
        out.append(f"{word}, time is saved by {good or 'no cache'}{f'; not by {bad}' if bad and good else ''}.")
    widest = max(others, key=lambda m: m.padded, default=none)
    if widest.padded > 1 + MARGIN:
        out.append(
            "Rows of a batch that have ended, or need fewer positions than the largest row, are padded: the model "
            f"computes {widest.padded:.1f} times the needed positions under `{widest.cache}`, {none.padded:.1f} times "
            "under `none`."
        )
    if not any(m.right for m in rows):
        out.append(
            "No answer is right under any cache, not even under `none`, so accuracy says nothing here; only agreement "
            "can be compared."
        )
        if none.tokens == 0:
            out.append(
                "Every text is empty, since the model predicts the end token everywhere at once, so agreement is easy."
            )
    else:
        worse = names(m for m in others if m.lost > m.won and mcnemar(m.lost, m.won) < 0.05)
        out.append(f"Accuracy falls by more than chance explains (McNemar, p < 0.05) under {worse or 'no cache'}.")
    return out


def names(rows: Iterable[Measured]) -> str:
    return ", ".join(f"`{m.cache}`" for m in rows)


def tau_text(tau: float) -> str:
    return "never" if tau >= NEVER else f"{tau:g}"


def calibration_table(rows: Sequence[Tried]) -> str:
    """One row per tau, one column per setting: right answers (lost, won), agreement, and positions as a share of those
    under `none`."""
    whole = pooled(rows)
    settings = sorted({(r.block, r.k) for r in whole}, key=lambda s: (s[0], -s[1]))
    found = {(r.block, r.k, r.tau): r for r in whole}

    def show(r: Tried) -> str:
        verdict = "" if r.passes else " (fails)"
        return (
            f"{r.right} (-{r.lost} +{r.won}), {share(r.agreement)} "
            f"%{verdict}<br>{percent(r.computed / r.computed_none)} % of positions"
        )

    lines = [[tau_text(tau), *(show(found[b, k, tau]) for b, k in settings)] for tau in sorted({r.tau for r in whole})]
    table = markdown(["tau", *(f"blocks of {b}, k={k}" for b, k in settings)], lines)
    none = "; ".join(
        f"blocks of {b}: {next(r.right_none for r in whole if r.block == b)}" for b in sorted({b for b, _ in settings})
    )
    places = ", ".join(dict.fromkeys(f"{r.task}/{r.rung}" for r in rows))
    given = {k: best_tau([r for r in rows if r.k == k]) for k in sorted({r.k for r in rows}, reverse=True)}
    verdict = "; ".join(
        f"with k={k} " + ("no tau passes" if tau is None else f"the rule gives **tau = {tau_text(tau)}**")
        for k, tau in given.items()
    )
    return f"{whole[0].n} validation items of {places}. Right under `none`: {none}.\n\n{table}\n\nOf these, {verdict}."


def cache_time_table(rows: Sequence[Timed]) -> str:
    """One row per way of decoding, after a line about their common settings."""
    t = rows[0]
    r = t.run
    about = (
        f"`{r.model}`, {t.parameters / 1e9:.2f} G random parameters, {r.dtype}, {r.device}: batch {r.batch}, prompt "
        f"of {r.prompt} and "
        f"canvas of {r.length} in blocks of {r.block}; {t.repeats} run(s) of each, {CLOCK_TEXT[r.clock]}."
    )

    def line(x: Timed) -> list[str]:
        cached = "" if x.cached_ms is None else f"{x.cached_ms:.1f}"
        peak = "unknown" if x.peak_bytes is None else f"{x.peak_bytes / 2**30:.1f}"
        return [
            f"`{x.way}`" if x is not t else x.way, f"{x.full_ms:.1f}", cached, f"{x.step_ms:.1f}",
            f"{x.tokens_per_second:.2f}", f"{1 / x.ratio:.2f}", str(x.nfe), f"{r.length / x.nfe:.1f}", str(x.computed),
            percent(x.hit_rate), peak,
        ]

    header = [
        "", "full step, ms", "cached step, ms", "mean step, ms", "tokens/s", "speed-up", "NFE", "tokens/NFE",
        "positions", "hit, %", "peak, GiB",
    ]
    return f"{about}\n\n{markdown(header, [line(x) for x in rows])}"
