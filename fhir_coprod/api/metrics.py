"""Counters for Prometheus: how many requests, how they ended, how long they took. No personal data.

They are counted in plain lists, which takes a tenth of the time of live Prometheus objects, and converted
when somebody asks for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fhir_coprod.api import job_metrics
from fhir_coprod.overview import Overview
from fhir_coprod.store.condition import STATES, Condition

_BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper bounds of the histogram's buckets of duration, in seconds."""


class Metrics(Collector):
    """The counters of one application; of this process only, if several serve one store."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._classes: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self.connections: Callable[[], int] = lambda: 0
        """How many connections are open."""
        self._condition = Condition("ok")
        self._faults: Sequence[tuple[str, str, str, int]] = ()
        self._overview: Overview | None = None

    def count(self, interaction: str, status: int, seconds: float) -> None:
        """Count one request that has been answered."""
        key = (interaction, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        classes = self._classes.get(interaction)
        if classes is None:
            classes = self._classes[interaction] = [0] * (len(_BOUNDS) + 1)
            self._seconds[interaction] = 0.0
        classes[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds[interaction] += seconds

    def collect(self) -> Iterator[Metric]:
        """The counters as Prometheus' own objects."""
        requests = CounterMetricFamily("coprod_requests", "FHIR requests", labels=["interaction", "status"])
        for (interaction, status), number in sorted(self._requests.items()):
            requests.add_metric([interaction, str(status)], number)
        yield requests
        durations = HistogramMetricFamily(
            "coprod_request_seconds", "Time until the answer was ready", labels=["interaction"]
        )
        names = [*map(str, _BOUNDS), "+Inf"]
        for interaction, classes in sorted(self._classes.items()):
            buckets = list(zip(names, map(float, accumulate(classes)), strict=True))
            durations.add_metric([interaction], buckets, self._seconds[interaction])
        yield durations
        yield GaugeMetricFamily("coprod_connections", "Open connections", self.connections())
        head = self._condition.head
        yield GaugeMetricFamily("coprod_log_position", "Newest position of the change log", head)
        states = GaugeMetricFamily(
            "coprod_store_state", "1 for the state that the store is in, 0 for the others", labels=["state"]
        )
        for state in STATES:
            states.add_metric([state], state == self._condition.state)
        yield states
        if self._condition.free_bytes is not None:
            free = self._condition.free_bytes
            yield GaugeMetricFamily("coprod_store_free_bytes", "Room on the disk of the SQLite file", free)
        marks = GaugeMetricFamily(
            "coprod_quality_marks",
            "Elements that break a rule in records that are kept",
            labels=["ehr", "type", "rule"],
        )
        for source, type, rule, number in self._faults:
            marks.add_metric([source.removeprefix("ehr:"), type, rule], number)
        yield marks
        if self._overview is not None:
            yield from job_metrics.families(self._overview)

    def text(
        self,
        condition: Condition,
        faults: Sequence[tuple[str, str, str, int]] = (),
        overview: Overview | None = None,
    ) -> bytes:
        """The counters in Prometheus text format.

        faults:     (source, type, rule, how many) of what is wrong in the records, see `Store.fault_counts`
        overview: how the sync and the watch are doing; None: it cannot be read
        """
        self._condition = condition
        self._faults = faults
        self._overview = overview
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)
