"""Total variation between a decoder's samples and the true distribution, and its forward passes.

The truth is an `Oracle`: a joint distribution over all texts of a few tokens, known by enumeration, whose predictions
are the exact conditionals. So the error is the decoder's alone and not a model's. With finitely many samples, even
perfect ones have an error: the floor is the total variation of as many perfect samples, and a decoder is called exact
if it cannot be distinguished from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from decoders import Decoder, UsageError, get
from decoders.core import Exact, check, inner_decoders
from decoders.registry import entries, spec_of
from decoders.testing.oracle import Oracle, distance, floor
from decoders_bench.common.workers import spread

DEVIATIONS = 4.0
"""A decoder that is further above the floor than this number of its standard deviations is not exact. Perfect samples
are that far off in less than 1 case of 10,000."""
LARGEST = 1 << 26  # entries of an oracle's table

SWEEPS = (
    *(f"ancestral:steps={n}" for n in (1, 2, 4, 16, 64, 4096)),
    *(f"llada:steps={n},remasking={order},temperature=1.0" for order in ("random", "low_confidence") for n in (1, 2)),
    "llada:remasking=random,temperature=1.0",
    *(f"threshold:tau={tau},temperature=1.0" for tau in (0.3, 0.5, 0.7)),
    "left_to_right", "coupled", "s2d2",
)
"""Measured in addition to every registered strategy with sampling: settings with more and fewer forward passes, and
three that commit the most likely token."""


@dataclass(frozen=True)
class Truth:
    """An oracle, and its name."""

    letters: int = 3
    length: int = 4
    sharp: float = 4.0
    seed: int = 0

    def oracle(self) -> Oracle:
        return Oracle(self.letters, self.length, self.seed, self.sharp)

    def __str__(self) -> str:
        return f"{self.letters} letters, {self.length} positions, sharpness {self.sharp:g}, seed {self.seed}"


TRUTHS = (Truth(), Truth(letters=2, length=6), Truth(sharp=8.0))


@dataclass(frozen=True)
class Trial:
    """One decoder on one oracle."""

    decoder: str
    truth: Truth
    samples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """The results of a trial."""

    trial: Trial
    declared: bool
    """Whether the strategy declares that it is exact in the limit of one token per forward pass."""
    nfe: float
    """Forward passes per sample."""
    distance: float
    """Total variation between the samples and the true distribution."""
    floor: float
    """The mean total variation of as many perfect samples."""
    deviation: float
    """The standard deviation of the total variation of perfect samples."""

    @property
    def excess(self) -> float:
        """The distance above the floor, in its standard deviations."""
        return (self.distance - self.floor) / self.deviation

    @property
    def exact(self) -> bool:
        """Whether the samples cannot be distinguished from perfect ones."""
        return self.excess < DEVIATIONS


@dataclass(frozen=True)
class Skipped:
    """A decoder that cannot run on an oracle, and the reason."""

    decoder: str
    reason: str


def truth(text: str) -> Truth:
    """The oracle for a text such as `letters=3,length=4,sharp=4,seed=0`, in which each entry is optional. Raises
    `UsageError` for any other text, and if the enumeration would be too large."""
    kinds = {f.name: float if f.name == "sharp" else int for f in fields(Truth)}
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            given[name] = kinds[name](value)
        except (KeyError, ValueError):
            raise UsageError(f"cannot read {part!r} of an oracle; write letters=3,length=4,sharp=4,seed=0") from None
    made = Truth(**given)
    if made.letters < 2 or made.length < 1:
        raise UsageError("an oracle needs 2 letters and 1 position at least")
    if (made.letters + 1) ** made.length * made.letters**made.length * made.length > LARGEST:
        raise UsageError(f"texts of {made.length} positions of {made.letters} letters are too many to enumerate")
    return made


def sampling(decoder: Decoder) -> Decoder:
    """The decoder with temperature 1, also for the decoders among its options; one without a temperature is
    unchanged."""
    inner = {name: sampling(d) for name, d in inner_decoders(decoder).items()}
    own = {"temperature": 1.0} if any(f.name == "temperature" for f in fields(decoder)) else {}
    return replace(decoder, **own, **inner)


def registered() -> tuple[list[str], list[Skipped]]:
    """Every installed strategy with sampling, and those that cannot be loaded."""
    found, broken = [], []
    for e in entries("strategies"):
        try:
            if e.problem:
                raise UsageError(e.problem)
            found.append(spec_of(sampling(get(e.name))))
        except UsageError as error:
            broken.append(Skipped(e.name, str(error)))
    return found, broken


def hosted(specs: Iterable[str]) -> tuple[list[str], list[Skipped]]:
    """The decoders that can run on an oracle, which has no latents, and the others."""
    able, unable = [], []
    for spec in specs:
        try:
            check(Truth().oracle(), get(spec), Exact())
            able.append(spec)
        except UsageError as error:
            unable.append(Skipped(spec, str(error)))
    return able, unable


@cache
def noise(truth: Truth, samples: int) -> tuple[float, float]:
    return floor(truth.oracle(), samples)


def measure(trial: Trial) -> Found:
    decoder = get(trial.decoder)
    off, nfe = distance(decoder, trial.truth.oracle(), trial.samples, trial.seed)
    return Found(trial, decoder.unbiased, nfe, off, *noise(trial.truth, trial.samples))


def measure_all(
    trials: Sequence[Trial], workers: int, notify: Callable[[object], None] = lambda _: None
) -> list[Found]:
    """The results in the order of the trials; with one worker, they are computed in this process."""
    if workers > 1:
        return spread(measure, trials, workers, notify)
    out = []
    for t in trials:
        out.append(measure(t))
        notify(t)
    return out
