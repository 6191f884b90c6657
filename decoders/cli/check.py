"""`decoders check`: a strategy, a cache policy, a task or a family of one's own against every law that it has to
keep."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from decoders.cli.cases import Case, chosen

if TYPE_CHECKING:
    from decoders.testing.measured import Measured
    from decoders.testing.trial import Trial, Verdict

WIDTH = 84
"""Characters of a law's description."""
COLOURS = {"passed": "green", "broken": "red", "not asked": "yellow"}


@click.command()
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("-c", "--cache", "caches", multiple=True, metavar="SPEC", help="A cache policy; may be repeated.")
@click.option("-t", "--task", "tasks", multiple=True, metavar="SPEC", help="A task; may be repeated.")
@click.option("--family", "families", multiple=True, metavar="SPEC", help="A family of checkpoints; may be repeated.")
@click.option("--fast", is_flag=True, help="Test only the quickest laws.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each SPEC, one a line.")
def check(
    specs: tuple[str, ...], caches: tuple[str, ...], tasks: tuple[str, ...], families: tuple[str, ...], fast: bool,
    as_json: bool,
) -> None:
    """Test a strategy, a cache policy, a task or a family against every law that it has to keep.

    SPEC is a name, or my_file:MyClass, with nothing installed. Every law is one line: passed, broken, or not asked with
    the reason. A broken law is explained once, with the line of your code; if another law may be its cause, the line
    names that one. The exit code is 1 if a law is broken.

    For a cache policy, the difference from decoding without a cache is also measured: an approximation may differ. A
    family of checkpoints is tested on a tiny random checkpoint, made from its `sample`.
    """
    told = [("caches", caches), ("tasks", tasks), ("families", families)]
    if not specs and not any(given for _, given in told):
        raise click.UsageError("nothing to check: give the SPEC of a strategy, or --cache SPEC")
    cases = list(chosen(specs, told, fast))
    broken = [not passed(case, as_json) for case in cases]
    raise SystemExit(int(any(broken)))


def passed(case: Case, as_json: bool) -> bool:
    """Check a plug and print the results; whether it keeps its laws."""
    from decoders.testing.trial import Trial, verdicts

    started, found = time.perf_counter(), []
    for v in verdicts(case.laws, case.plug, case.method):
        found.append(v)
        if not as_json:
            say(v)
    trial = Trial(case.plug, tuple(found), time.perf_counter() - started)
    numbers = case.measure(case.plug) if case.measure and not trial.broken else None
    if as_json:
        click.echo(json.dumps(described(case, trial, numbers)))
    else:
        conclude(case, trial, numbers)
    return not trial.broken


def say(v: Verdict) -> None:
    """Print a law in a line."""
    word = "passed" if v.passed else "broken" if v.broken else "not asked"
    why = v.unasked or v.about
    if v.because:
        why = f"{'the same as' if v.same else 'perhaps because of'} {v.because}"
    law = v.law.ljust(24 - len(word))
    click.echo(f"{click.style(word, fg=COLOURS[word])}  {law}{shorten(why, WIDTH, placeholder=' ...')}")


def conclude(case: Case, trial: Trial, numbers: Measured | None) -> None:
    """Print the broken laws, and the last line."""
    for finding in trial.findings:
        click.echo(f"\n{finding}")
    if trial.broken:
        click.echo(f"\n{case.spec} {trial.breaks}.")
        return
    if numbers:
        click.echo(str(numbers))
    click.echo(f"{case.spec} keeps {kept(case, trial)} ({trial.seconds:.1f} s).")


def kept(case: Case, trial: Trial) -> str:
    """The laws that a plug without a breach keeps, in words."""
    tried, unasked = len(trial.verdicts), sum(bool(v.unasked) for v in trial.verdicts)
    if unasked:
        return f"{tried - unasked} of {tried} laws, and {unasked} asked nothing of it"
    return f"all {tried} laws" if tried == case.known else f"the {tried} quickest of {case.known} laws"


def described(case: Case, trial: Trial, numbers: Measured | None) -> dict[str, Any]:
    """The result for JSON."""
    laws = [
        {
            "law": v.law, "passed": None if v.unasked else v.passed, "about": v.about, "message": v.message,
            "unasked": v.unasked, "because": v.because,
            "file": v.place and v.place.file, "line": v.place and v.place.line,
            "function": v.place and v.place.function,
        }
        for v in trial.verdicts
    ]
    return {
        "spec": case.spec, "kind": case.kind, "passed": not trial.broken, "seconds": round(trial.seconds, 3),
        "laws": laws, "measured": numbers and asdict(numbers),
    }
