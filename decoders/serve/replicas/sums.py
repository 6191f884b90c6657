"""The metrics of all replicas, in one text for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


class Families(Collector):
    def __init__(self, found: Iterable[Metric]) -> None:
        self.found = list(found)

    def collect(self) -> Iterable[Metric]:
        return self.found


def labelled(texts: Mapping[str, str]) -> bytes:
    """The metrics of replicas, by their ids, which become the label `replica`. They are not summed: a sum of counters
    would fall when a replica dies."""
    found: dict[str, Metric] = {}
    for replica, text in texts.items():
        for family in text_string_to_metric_families(text):
            into = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for s in family.samples:
                into.add_sample(s.name, {**s.labels, "replica": replica}, s.value)
    registry = CollectorRegistry()
    registry.register(Families(x for x in found.values() if x.samples))
    return generate_latest(registry)
