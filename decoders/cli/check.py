"""`decoders check`: a strategy or a cache policy of one's own against every law that it has to keep."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from decoders.specs import load, names, split

if TYPE_CHECKING:
    from decoders.testing.measured import Measured
    from decoders.testing.trial import Trial, Verdict

WIDTH = 84
"""Of what a law says."""
COLOURS = {"passed": "green", "broken": "red"}


@dataclass(frozen=True)
class Case:
    """What is to be checked, and against what."""

    kind: str
    spec: str
    plug: Any
    laws: Sequence[Callable[[Any], None]]
    known: int
    """How many laws there are for its kind."""
    method: str
    """The method that such a plug is written for."""
    measure: Callable[[Any], Measured] | None = None
    """What is measured of it, where nothing is demanded."""


@click.command()
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("-c", "--cache", "caches", multiple=True, metavar="SPEC", help="A cache policy; may be repeated.")
@click.option("--fast", is_flag=True, help="Test only the quickest laws.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each SPEC, one a line.")
def check(specs: tuple[str, ...], caches: tuple[str, ...], fast: bool, as_json: bool) -> None:
    """Test a strategy, or a cache policy, against every law that it has to keep.

    SPEC is a name, or my_file:MyClass, with nothing installed. Every law is one line, passed or broken. A broken law is
    explained once, with the line of your code; if another law may be its cause, the line names that one. The exit code
    is 1 if a law is broken.

    For a cache policy, the difference from decoding without a cache is also measured: an approximation may differ.
    """
    if not specs and not caches:
        raise click.UsageError("nothing to check: give the SPEC of a strategy, or --cache SPEC")
    cases = list(chosen(specs, caches, fast))
    broken = [not passed(case, as_json) for case in cases]
    raise SystemExit(int(any(broken)))


def chosen(specs: Sequence[str], caches: Sequence[str], fast: bool) -> Iterator[Case]:
    """What was asked for. Raises `UsageError` for a spec that makes nothing."""
    from decoders.registry import get, get_cache
    from decoders.testing.cache_laws import CACHE_FAST, CACHE_LAWS
    from decoders.testing.laws import FAST, LAWS
    from decoders.testing.measured import measured

    for spec in specs:
        if is_cache(spec):
            caches = (*caches, spec)
        else:
            yield Case("strategy", spec, get(spec), FAST if fast else LAWS, len(LAWS), "step")
    for spec in caches:
        laws = CACHE_FAST if fast else CACHE_LAWS
        yield Case("cache", spec, get_cache(spec), laws, len(CACHE_LAWS), "stale", None if fast else measured)


def is_cache(spec: str) -> bool:
    """Whether a spec that does not say so is that of a cache policy."""
    from decoders.core import Cache

    name = split("strategies", spec)[0]
    if ":" not in name:
        return name in names("caches") - names("strategies")
    cls = load("strategies", name)
    return isinstance(cls, type) and issubclass(cls, Cache)


def passed(case: Case, as_json: bool) -> bool:
    """Whether it keeps its laws, which is told."""
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
    """A law in a line."""
    word = "passed" if v.passed else "broken"
    why = v.about if v.because is None else f"{'the same as' if v.same else 'perhaps because of'} {v.because}"
    click.echo(f"{click.style(word, fg=COLOURS[word])}  {v.law:<18}{shorten(why, WIDTH, placeholder=' ...')}")


def conclude(case: Case, trial: Trial, numbers: Measured | None) -> None:
    """What broke, and the line at the end."""
    for finding in trial.findings:
        click.echo(f"\n{finding}")
    if trial.broken:
        click.echo(f"\n{case.spec} {trial.breaks}.")
        return
    if numbers:
        click.echo(str(numbers))
    tried = len(trial.verdicts)
    laws = f"all {tried}" if tried == case.known else f"the {tried} quickest of {case.known}"
    click.echo(f"{case.spec} keeps {laws} laws ({trial.seconds:.1f} s).")


def described(case: Case, trial: Trial, numbers: Measured | None) -> dict[str, Any]:
    """What JSON says of it."""
    laws = [
        {
            "law": v.law, "passed": v.passed, "about": v.about, "message": v.message, "because": v.because,
            "file": v.place and v.place.file, "line": v.place and v.place.line,
            "function": v.place and v.place.function,
        }
        for v in trial.verdicts
    ]
    return {
        "spec": case.spec, "kind": case.kind, "passed": not trial.broken, "seconds": round(trial.seconds, 3),
        "laws": laws, "measured": numbers and asdict(numbers),
    }
