"""The cases of the tables of step times, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field

from decoders_bench.common.outcome import Clock
from decoders_bench.common.workload import Workload
from decoders_bench.latency.launches import STORE
from decoders_bench.latency.roofline import Ceilings
from decoders_bench.latency.split import FORWARD


@dataclass(frozen=True)
class Case(Workload):
    """One decoder and one cache on a workload."""

    decoder: str
    cache: str
    layers: int | None = None
    """The number of layers, if fewer than in the shape; None: all."""
    compiled: bool = False
    graph: bool = False
    """Whether steps are captured graphs (`decoders.engine.Graph`)."""
    poll: int = 1
    """The host checks whether rows are done once in this many steps."""
    clock: Clock = "wall"
    fused: bool = False
    """Whether graphs compile the work after the decision of a step first (`Graph(fuse=True)`)."""


@dataclass(frozen=True)
class Latency:
    """The results of one way of decoding. Times are milliseconds per step of the whole batch; p50 and p95 are over all
    steps of all repeats, and `mean` is the mean of each step's median over repeats, so that other work on the machine
    during one repeat has no effect."""

    case: Case
    way: str
    """`decoders`, or the peer."""
    parameters: int
    repeats: int
    forwards: int
    """The number of steps in each repeat."""
    nfe: float
    """Forward passes of a row, for the whole text."""
    passes: int
    """Forward passes of the batch, which continues until its last row is done."""
    tokens: int
    """Tokens of the texts of all rows, without prompts and padding."""
    p50: float
    p95: float
    mean: float
    full: float | None
    """The median of the steps that compute the whole row; None if there is no such step."""
    cached: float | None
    """The median of the other steps."""
    split: dict[str, float]
    """The mean of each region (`decoders_bench.latency.split.REGIONS`), from a pass that is slowed by its time marks
    and never captured; empty if there was none."""
    busy: float | None
    """The time per step in which the device runs a kernel; None without a profile."""
    peak_bytes: int | None
    """Peak memory on the device, weights included; None if torch does not report it."""
    flops: float
    """Operations of one forward pass, without padding."""
    moved: float
    """The least bytes that a forward pass moves."""
    ceilings: Ceilings | None = None
    graph_bytes: int | None = None
    """Memory of the captured graphs, if there are any."""
    network: float | None = None
    """For captured steps, milliseconds of the network's part, its layers with their KV cache and its head, captured
    separately: the mean over the same steps."""
    network_full: float | None = None
    """The median of the network's part over the steps that compute the whole row."""
    network_cached: float | None = None
    """The median of the network's part over the other steps."""
    launches: dict[str, float] = field(default_factory=dict)
    """Operations that a step launches from the host, by region, with writes to the cache as a region of their own
    (`STORE`); empty if they were not counted."""

    @property
    def launches_beside(self) -> float | None:
        """Launches that belong neither to the network nor to its cache; None if they were not counted."""
        own = [n for name, n in self.launches.items() if name not in (FORWARD, STORE)]
        return sum(own) if own else None

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second if all steps are like the measured ones."""
        return 1e3 * self.tokens / (self.mean * self.passes)

    @property
    def tokens_per_forward(self) -> float:
        """Tokens per forward pass of one row."""
        return self.tokens / self.case.batch / self.nfe

    @property
    def ours(self) -> float | None:
        """The share of the split step outside the model's forward pass; None if the step was not split."""
        return 1 - self.split[FORWARD] / sum(self.split.values()) if self.split else None

    @property
    def beside(self) -> float | None:
        """For captured steps, the share outside the network."""
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
        """The lower bound on the step's time in milliseconds."""
        return None if self.ceilings is None else 1e3 * self.ceilings.seconds(self.moved, self.flops)

    @property
    def achieved(self) -> float | None:
        """The lower bound as a share of the step's time."""
        return None if self.roof is None else self.roof / self.mean


@dataclass(frozen=True)
class Absent:
    """A case that could not be measured, and the reason."""

    case: Case
    way: str
    reason: str
