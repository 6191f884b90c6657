"""The tables of areas, which docs/best.md shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from decoders_bench.areas.measure import Area, Pair, Spot
from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown, measured_with, percent
from decoders_bench.quality.rows import grouped

WIDE = ("all", "held out")
"""Areas over more than one rung."""


def section(path: Path, tested: bool = True) -> str:
    """The tables of a file that `save` wrote; `tested`: with the comparisons of points."""
    found = json.loads(path.read_text())
    spots, own = [Spot(**x) for x in found["points"]], [Area(**x) for x in found["areas"]]
    compared, ours = [Pair(**x) for x in found["pairs"]], found["ours"]
    head = (
        f"{measured_with(found['environment'])}; {'/'.join(found['splits'])} split, {found['wordings']} wording(s), "
        f"{found['problems']} problems of {len(found['rungs'])} rungs, {found['questions']} questions a point."
    )
    parts = [head, area_table(own, ours, found["rungs"]), spot_table(spots)]
    halves = found.get("rivals") == "by halves"
    chosen = "for each half of the problems by the other half" if halves else "by its own result, which favours it"
    for name, part in grouped(compared if tested else [], lambda x: x.rungs).items():
        parts.append(
            f"Every point of another decoder is compared with the most accurate point of `{ours}` that takes no more "
            f"forwards, which is chosen {chosen}; {name} rungs:"
        )
        parts.append(pair_table(part))
    return "\n\n".join(parts)


def reading(path: Path) -> str:
    """What the tables say, in sentences: the areas, the rungs on which another decoder has a larger one, and the most
    accurate settings."""
    found = json.loads(path.read_text())
    own, ours = [Area(**x) for x in found["areas"]], found["ours"]
    mine = {x.rungs: x for x in own if x.curve == ours}
    lines = []
    for rungs in (w for w in WIDE if w in mine):
        others = [x for x in own if x.rungs == rungs and x.curve != ours]
        largest, above = max(others, key=lambda x: x.aup), sum(x.low > 0 for x in others)
        lines.append(
            f"- Over {rungs} rungs the area of `{ours}` is {mine[rungs].aup:.0f}. The largest of another decoder is "
            f"that of `{largest.curve}`, {largest.aup:.0f} (ours more by {more(largest)}). Of {len(others)} "
            f"differences {above} have an interval above 0."
        )
    rivals = {r: max((x for x in own if x.rungs == r and x.curve != ours), key=lambda x: x.aup) for r in found["rungs"]}
    larger = [
        f"{r} (`{x.curve}`, {x.aup:.0f} against {mine[r].aup:.0f})"
        for r, x in rivals.items() if round(x.aup) > round(mine[r].aup)
    ]  # fmt: skip
    lines.append(f"- Another decoder has a larger area on {', '.join(larger) or 'no rung'}.")
    spots = [Spot(**x) for x in found["points"]]
    first, second = (
        max((x for x in spots if (x.curve == ours) is wanted), key=lambda x: (share(x), -x.nfe))
        for wanted in (True, False)
    )
    lines.append(
        f"- The most accurate setting of ours is `{first.decoder}` with {percent(share(first))} % in {first.nfe:.1f} "
        f"forwards; of all others, `{second.decoder}` with {percent(share(second))} % in {second.nfe:.1f}."
    )
    return "\n".join(lines)


def more(x: Area) -> str:
    return f"{x.more:+.0f}, {x.low:+.0f} to {x.high:+.0f}"


def area_table(own: Sequence[Area], ours: str, rungs: Sequence[str]) -> str:
    """A row for each curve: the areas over all and over held-out rungs with the advantage of ours, and the area over
    each rung."""
    by = {(x.curve, x.rungs): x for x in own}
    names = sorted({x.curve for x in own}, key=lambda c: (-by[c, "all"].aup, c))
    wide = [w for w in WIDE if (ours, w) in by]

    def told(x: Area) -> str:
        return f"**{x.aup:.0f}**" if x.curve == ours else f"{x.aup:.0f} ({more(x)})"

    body = [[marked(c, "`"), *(told(by[c, w]) for w in wide), *(f"{by[c, r].aup:.0f}" for r in rungs)] for c in names]
    return markdown(["AUP", *(f"{w} rungs (ours more, 95 %)" for w in wide), *rungs], body)


def share(x: Spot) -> float:
    return x.right / x.n if x.accuracy is None else x.accuracy


def spot_table(spots: Sequence[Spot]) -> str:
    body = [
        [marked(x.decoder, "`"), f"**{percent(share(x))}** ({percent(x.low)}-{percent(x.high)})",
         f"{x.nfe:.2f}",
         f"{x.tokens_per_forward:.2f}", f"{x.positions:.0f}"]
        for x in spots
    ]  # fmt: skip
    return markdown(["decoder", "right, %", "forwards", "tokens per forward", "positions"], body)


def pair_table(found: Sequence[Pair]) -> str:
    body = []
    for x in found:
        own = [marked(x.other, "`"), f"{x.other_nfe:.2f}"]
        if x.p is None:
            body.append([*own, "", "", "", "", "", x.verdict])
            continue
        change = f"{100 * x.difference:+.1f} ({100 * x.low:+.1f} to {100 * x.high:+.1f})"
        body.append([*own, f"`{x.ours}`", f"{x.ours_nfe:.2f}", change, f"{x.won} / {x.lost}", f"{x.p:.3f}", x.verdict])
    header = ["other", "forwards", "ours", "forwards", "difference in points", "won / lost", "p (Holm)", "ours is"]
    return markdown(header, body)
