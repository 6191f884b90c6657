"""The metrics of the server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from decoders.engine import Engine, Service
from decoders.text.records import Generation

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKENS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 32, 64)


class Metrics:
    """The metrics of one server. `decoder` labels are names without options, so that there are few."""

    def __init__(self, service: Service) -> None:
        self.registry = r = CollectorRegistry()
        self.requests = requests(r)
        self.texts = Counter("decoders_texts_total", "Texts that came to an end.", ["decoder", "reason"], registry=r)
        self.tokens = Counter("decoders_tokens_total", "Generated tokens.", ["decoder"], registry=r)
        self.row_forwards = Counter(
            "decoders_row_forwards_total", "Forwards that texts took part in, each text's counted.", ["decoder"],
            registry=r,
        )
        self.per_forward = Histogram(
            "decoders_tokens_per_forward", "Generated tokens a forward, of each text.", ["decoder"], buckets=TOKENS,
            registry=r,
        )
        self.positions = Counter(
            "decoders_positions_total", "Positions, by whether the model ran them or their keys and values were read.",
            ["how"], registry=r,
        )
        self.answers = Counter("decoders_answers_total", "Answers to questions of decisions.", ["type"], registry=r)
        self.waited = seconds("decoders_queue_seconds", "From a text's request to its first forward.", r)
        self.first = seconds("decoders_first_settled_seconds", "From a text's request to its first final token.", r)
        self.whole = seconds("decoders_text_seconds", "From a text's request to its end.", r)
        self.watch(service, service.engine)

    def watch(self, service: Service, engine: Engine) -> None:
        """Gauges whose values are read at each scrape."""
        gauges = {
            ("decoders_queue", "Texts that wait for a slot."): lambda: service.waiting,
            ("decoders_slots", "Texts that can be decoded at a time."): lambda: engine.slots,
            ("decoders_slots_running", "Texts that are being decoded."): lambda: engine.running,
            ("decoders_forwards", "Forwards of the model since the start."): lambda: engine.forwards,
            ("decoders_slot_occupancy", "The share of offered slots that were taken, over all forwards."): (
                lambda: engine.occupied / max(engine.offered, 1)
            ),
        }
        for (name, what), value in gauges.items():
            Gauge(name, what, registry=self.registry).set_function(value)

    def ended(self, made: Generation, first: float | None, whole: float) -> None:
        """A text has ended, `whole` seconds after its request; `first` is the time of its first final token."""
        name = made.decoder.partition(":")[0]
        self.texts.labels(name, made.finish_reason).inc()
        self.tokens.labels(name).inc(made.generated_tokens)
        self.row_forwards.labels(name).inc(made.nfe)
        if made.nfe:
            self.per_forward.labels(name).observe(made.tokens_per_forward)
        self.positions.labels("computed").inc(made.positions_computed)
        hit = made.cache_hit_rate
        self.positions.labels("reused").inc(round(made.positions_computed * hit / (1 - hit)) if hit < 1 else 0)
        self.waited.observe(made.waiting_seconds)
        if first is not None:
            self.first.observe(first)
        self.whole.observe(whole)

    def text(self) -> bytes:
        return generate_latest(self.registry)


def requests(registry: CollectorRegistry) -> Counter:
    return Counter(
        "decoders_requests_total", "HTTP requests by route and status; 499: the client went away.", ["route", "status"],
        registry=registry,
    )


def seconds(name: str, what: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, what, buckets=SECONDS, registry=registry)
