"""What Prometheus is told about the sync and the watch, which run in other processes: all from the store.

Times are timestamps, as Prometheus recommends: `time() - x` is the age, also if nobody runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fhir_coprod.overview import Overview


def families(seen: Overview) -> Iterator[Metric]:
    """The metrics of one overview."""
    yield from _feeds(seen)
    yield from _runs(seen)
    yield _gauge(
        "coprod_ehr_paused",
        "1 if a person has paused the EHR",
        ((e.name, e.pause is not None) for e in seen.ehrs),
    )
    yield _gauge(
        "coprod_ehr_left_out",
        "1 if the EHR is not to be read now: paused, or outside its hours",
        ((e.name, bool(e.left_out)) for e in seen.ehrs),
    )
    letters = [(e.name, e.dead_letters) for e in seen.ehrs]
    yield _gauge("coprod_dead_letters", "Open dead letters", [*letters, ("", seen.unread_files)])
    yield GaugeMetricFamily("coprod_sync_running", "1 if some process syncs", int(seen.is_syncing))
    yield GaugeMetricFamily(
        "coprod_waiting_records", "Records taken and not yet linked or written, up to 10,000", seen.waiting
    )
    is_watched = int(seen.is_watched)
    yield GaugeMetricFamily("coprod_watched", "1 if some process watches the referrals", is_watched)
    yield GaugeMetricFamily(
        "coprod_watch_last_look_timestamp_seconds", "When somebody last watched; 0: never", _at(seen.looked)
    )
    states = (("stalled", seen.stalled), ("moving", seen.moving), ("not-assessed", seen.not_assessed))
    yield _gauge("coprod_referrals", "Open referrals", states, "state")
    yield _gauge("coprod_stalls", "What is missing in open referrals", sorted(seen.stalls.items()), "rule")


def _feeds(seen: Overview) -> Iterator[Metric]:
    known = GaugeMetricFamily(
        "coprod_feed_known_timestamp_seconds",
        "Up to when the type was last read whole; 0: never",
        labels=["ehr", "type"],
    )
    whole = GaugeMetricFamily(
        "coprod_feed_whole", "1 if the last pull of the type saw everything", labels=["ehr", "type"]
    )
    for ehr in seen.ehrs:
        for feed in ehr.feeds:
            known.add_metric([ehr.name, feed.type], _at(feed.last_success))
            whole.add_metric([ehr.name, feed.type], feed.state == "observable")
    yield known
    yield whole


def _runs(seen: Overview) -> Iterator[Metric]:
    ended = [(e.name, run) for e in seen.ehrs for run in [next((r for r in e.runs if r.ended), None)] if run]
    yield _gauge(
        "coprod_sync_last_run_timestamp_seconds",
        "When the last run ended",
        ((name, _at(run.ended)) for name, run in ended),
    )
    yield _gauge(
        "coprod_sync_last_run_ok",
        "1 if the last run read everything and no dead letter is open",
        ((name, run.result == "ok") for name, run in ended),
    )
    yield _gauge(
        "coprod_sync_last_run_duration_seconds",
        "How long the last run took",
        ((name, run.took.total_seconds()) for name, run in ended if run.took is not None),
    )
    yield _gauge(
        "coprod_sync_last_ok_timestamp_seconds",
        "When a run that read everything last ended; 0: never",
        ((e.name, _at(e.good)) for e in seen.ehrs),
    )


def _gauge(name: str, words: str, values: Iterable[tuple[str, float]], label: str = "ehr") -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for value, number in values:
        family.add_metric([value], number)
    return family


def _at(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0
