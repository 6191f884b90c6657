"""The results of a run: differences between two kinds of twins, over seeds.

A claim is about the training and not about one pair of weights, so the seeds are the sample: each seed gives one
difference, between twins that began with the same bits and saw the same examples, on items of its own. Tests that treat
items as independent, such as McNemar's, find differences even between two seeds of the same training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal

from decoders_bench.common.statistics import bonett_price, disagreements, mcnemar
from decoders_bench.quality.summary import holm
from decoders_bench.versus.equal import AXES, Open, apart, curves
from decoders_bench.versus.equal import ratio as equal_costs
from decoders_bench.versus.examples import SUFFIX
from decoders_bench.versus.moderated import Prior, fitted, interval, ratio
from decoders_bench.versus.plan import TASKS, Kind, Plan, Twin

LEVEL = 0.05
Results = dict[str, Any]
Word = Literal[
    "better", "worse", "more", "less", "not distinguishable", "one seed", "no common accuracy", "seldom right"
]


@dataclass(frozen=True)
class Measure:
    """A quantity that is measured for each twin."""

    dimension: str
    text: str
    value: Callable[[Results], Sequence[float]]
    """The values from the measurements of a twin: one for each item, or a single one; their mean is compared."""
    unit: str = "points"
    """`points` are hundredths; `doublings` are binary logarithms of a ratio; otherwise a unit."""
    judged: bool = True
    """The word if more is better, or else just for more."""
    fewer: bool = False
    """The word if less is better."""
    base: Callable[[Results], Sequence[float]] | None = None
    """The values of the other twin, if it is tested on other items."""


@dataclass(frozen=True)
class Claim:
    """One twin against another, in one regime."""

    dimension: str
    text: str
    regime: str
    kind: Kind
    base: Kind
    unit: str
    means: tuple[float, float]
    differences: tuple[float, ...]
    """The difference of each seed."""
    noise: float
    """The standard error of their mean due to the items alone; 0 if there are no items."""
    mcnemar: float | None
    """The p-value of a test that treats items as independent, if there are items."""
    judged: bool
    fewer: bool
    low: float = 0.0
    high: float = 0.0
    p: float | None = None
    """None for a single seed."""
    adjusted: float | None = None
    why: Open | None = None
    """Why nothing is compared, if so; there are no differences then."""

    @property
    def difference(self) -> float:
        return fmean(self.differences)

    @property
    def word(self) -> Word:
        if self.why:
            return self.why
        if self.adjusted is None:
            return "one seed"
        if self.adjusted >= LEVEL:
            return "not distinguishable"
        if not self.judged:
            return "more" if self.difference > 0 else "less"
        return "better" if (self.difference > 0) != self.fewer else "worse"


def ones(text: str) -> list[float]:
    return [float(x == "1") for x in text]


def letters(text: str, times: Sequence[int], shown: bool = True) -> list[float]:
    """The share of recalled letters of each canary that was shown, or of each that was not."""
    return [int(x) / SUFFIX for x, n in zip(text, times, strict=True) if (n > 0) == shown]


def whole(own: Results) -> list[float]:
    return [x for name in TASKS for x in ones(own["quality"][name])]


def accuracy_on_the_way(own: Results) -> list[float]:
    return [fmean(own["curve"])]


def task(name: str) -> Callable[[Results], Sequence[float]]:
    return lambda own: ones(own["quality"][name])


def part(dimension: str, *names: str) -> Callable[[Results], Sequence[float]]:
    return lambda own: [x for name in names for x in ones(own[dimension][name])]


def canaries(name: str) -> Callable[[Results], Sequence[float]]:
    return lambda own: letters(own["memorisation"][name], own["memorisation"]["times"])


def right_share(own: Results) -> list[float]:
    return [x / 32 for x in own["diversity"]["right"]]


def variety(own: Results) -> list[float]:
    """The number of different right answers, divided by the number that as many uniform draws would give."""
    d = own["diversity"]
    return [a / b for a, b in zip(d["different"], d["expected"], strict=True)]


HOLES = ("shuffle/easy, holes", "sudoku/easy, holes")
TOLD = ("shuffle/easy, told", "sudoku/easy, told")
MEASURES = (
    Measure("quality", "right answers, all tasks, each with its best decoder", whole),
    *(Measure("quality", f"right answers, {name}", task(name)) for name in TASKS),
    Measure("control", "holes filled, autoregression seeing what is left of them", part("control", *HOLES)),
    Measure(
        "control", "holes filled, autoregression told in the prompt what stands around them", part("control", *HOLES),
        base=part("control", *TOLD),
    ),
    Measure("reasoning", "sums of two steps, the steps written first", part("reasoning", "steps first")),
    Measure("reasoning", "the same sums, the answer written first", part("reasoning", "answer first")),
    Measure("reasoning", "sums of four and five steps, deeper than any learnt", part("reasoning", "deeper")),
    Measure("training efficiency", "right validation answers, mean over the training", accuracy_on_the_way),
    Measure("memorisation", "letters of planted canaries, from their beginning", canaries("all"), judged=False),
    Measure("memorisation", "letters of planted canaries, from both sides", canaries("half"), judged=False),
    Measure("diversity", "right orders among samples at temperature 1", right_share),
    Measure("diversity", "different right orders, of those of fair draws", variety),
)  # fmt: skip
EXACT = Measure(
    "likelihood", "nats of a canvas", lambda own: [x for t in own["likelihood"].values() for x in t["nats"]], "nats",
    fewer=True,
)
"""Compared only if both are exact: a bound is not a likelihood."""
REPEATED = tuple(m for m in MEASURES if m.dimension in ("quality", "training efficiency", "memorisation"))


def of_twin(found: Results, plan: Plan, twin: Twin) -> Results:
    """The measurements of a twin, with its accuracy during training."""
    number, items = plan.twins.index(twin), plan.items * len(TASKS)
    own: Results = found["measured"][twin.name]
    return own | {"curve": [sum(look["right"][number].values()) / items for look in found["curve"]]}


def claim(found: Results, plan: Plan, m: Measure, regime: str, kind: Kind, base: Kind) -> list[Claim]:
    """The claim on a measure; none if the run was too short for it."""
    pairs = [
        (
            m.value(of_twin(found, plan, Twin(kind, regime, s))),
            (m.base if m.base and kind != "again" else m.value)(of_twin(found, plan, Twin(base, regime, s))),
        )
        for s in range(plan.seeds)
    ]
    if not pairs[0][0]:
        return []
    differences = tuple(fmean(a) - fmean(b) for a, b in pairs)
    gains = [x - y for a, b in pairs for x, y in zip(a, b, strict=True)]
    noise, several = 0.0, len(pairs[0][0]) > 1
    if several:
        scale = 1.0 if m.unit == "points" else max(map(abs, gains)) or 1.0
        own = [g / scale for g in gains]
        noise = scale * bonett_price(fmean(own), fmean(g * g for g in own), len(own))[1]
    binary = several and all(x in (0.0, 1.0) for a, b in pairs for x in (*a, *b))
    counted = (
        mcnemar(*disagreements([y > 0.5 for _, b in pairs for y in b], [x > 0.5 for a, _ in pairs for x in a]))
        if binary else None
    )
    means = fmean(fmean(a) for a, _ in pairs), fmean(fmean(b) for _, b in pairs)
    return [
        Claim(m.dimension, m.text, regime, kind, base, m.unit, means, differences, noise, counted, m.judged, m.fewer)
    ]


def speed_claims(found: Results, plan: Plan, kind: Kind, base: Kind) -> list[Claim]:
    """The cost of an answer at equal accuracy, on each axis; or one claim that says why it is not compared. Empty if
    costs were not measured."""
    regime, pairs = plan.regimes[0], list(zip(*(curves(found.get("costs", []), k) for k in (kind, base)), strict=True))
    if not pairs:
        return []

    def made(text: str, unit: str, means: tuple[float, float], own: tuple[float, ...], **more: Any) -> Claim:
        return Claim("speed", f"{text} at equal accuracy", regime, kind, base, unit, means, own, mcnemar=None,
                     judged=True, fewer=True, **more)  # fmt: skip

    if why := apart(pairs):
        return [made("costs of an answer", "points", why.means, (), noise=0.0, why=why.reason)]
    found_ratios = [(text, equal_costs(pairs, axis)) for axis, text in AXES.items()]
    return [made(text, "doublings", r.means, r.doublings, noise=r.noise) for text, r in found_ratios]


def interplay(found: Results, plan: Plan, regime: str) -> Claim:
    """How much larger the advantage of masked diffusion over autoregression is with repeated examples than with fresh
    ones."""
    def right(kind: Kind, r: str, s: int) -> float:
        return fmean(whole(of_twin(found, plan, Twin(kind, r, s))))

    def gap(r: str, s: int) -> float:
        return right("mdm", r, s) - right("ar", r, s)

    gaps = [(gap(regime, s), gap(plan.regimes[0], s)) for s in range(plan.seeds)]
    return Claim(
        "data", f"its lead in right answers, against that in {plan.regimes[0]}", regime, "mdm", "ar", "points",
        (fmean(a for a, _ in gaps), fmean(b for _, b in gaps)), tuple(a - b for a, b in gaps), 0.0, None, True, False,
    )


def judged_together(chosen: Sequence[Claim]) -> list[Claim]:
    """All claims judged together: the variation between seeds beyond that of their items is estimated from all of them,
    and p-values are adjusted by Holm's method."""
    if not chosen:
        return []
    able = [c for c in chosen if not c.why]
    n = len(able[0].differences)
    ratios = [ratio(c.differences, c.noise) for c in able if c.noise and n > 1]
    prior = fitted(ratios, n - 1) if ratios else Prior()
    made = [interval(c.differences, c.noise, prior) for c in able]
    right = iter(holm([p for *_, p in made if p is not None]))
    judged = iter(
        replace(c, low=low, high=high, p=p, adjusted=None if p is None else next(right))
        for c, (low, high, p) in zip(able, made, strict=True)
    )
    return [c if c.why else next(judged) for c in chosen]


def claims(found: Results, plan: Plan) -> list[Claim]:
    """The claims on each kind against autoregression, in every regime, adjusted together."""
    out = []
    for regime in plan.regimes:
        own = plan.kinds_in(regime)
        for kind in own:
            if kind in ("ar", "again") or "ar" not in own:
                continue
            chosen = MEASURES if regime == plan.regimes[0] else REPEATED
            out += [c for m in chosen for c in claim(found, plan, m, regime, kind, "ar")]
            if regime == plan.regimes[0]:
                out += speed_claims(found, plan, kind, "ar")
            elif kind == "mdm":
                out.append(interplay(found, plan, regime))
    return judged_together(out)


def same(found: Results, plan: Plan) -> list[Claim]:
    """Autoregression from other initial weights against autoregression, in every dimension: no difference should be
    found."""
    if not {"ar", "again"} <= set(plan.kinds):
        return []
    regime = plan.regimes[0]
    measures = [m for m in (*MEASURES, EXACT) if m.base is None]
    out = [c for m in measures for c in claim(found, plan, m, regime, "again", "ar")]
    return judged_together([*out, *speed_claims(found, plan, "again", "ar")])


def crossing(
    found: Results, plan: Plan, regime: str, kind: Kind, draws: int = 2000
) -> tuple[float, float, float] | None:
    """The share of the training from which on a kind is more accurate than autoregression, by their mean curves, and
    the 95 % interval of a bootstrap over seeds (Efron and Tibshirani 1993, chapter 13); None if it is not more accurate
    at the end, or always is."""
    import numpy as np

    a, b = (
        np.array([of_twin(found, plan, Twin(k, regime, s))["curve"] for s in range(plan.seeds)]) for k in (kind, "ar")
    )
    steps = np.array([look["step"] for look in found["curve"]]) / plan.steps
    gaps, rng = a - b, np.random.default_rng(0)
    point = crossed(gaps.mean(0).tolist(), steps.tolist())
    again = [
        crossed(gaps[rng.integers(0, plan.seeds, plan.seeds)].mean(0).tolist(), steps.tolist()) for _ in range(draws)
    ]
    known = sorted(x if x is not None else 1.0 for x in again)
    return None if point is None else (point, known[int(0.025 * draws)], known[int(0.975 * draws)])


def crossed(gaps: Sequence[float], at: Sequence[float]) -> float | None:
    """The position of the last change of sign from at most 0 to above 0, interpolated linearly between two
    evaluations."""
    if gaps[-1] <= 0 or min(gaps) > 0:
        return None
    where = max(i for i, (x, y) in enumerate(pairwise(gaps)) if x <= 0 < y)
    x, y = gaps[where], gaps[where + 1]
    return at[where] + (at[where + 1] - at[where]) * (-x / (y - x))
