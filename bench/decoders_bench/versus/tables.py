"""The results of a run of twins in words and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from decoders_bench.common.results import markdown
from decoders_bench.versus.claims import (
    Claim,
    Results,
    claims,
    crossing,
    letters,
    of_twin,
    ones,
    same,
)  # fmt: skip
from decoders_bench.versus.equal import AXES, cost_of, curves
from decoders_bench.versus.examples import SUFFIX
from decoders_bench.versus.plan import BLOCK, TASKS, TITLES, Kind, Plan, Twin
from decoders_bench.versus.sizes import size_table
from decoders_bench.versus.train import plan_of

UNITS = {"points": "%", "doublings": "", "nats": "nats"}


def load(path: Path) -> tuple[Results, Plan]:
    found = json.loads(path.read_text())
    return found, plan_of(found["plan"])


def value(x: float, unit: str) -> str:
    return f"{100 * x:.1f}" if unit == "points" else f"{x:.2f}"


def change(c: Claim) -> str:
    """The difference and its interval, if there is one; ratios are written as such; empty if nothing is compared."""
    if c.why:
        return ""
    low, high = (max(c.low, -1.0), min(c.high, 1.0)) if c.unit == "points" else (c.low, c.high)

    def told(x: float) -> str:
        if c.unit == "doublings":
            return f"{2**x:.2f}"
        return f"{100 * x:+.1f}" if c.unit == "points" else f"{x:+.2f}"

    interval = f" [{told(low)}, {told(high)}]" if c.noise or len(c.differences) > 1 else ""
    return f"{'x ' if c.unit == 'doublings' else ''}{told(c.difference)}{interval}"


def probability(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def sentence(c: Claim) -> str:
    """One claim."""
    head = f"{c.text[0].upper()}{c.text[1:]}"
    who, than = TITLES[c.kind], TITLES[c.base]
    if c.why:
        return f"{head} ({c.regime}): {c.why}, {nearest(c)}."
    of = "" if c.unit == "doublings" else f" {c.unit}"
    told = f"{value(c.means[0], c.unit)} against {value(c.means[1], c.unit)} {UNITS[c.unit]}".rstrip()
    word = {
        "better": f"{who} is better", "worse": f"{who} is worse", "more": f"{who} has more", "less": f"{who} has less",
        "not distinguishable": f"{who} and {than} are not distinguishable", "one seed": f"{who}, one seed",
    }[c.word]
    p = f", p {'' if c.adjusted < 0.001 else '= '}{probability(c.adjusted)}" if c.adjusted is not None else ""
    return f"{head} ({c.regime}): {word}, {told}; {change(c)}{of}{p}."


def nearest(c: Claim) -> str:
    """The accuracies of the two kinds if they are not compared at equal accuracy."""
    ahead = c.means[0] > c.means[1]
    both = zip((TITLES[c.kind], TITLES[c.base]), c.means, ("at least", "at most") if ahead else ("at most", "at least"),
               strict=True)  # fmt: skip
    return " and ".join(
        f"{who} is right in {'at most' if c.why == 'seldom right' else bound} {value(x, c.unit)} %"
        for who, x, bound in both
    )


def counted(own: Sequence[Claim]) -> str:
    """The numbers of claims for and against a kind."""
    words = Counter(c.word for c in own if not c.why)
    if "one seed" in words:
        return f"{words['one seed']} differences of one seed, none of them tested"
    told = [f"{word} in {n}" for word, n in words.items() if word in ("better", "worse")]
    told += [f"{word} in {n}" for word, n in words.items() if word in ("more", "less")]
    rest = words["not distinguishable"]
    head = ", ".join(told) or "in none found to differ"
    who = TITLES[own[0].kind]
    return f"of {words.total()} differences from autoregression, {who} is {head}, and {rest} are not distinguishable"


def claim_table(chosen: Sequence[Claim], item_test: bool = False) -> str:
    header = ["dimension", "what", "regime", TITLES[chosen[0].kind], TITLES[chosen[0].base],
              "difference and 95 % interval", "p", "verdict"]
    header += ["p by items alone"] if item_test else []
    rows = [
        [c.dimension, c.text, c.regime, value(c.means[0], c.unit), value(c.means[1], c.unit), change(c),
         probability(c.adjusted), c.word] + ([probability(c.mcnemar)] if item_test else [])
        for c in chosen
    ]  # fmt: skip
    return markdown(header, rows)


def twins_of(plan: Plan, regime: str, kind: Kind) -> list[Twin]:
    return [Twin(kind, regime, s) for s in range(plan.seeds)]


def shown_kinds(plan: Plan, regime: str) -> list[Kind]:
    return [k for k in plan.kinds_in(regime) if k != "again"]


def likelihood_table(found: Results, plan: Plan) -> str:
    """Likelihoods, with exact values and bounds in separate columns; diffusion of latents has none."""
    regime = plan.regimes[0]
    kinds = shown_kinds(plan, regime)
    rows = []
    for name in TASKS:
        own = [
            [found["measured"][t.name].get("likelihood", {}).get(name) for t in twins_of(plan, regime, kind)]
            for kind in kinds
        ]
        cells = [
            "has none" if not each[0] else
            ("" if each[0]["exact"] else "≤ ") + f"{fmean(x for one in each for x in one['nats']):.2f}" for each in own
        ]
        known = next((each for each in own if each[0] and each[0].get("truth")), None)
        best = f"{fmean(x for one in known for x in one['truth']):.2f}" if known else ""
        rows.append([name, *cells, best])
    return markdown(["task", *(TITLES[k] for k in kinds), "the best possible"], rows)


def speed_rows(found: Results, plan: Plan, kind: Kind) -> list[dict[str, Any]]:
    """A row for each setting of a kind: accuracy, positions, and its cost on each axis, as means over seeds."""
    return [
        {
            "decoder": same[0]["decoder"], "cache": same[0]["cache"],
            "right": fmean(fmean(ones(x["right"])) for x in same),
            "positions": fmean(x["positions"] for x in same),
            **{axis: fmean(median(cost_of(x, axis)) for x in same) for axis in AXES},
        }
        for same in zip(*(c.rows for c in curves(found.get("costs", []), kind)), strict=True)
    ]  # fmt: skip


UNMEASURED = "This run was measured before costs were compared at equal accuracy; the same command measures them."


def speed_table(found: Results, plan: Plan) -> str:
    if not found.get("costs"):
        return UNMEASURED
    rows = [
        [TITLES[kind], f"`{x['decoder']}`", f"`{x['cache']}`", f"{100 * x['right']:.1f}", f"{x['forwards']:.2f}",
         f"{x['positions']:.0f}", f"{x['flops']:.1f}", f"{x['alone']:.1f}", f"{x['together']:.2f}"]
        for kind in shown_kinds(plan, plan.regimes[0]) for x in speed_rows(found, plan, kind)
    ]  # fmt: skip
    header = ["twin", "decoder", "cache", "right, %", "forwards", "positions", "MFLOP", "ms, alone", "ms, of 32"]
    return markdown(header, rows)


def memory_rows(found: Results, plan: Plan, regime: str, kind: Kind, name: str) -> list[tuple[int, float, float]]:
    """By how often canaries were shown: the share of recalled letters, and of completely recalled canaries."""
    own = [found["measured"][t.name]["memorisation"] for t in twins_of(plan, regime, kind)]
    out = []
    for times in sorted({n for m in own for n in m["times"]}):
        said = [int(x) for m in own for x, n in zip(m[name], m["times"], strict=True) if n == times]
        out.append((times, fmean(said) / SUFFIX, fmean(x == SUFFIX for x in said)))
    return out


def memory_table(found: Results, plan: Plan) -> str:
    rows = []
    for regime in plan.regimes:
        for kind in shown_kinds(plan, regime):
            first = found["measured"][Twin(kind, regime, 0).name]["memorisation"]
            for name in (x for x in first if x != "times"):
                told = memory_rows(found, plan, regime, kind, name)
                asked = {"all": "one letter a forward", "half": "from both sides"}.get(name, f"forwards: {name}")
                cells = [f"{100 * letters_right:.0f} ({100 * all_right:.0f})" for _, letters_right, all_right in told]
                rows.append([TITLES[kind], regime, asked, *cells])
    times = sorted(set(found["measured"][plan.twins[0].name]["memorisation"]["times"]))
    return markdown(["twin", "regime", "asked", *(f"shown {n} x" if n else "never shown" for n in times)], rows)


def curve_rows(found: Results, plan: Plan, regime: str, kind: Kind) -> list[tuple[int, float]]:
    """The number of examples seen in training, and the accuracy on validation items at that point."""
    own = [of_twin(found, plan, t)["curve"] for t in twins_of(plan, regime, kind)]
    return [
        (look["step"] * plan.examples, fmean(each[i] for each in own)) for i, look in enumerate(found["curve"])
    ]


def curve_table(found: Results, plan: Plan) -> str:
    series = [(regime, kind) for regime in plan.regimes for kind in shown_kinds(plan, regime)]
    columns = [curve_rows(found, plan, *s) for s in series]
    rows = [[f"{row[0][0] / 1000:.0f}", *(f"{100 * x:.0f}" for _, x in row)] for row in zip(*columns, strict=True)]
    return markdown(["thousand examples", *(f"{TITLES[k]}, {r}" for r, k in series)], rows)


def loss_table(found: Results, plan: Plan) -> str:
    """The validation loss of each kind during training; values can be compared only within a column."""
    series = [(regime, kind) for regime in plan.regimes for kind in shown_kinds(plan, regime)]
    numbers = [[plan.twins.index(t) for t in twins_of(plan, *s)] for s in series]
    rows = []
    for look in found["curve"]:
        means = [f"{fmean(look['loss'][i] for i in own):.2f}" for own in numbers]
        rows.append([f"{look['step'] * plan.examples / 1000:.0f}", *means])
    return markdown(["thousand examples", *(f"{TITLES[k]}, {r}" for r, k in series)], rows)


def crossing_lines(found: Results, plan: Plan) -> list[str]:
    out = []
    for regime in plan.regimes:
        for kind in shown_kinds(plan, regime):
            if kind == "ar":
                continue
            gaps = [a - b for (_, a), (_, b) in zip(
                curve_rows(found, plan, regime, kind), curve_rows(found, plan, regime, "ar"), strict=True
            )]  # fmt: skip
            at = crossing(found, plan, regime, kind)
            if at is None:
                where = "is ahead of" if min(gaps) > 0 else "does not permanently overtake"
                when = " at every measurement" if min(gaps) > 0 else ""
                out.append(f"{TITLES[kind].capitalize()} {where} autoregression{when} ({regime}).")
            else:
                point, low, high = (f"{100 * x:.0f}" for x in at)
                interval = f" [{low}, {high}]" if plan.seeds > 1 else ""
                out.append(
                    f"{TITLES[kind].capitalize()} overtakes autoregression after {point} % of the training{interval} "
                    f"({regime})."
                )
    return out


def late_line(found: Results, plan: Plan) -> str:
    """How often diffusion decides an answer that precedes its steps after the last of them."""
    told = []
    for kind in shown_kinds(plan, plan.regimes[0]):
        own = [found["measured"][t.name]["reasoning"]["late"] for t in twins_of(plan, plan.regimes[0], kind)]
        marks = ones("".join(own))
        told.append(f"{TITLES[kind]} {100 * fmean(marks):.0f} %" if marks else f"{TITLES[kind]} none")
    return (
        "If the answer is placed before its steps, it was decided after the last step in this share of the answers: "
        + ", ".join(told) + "." + (LAST_CHANGED if "latent" in plan.kinds else "")
    )


LAST_CHANGED = (
    " Latent diffusion makes all positions at once, and a position counts as decided where its token changed for the "
    "last time."
)


def canary_base(found: Results, plan: Plan) -> float:
    """The share of letters of canaries that were never shown which autoregression gets right."""
    own = [found["measured"][t.name]["memorisation"] for t in twins_of(plan, plan.regimes[0], "ar")]
    rest = [x for m in own for x in letters(m["all"], m["times"], shown=False)]
    return fmean(rest) if rest else 0.0


def summary(found: Results, plan: Plan) -> str:
    """What was trained and measured."""
    return (
        f"{plan.seeds} seed{'s' * (plan.seeds > 1)}, {plan.steps} steps of {plan.examples} examples "
        f"({plan.steps * plan.examples / 1000:.0f} thousand), {len(plan.twins)} models of {plan.layers} layers of "
        f"{plan.hidden}; regimes "
        f"{', '.join(plan.regimes)}; blocks of {BLOCK}. Trained on {found['trained_on']} in {found['seconds']:.0f} s, "
        f"summed over processes; measured on {found['hardware']}."
    )


def command(found: Results, plan: Plan) -> str:
    """The command of the run, with the options that matter."""
    given: dict[str, Sequence[object]] = {
        "seeds": [plan.seeds], "regime": plan.regimes, "kind": plan.kinds, "steps": [plan.steps]
    }
    usual = Plan()
    own = {"seeds": [usual.seeds], "regime": usual.regimes, "kind": usual.kinds, "steps": [usual.steps]}
    flags = [f" --{name} {x}" for name, xs in given.items() if xs != own[name] for x in xs]
    return f"The run shown here is `decoders bench versus -o run{''.join(flags)}`."


def same_line(own: Sequence[Claim]) -> str:
    """What the comparison of autoregression with itself shows about the method."""
    if not own or own[0].adjusted is None:
        return "With one seed nothing is tested."
    own = [c for c in own if c.why != "seldom right"]
    off = [c for c in own if c.word != "not distinguishable"]
    raw = sum(c.p is not None and c.p < 0.05 for c in own)
    counted = [c for c in own if c.mcnemar is not None]
    items = sum(c.mcnemar is not None and c.mcnemar < 0.05 for c in counted)
    verdict = (
        f"none of {len(own)} differences is found" if not off
        else f"{len(off)} of {len(own)} differences are found: {', '.join(c.text for c in off)}"
    )
    return (
        f"Autoregression against itself, from other initial weights: {verdict} ({raw} before the correction). A test "
        f"that treats items as independent (McNemar's) would have found {items} of {len(counted)}, before a correction."
    )


def claim_text(found: Results, plan: Plan, kind: Kind) -> str:
    """The differences between a kind and autoregression: a sentence for each claim, and the table."""
    own = [c for c in claims(found, plan) if c.kind == kind]
    if not own:
        return f"This run has no {TITLES[kind]} that is compared with autoregression."
    told = counted(own)
    return "\n\n".join(
        [f"{told[0].upper()}{told[1:]}.", "\n".join(f"- {sentence(c)}" for c in own), claim_table(own)]
    )


def same_text(found: Results, plan: Plan) -> str:
    """The differences that the method finds where there should be none."""
    check = same(found, plan)
    return "\n\n".join([same_line(check), *([claim_table(check, item_test=True)] if check else [])])


def on_the_way(found: Results, plan: Plan) -> str:
    return "\n".join(f"- {line}" for line in crossing_lines(found, plan)) + "\n\n" + curve_table(found, plan)


PARTS: dict[str, Callable[[Results, Plan], str]] = {
    "summary": summary, "command": command, "mdm": lambda found, plan: claim_text(found, plan, "mdm"),
    "block": lambda found, plan: claim_text(found, plan, "block"), "way": on_the_way, "loss": loss_table,
    "late": late_line, "sizes": lambda found, plan: size_table(plan),
    "latent": lambda found, plan: claim_text(found, plan, "latent"),
    "likelihood": likelihood_table, "speed": speed_table, "memory": memory_table, "same": same_text,
}
"""The generated parts of the documentation page."""
