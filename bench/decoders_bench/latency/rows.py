"""What is measured, and what was: the rows of the tables of step times."""

from __future__ import annotations

from dataclasses import dataclass, field

from decoders_bench.common.outcome import Clock
from decoders_bench.common.workload import Workload
from decoders_bench.latency.launches import STORE
from decoders_bench.latency.roofline import Ceilings
from decoders_bench.latency.split import FORWARD


@dataclass(frozen=True)
class Case(Workload):
    """What is measured, under one decoder and one cache."""

    decoder: str
    cache: str
    layers: int | None = None
    """Of the shape only so many; None: all."""
    compiled: bool = False
    graph: bool = False
    """Steps are captured graphs (`decoders.engine.Graph`)."""
    poll: int = 1
    """The host looks whether rows are done every so many steps."""
    clock: Clock = "wall"
    fused: bool = False
    """What graphs do after the decision of a step is compiled first (`Graph(fuse=True)`)."""


@dataclass(frozen=True)
class Latency:
    """One way of decoding. Times are milliseconds a step of the whole batch; p50 and p95 are over all steps of all
    repeats, and `mean` is
    that of each step's median over repeats, so that what else the machine does in one repeat is left out."""

    case: Case
    way: str
    """`decoders`, or the peer."""
    parameters: int
    repeats: int
    forwards: int
    """Measured in each repeat."""
    nfe: float
    """Of a row, for the whole text,"""
    passes: int
    """and of the batch, which goes on until its last row is done."""
    tokens: int
    """Of the texts of all rows; neither prompt nor padding."""
    p50: float
    p95: float
    mean: float
    full: float | None
    """The median of steps that compute the whole row; None where there is no such step."""
    cached: float | None
    """And of those that do not."""
    split: dict[str, float]
    """The mean of each region (`decoders_bench.latency.split.REGIONS`), from a pass that is slower by its marks and
    never captured; empty where there was none."""
    busy: float | None
    """Of the step, the time in which the device runs a kernel; None where there is no profile of it."""
    peak_bytes: int | None
    """Allocated on the device at most, weights included; None where torch cannot tell."""
    flops: float
    """Of one forward, padding left out,"""
    moved: float
    """and the bytes that it moves at least."""
    ceilings: Ceilings | None = None
    graph_bytes: int | None = None
    """Memory of the captured graphs, where there are some."""
    network: float | None = None
    """Of captured steps, milliseconds of the network's part, its layers with their store and its head, captured by
    itself: the mean over the same steps,"""
    network_full: float | None = None
    """the median of those that compute the whole row,"""
    network_cached: float | None = None
    """and of those that do not."""
    launches: dict[str, float] = field(default_factory=dict)
    """Operations that a step launches from the host, by region, writing to the store being one of its own (`STORE`);
    empty where they were not counted."""

    @property
    def launches_beside(self) -> float | None:
        """Those that are neither the network's nor of its store; None where they were not counted."""
        own = [n for name, n in self.launches.items() if name not in (FORWARD, STORE)]
        return sum(own) if own else None

    @property
    def tokens_per_second(self) -> float:
        """If all steps are like those that were measured."""
        return 1e3 * self.tokens / (self.mean * self.passes)

    @property
    def tokens_per_forward(self) -> float:
        """Of one row."""
        return self.tokens / self.case.batch / self.nfe

    @property
    def ours(self) -> float | None:
        """The share of the split step that is not the model's forward; None where it was not split."""
        return 1 - self.split[FORWARD] / sum(self.split.values()) if self.split else None

    @property
    def beside(self) -> float | None:
        """Of captured steps, the share that is not the network's."""
        return None if self.network is None else 1 - self.network / self.mean

    @property
    def beside_full(self) -> float | None:
        return None if self.network_full is None or not self.full else 1 - self.network_full / self.full

    @property
    def beside_cached(self) -> float | None:
        return None if self.network_cached is None or not self.cached else 1 - self.network_cached / self.cached

    @property
    def idle(self) -> float | None:
        """The share of the step in which the device waits for the host."""
        return None if self.busy is None else max(1 - self.busy / self.mean, 0.0)

    @property
    def roof(self) -> float | None:
        """Milliseconds that the step cannot take less than."""
        return None if self.ceilings is None else 1e3 * self.ceilings.seconds(self.moved, self.flops)

    @property
    def achieved(self) -> float | None:
        """The roof as a share of the step."""
        return None if self.roof is None else self.roof / self.mean


@dataclass(frozen=True)
class Absent:
    """What could not be measured, and why."""

    case: Case
    way: str
    reason: str
