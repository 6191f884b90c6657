"""Which twins of a run are trained together, and what is known of the training of all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders_bench.versus.latent import LatentRun
from decoders_bench.versus.plan import STACKED, Plan, Twin
from decoders_bench.versus.train import Run, Training, plan_of, trained_file


@dataclass(frozen=True)
class Group:
    """Kinds that are trained together: the plan of these only, and the part of their files' names that says so."""

    plan: Plan
    name: str = ""

    @property
    def stacked(self) -> bool:
        """Whether its twins have the same network."""
        return set(self.plan.kinds) <= set(STACKED)


def groups(plan: Plan, out: Path) -> list[Group]:
    """The groups of the run in `out`: the kinds of equal shape with which it began, and each other kind by itself, so
    that the weights of a kind do not depend on what a run gains later."""
    file = trained_file(out)
    first = plan_of(json.loads(file.read_text())["plan"]).kinds if file.exists() else STACKED
    alone = [Group(plan.of([kind]), f"-{kind}") for kind in plan.kinds if kind not in first]
    return [Group(own), *alone] if (own := plan.of(first)).kinds else alone


def training(group: Group, out: Path, device: str, stream: int | None) -> Training:
    """The training of a group, or of one of its streams, as far as it is saved in `out`."""
    return (Run if group.stacked else LatentRun)(group.plan, out, device, stream, group.name)


def trained(plan: Plan, out: Path) -> dict[str, Any]:
    """Where a run was trained, the seconds that it took, and the evaluations, in the order of the plan's twins."""
    own = groups(plan, out)
    told = [json.loads(trained_file(out, group.name).read_text()) for group in own]
    place: dict[Twin, tuple[int, int]] = {
        twin: (g, i) for g, group in enumerate(own) for i, twin in enumerate(group.plan.twins)
    }
    curve = []
    for looks in zip(*(x["curve"] for x in told), strict=True):
        whole = {
            name: [looks[g][name][i] for g, i in (place[t] for t in plan.twins)]
            for name in ("training", "loss", "right")
        }
        seconds = round(sum(look["seconds"] for look in looks), 2)
        curve.append({"step": looks[0]["step"], "seconds": seconds} | whole)
    return {
        "trained_on": " and ".join(dict.fromkeys(x["hardware"] for x in told)),
        "seconds": round(sum(x["seconds"] for x in told), 1), "curve": curve,
    }
