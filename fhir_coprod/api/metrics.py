"""Counters for Prometheus: how many requests, how they ended, how long they took. No personal data."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The figures of one application; of this process only, where several serve one store."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "coprod_requests", "FHIR requests", ["interaction", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "coprod_request_seconds",
            "Time until the answer was ready",
            ["interaction"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=self._registry,
        )
        self._head = Gauge(
            "coprod_log_position", "Newest position of the change log", registry=self._registry
        )
        self._children: dict[tuple[str, int], Counter] = {}
        self._clocks: dict[str, Histogram] = {}

    def count(self, interaction: str, status: int, seconds: float) -> None:
        """One request has been answered."""
        key = (interaction, status)
        counter = self._children.get(key)
        if counter is None:
            counter = self._children[key] = self._requests.labels(interaction, str(status))
        clock = self._clocks.get(interaction)
        if clock is None:
            clock = self._clocks[interaction] = self._seconds.labels(interaction)
        counter.inc()
        clock.observe(seconds)

    def text(self, head: int) -> bytes:
        """Prometheus text format."""
        self._head.set(head)
        return generate_latest(self._registry)
