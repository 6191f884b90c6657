"""A tiny plan of twins, and results that nobody measured."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from decoders_bench.versus import stages
from decoders_bench.versus.plan import STACKED, TASKS, Plan, Twin

TINY = Plan(
    steps=8, seeds=2, kinds=STACKED, regimes=("fresh", "repeat:20"), examples=8, hidden=32, layers=1, heads=2, inner=32,
    looks=2, items=1,
)


def cost_row(kind, right, forwards, decoder="x", cache="exact"):
    """A setting that takes so many forwards, and seconds of a thousandth of them, in three turns."""
    seconds = [forwards / 1000 * (1 + turn / 10) for turn in range(3)]
    return {
        "kind": kind, "decoder": decoder, "cache": cache, "right": right, "forwards": [forwards] * len(right),
        "positions": 2.0 * forwards, "flops": 1e6 * forwards, "alone": seconds, "together": seconds,
    }  # fmt: skip


def results(plan, right, letters="8"):
    """Results in which `right(twin, item)` says which items are right."""
    def marks(t, n, salt):
        rng = Random(f"{t.seed}/{salt}")
        return "".join("01"[right(t, rng)] for _ in range(n))

    def of(t):
        canary = "".join(letters for _ in range(4))
        bounded = {n: {"nats": [1.0 + 0.1 * t.seed, 2.0], "exact": True, "truth": [1.0, 2.0]} for n in TASKS}
        return ({} if t.kind == "latent" else {"likelihood": bounded}) | {
            "quality": {name: marks(t, 16, name) for name in TASKS},
            "control": {n: marks(t, 8, n) for n in (
                "shuffle/easy, holes", "sudoku/easy, holes", "shuffle/easy, told", "sudoku/easy, told"
            )},
            "reasoning": {n: marks(t, 8, n) for n in ("steps first", "answer first", "deeper", "late")},
            "memorisation": {"times": [1, 4, 0, 0], "all": canary, "half": canary},
            "diversity": {"right": [20, 20], "different": [10, 10], "expected": [31.0, 31.0]},
        }  # fmt: skip

    curve = [
        {"step": s, "loss": [1.0 for _ in plan.twins],
         "right": [dict.fromkeys(TASKS, int(right(t, Random(s + t.seed)))) for t in plan.twins]}
        for s in (4, 8)
    ]  # fmt: skip
    spent = [
        [cost_row(kind, marks(Twin(kind, plan.regimes[0], seed), 20, f"costs/{kind}"), 4) for kind in plan.kinds]
        for seed in range(plan.seeds)
    ]
    return {
        "plan": stages.plain(plan), "trained_on": "here", "seconds": 1.0, "hardware": "there", "curve": curve,
        "costs": spent, "measured": {t.name: of(t) for t in plan.twins},
    }


THREE = replace(TINY, seeds=3)


def half(t, rng):
    return rng.random() < 0.5
