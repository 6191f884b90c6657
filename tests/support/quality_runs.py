"""Quality runs as `bench quality` writes them, made up: decoders whose accuracy rises with their forwards, some of them
poor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random

from decoders_bench.quality.rows import Row

NASTY = "</script><script>boom()</script><img src=x onerror=boom()> & \"quoted\" \u2028 <!-- `ticks`"
SWEEPS = {
    # curve: (swept, {value: (accuracy, forwards)})
    "threshold": ("tau", {0.5: (0.8, 4), 0.7: (0.9, 6), 0.9: (0.97, 9)}),
    "factor": ("f", {2.0: (0.72, 5), 1.0: (0.9, 8)}),
    "llada": ("steps", {4: (0.3, 4), 8: (0.55, 8), 16: (0.8, 16)}),
    "ancestral:temperature=0.0": ("steps", {8: (0.2, 8), 16: (0.4, 16)}),
    "left_to_right": (None, {None: (0.98, 24)}),
}
MASK, PIECES = 0, ["<mask>", " three", " plus", " four", " is", " seven", ".", "\n", "</script>", " six"]
ENVIRONMENT = {
    "hardware": "a processor of tests", "python": "3.12.0", "torch": "2.13.0", "transformers": "5.23.0",
    "decoders": "0.1.0", "commit": "0123456789abcdef", "started": "2026-11-24T09:00:00+00:00", "threads": 1,
}  # fmt: skip


def spec(curve: str, swept: str | None, value: float | None) -> str:
    return curve if swept is None else f"{curve}{',' if ':' in curve else ':'}{swept}={value}"


def rows(items: int = 40, tasks: tuple[str, ...] = ("chain/easy", "sudoku/hard"), templates: int = 2,
         seeds: int = 1, cache: str = "exact",
         sweeps: dict = SWEEPS) -> list[Row]:  # fmt: skip
    out = []
    for curve, (swept, points) in sweeps.items():
        for value, (accuracy, forwards) in points.items():
            decoder = spec(curve, swept, value)
            for place in tasks:
                for template in range(templates):
                    for seed in range(seeds):
                        cell = f"{decoder}|{cache}|{place}|{template}|{seed}"
                        for item in range(items):
                            out.append(row(
                                cell, decoder, curve, swept, value, cache, place, template, seed, item, accuracy,
                                forwards,
                            ))
    return out


def row(cell, decoder, curve, swept, value, cache, place, template, seed, item, accuracy, forwards) -> Row:
    task, rung = place.split("/")
    hard = Random(f"{place} {seed} {item}").random()  # the same for all decoders, so that their outcomes go together
    own = Random(f"{cell} {item}")
    right = 0.7 * hard + 0.3 * own.random() < accuracy - (0.1 * template if curve.startswith("llada") else 0)
    text = f"Question {item} of {place}, wording {template}" + (f": {NASTY}" if item == 0 else "")
    nfe = forwards + own.randrange(-1, 2)
    return Row(
        cell=cell, item=item, model="nano", decoder=decoder, curve=curve, swept=swept, value=value, cache=cache,
        task=task, rung=rung, template=template, seed=seed, block=None, right=right,
        answer=NASTY if item == 0 else "7" if right else None,
        output="three plus four is seven." if right else "three plus four is six.", prompt=text, expected="7", nfe=nfe,
        tokens=24, positions=40 * nfe, seconds=0.004 * nfe + 0.001 * own.random(),
    )


def trace(r: Row) -> dict:
    """Twelve places after a prompt of five: commits, a provisional token, an edit and a reopening."""
    frames = [
        [[5, 1, "commit", 0.99], [8, 4, "commit", 0.912]],
        [[6, 2, "commit", 0.87], [9, 9, "provisional", None]],
        [[9, 9, "commit", 0.61], [7, 3, "commit", 0.93], [10, 8, "commit", 0.4]],
        [[9, 5, "edit", 0.88], [10, 0, "reopen", None]],
        [[10, 6, "commit", 0.97], *([i, 7, "commit", 1.0] for i in range(11, 17))],
    ]
    return {
        "cell": r.cell, "item": r.item, "start": 5, "mask": MASK, "vocab": {str(i): t for i, t in enumerate(PIECES)},
        "initial": [MASK] * 12,
        "frames": [{"step": i + 1, "changes": changes} for i, changes in enumerate(frames)],
    }


def detailed(r: Row) -> dict:
    """The same trace with what the model predicted: of a commit or an edit the token that came to stand and two others,
    and of what is wrong in the end a wrong token in the last forward."""
    made = trace(r)
    if not r.right:
        made["frames"][4]["changes"][0][1] = 9
    ways = {"commit": "threshold passed" if r.curve == "threshold" else None}
    for frame in made["frames"]:
        frame["phase"] = "draft" if r.curve == "factor" else None
        frame["details"] = [
            None if sure is None else
            {
                "way": ways.get(kind), "entropy": 0.25, "rank": 2, "asked": 5,
                "likeliest": [[token, sure], [8, 0.004], [1, 0.001]],
            }
            for _, token, kind, sure in frame["changes"]
        ]
    return made


def write_run(path: Path, own: list[Row], traces: int = 1, traced=trace, **environment) -> Path:
    path.mkdir(parents=True)
    grid = {
        "model": "nano", "decoders": list(dict.fromkeys(r.curve for r in own)),
        "caches": list(dict.fromkeys(r.cache for r in own)),
        "tasks": list(dict.fromkeys(f"{r.task}/{r.rung}" for r in own)), "templates": sorted({r.template for r in own}),
        "seeds": sorted({r.seed for r in own}), "items": max(r.item for r in own) + 1, "split": "test",
        "sweeps": {"tau": ["0.5", "0.7", "0.9"], "f": ["2.0", "1.0"], "steps": ["4", "8", "16"]},
    }
    command = f"decoders bench quality -m nano -o {path.name}"
    info = {"format": 1, "command": command, "environment": ENVIRONMENT | environment, "grid": grid}
    (path / "run.json").write_text(json.dumps(info))
    (path / "rows.jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in own))
    (path / "traces.jsonl").write_text("".join(json.dumps(traced(r)) + "\n" for r in own if r.item < traces))
    return path
