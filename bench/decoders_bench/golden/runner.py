"""The replay of all cases of a directory; an exception in a case becomes its result and does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from decoders_bench.golden.cases import MismatchError, SkipError, WrongReferenceError, find, read
from decoders_bench.golden.models import Models
from decoders_bench.golden.references import REFERENCES

STATUSES = ("passed", "failed", "skipped", "reference_bug")


@dataclass(frozen=True)
class Result:
    """The result of one case."""

    reference: str
    case: str
    status: str
    """`passed`, `failed`, `skipped`, or `reference_bug`: replayed, and neither passed nor failed."""
    reason: str = ""
    """The reason for a failure or a skip; otherwise a note on the case, or an empty text."""
    step: int | None = None
    """The first forward pass that differs."""


def replay(folder: Path, reference: str | None = None) -> Iterator[Result]:
    """Replays the cases of every reference in `folder`, or of one. Raises `UsageError` on the first iteration if the
    folder does not have the expected layout."""
    models = Models(folder / "models")
    for name, paths in find(folder, reference).items():
        for path in paths:
            yield replay_case(name, path, models)


@torch.inference_mode()
def replay_case(reference: str, path: Path, models: Models) -> Result:
    name = path.stem
    adapter = REFERENCES.get(reference)
    if adapter is None:
        return Result(reference, name, "skipped", "strategy does not exist yet")
    flagged = False
    try:
        case = read(path)
        flagged = case.flagged
        note, step = adapter(case, models), None
    except SkipError as e:
        return Result(reference, name, "skipped", str(e))
    except WrongReferenceError as e:
        return Result(reference, name, "reference_bug", str(e))
    except Exception as e:  # any error in a case is that case's own failure
        reason = e.reason if isinstance(e, MismatchError) else f"{type(e).__name__}: {e}"
        note, step = " ".join(reason.split()), e.step if isinstance(e, MismatchError) else None
        if not flagged:
            return Result(reference, name, "failed", note, step)
        note = f"ours differs{'' if step is None else f' from forward {step} on'}: {note}"
    return Result(reference, name, "reference_bug" if flagged else "passed", note, step)


def summary(results: Iterable[Result]) -> dict[str, Any]:
    """The counts, in total and per reference, with the failures, skips and notes of each: the output of `--json`."""
    out: dict[str, Any] = {**dict.fromkeys(STATUSES, 0), "references": {}}
    for r in results:
        own = out["references"].setdefault(
            r.reference, {**dict.fromkeys(STATUSES, 0), "failures": [], "skips": [], "notes": []}
        )
        own[r.status] += 1
        out[r.status] += 1
        if r.status == "failed":
            own["failures"].append({"case": r.case, "step": r.step, "reason": r.reason})
        elif r.reason:
            own["skips" if r.status == "skipped" else "notes"].append({"case": r.case, "reason": r.reason})
    return out


def table(total: dict[str, Any]) -> list[str]:
    """The summary for people: counts per reference, then failures, notes, and the number of skipped cases for each
    reason."""
    width = max(map(len, (*total["references"], "reference")))

    def line(name: str, cells: Sequence[object]) -> str:
        return f"{name:<{width}}" + "".join(f"  {x!s:>13}" for x in cells)

    out = [line("reference", ("passed", "failed", "skipped", "reference bug"))]
    out += [line(name, [own[s] for s in STATUSES]) for name, own in total["references"].items()]
    out.append(line("all", [total[s] for s in STATUSES]))
    for name, own in total["references"].items():
        for failure in own["failures"]:
            at = "" if failure["step"] is None else f" at forward {failure['step']}"
            out.append(f"FAILED {name}/{failure['case']}{at}: {failure['reason']}")
        out += [f"note {name}/{note['case']}: {note['reason']}" for note in own["notes"]]
        reasons = [skip["reason"] for skip in own["skips"]]
        out += [f"skipped {name}, {reasons.count(reason)} cases: {reason}" for reason in dict.fromkeys(reasons)]
    return out
