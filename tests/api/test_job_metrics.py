"""What `/metrics` tells of the sync and the watch, which run in other processes, and what that costs."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.responses import Response

from fhir_coprod.api.metrics import Metrics
from fhir_coprod.overview import overview
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.condition import Condition
from fhir_coprod.sync import pauses
from fhir_coprod.sync.engine import run
from fhir_coprod.watch import sweep
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.standing import Stall, Standing
from tests.sync.conftest import settings_for
from tests.sync.server import Ehr, serving
from tests.sync.test_cli import with_a_bad_task

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)


@pytest.fixture
def care() -> Iterator[Ehr]:
    ehr = with_a_bad_task()
    with serving(ehr):
        yield ehr


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'coprod.db'}") as opened:
        yield opened


@pytest.fixture
def settings(care: Ehr) -> Settings:
    return settings_for(on_invalid="refuse", care=care)


def figures(store: Store, settings: Settings) -> dict[str, float]:
    text = Metrics().text(store.condition(), store.fault_counts(), overview(store, settings, NOW)).decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_runs_feeds_letters_and_stalls_are_told_though_they_run_elsewhere(
    store: Store, settings: Settings
) -> None:
    before = time.time()
    run(store, settings)
    sweep(store, policies.load("default", settings.site), datetime.now(UTC), settings)
    told = figures(store, settings)
    assert told['coprod_dead_letters{ehr="care"}'] == 1
    assert told['coprod_sync_last_run_ok{ehr="care"}'] == 0
    assert told['coprod_sync_last_ok_timestamp_seconds{ehr="care"}'] == 0
    assert told['coprod_sync_last_run_timestamp_seconds{ehr="care"}'] >= before - 1
    assert told['coprod_feed_known_timestamp_seconds{ehr="care",type="Patient"}'] > before - 60
    assert told['coprod_feed_whole{ehr="care",type="Patient"}'] == 1
    assert told["coprod_watch_last_look_timestamp_seconds"] >= before - 1
    assert told['coprod_referrals{state="stalled"}'] + told['coprod_referrals{state="moving"}'] == 1
    assert (told["coprod_watched"], told["coprod_sync_running"], told["coprod_waiting_records"]) == (0, 0, 0)
    assert told['coprod_ehr_paused{ehr="care"}'] == 0


def test_a_pause_and_a_failure_are_told(store: Store, settings: Settings, care: Ehr) -> None:
    care.broken.clear()
    run(store, settings)
    care.odd["ServiceRequest"] = Response(status_code=404)
    run(store, settings)
    pauses.pause(store, "care", None, "", NOW)
    told = figures(store, settings)
    assert told['coprod_feed_whole{ehr="care",type="ServiceRequest"}'] == 0
    assert told['coprod_feed_known_timestamp_seconds{ehr="care",type="ServiceRequest"}'] > 0
    assert told['coprod_sync_last_ok_timestamp_seconds{ehr="care"}'] > 0
    assert told['coprod_ehr_paused{ehr="care"}'] == told['coprod_ehr_left_out{ehr="care"}'] == 1


def test_what_cannot_be_read_is_not_told_at_all() -> None:
    """Not 0 either: nobody has seen that nobody watches."""
    text = Metrics().text(Condition("damaged"), (), None).decode()
    assert 'coprod_store_state{state="ok"} 0.0' in text
    assert not re.findall(r"^coprod_(?:watch|sync|feed|referrals|dead)", text, re.MULTILINE)


def test_every_metric_is_described_and_none_that_is_not_there(store: Store, settings: Settings) -> None:
    run(store, settings)
    metrics = Metrics()
    metrics.count("read", 200, 0.01)
    text = metrics.text(store.condition(), store.fault_counts(), overview(store, settings, NOW)).decode()
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    page = (ROOT / "docs" / "operations.md").read_text()
    described = set(re.findall(r"^\| `(coprod_\w+)", page, re.MULTILINE))
    assert there | {"coprod_store_free_bytes"} == described, "SQLite alone has that"
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE):
        assert (kind == "counter") == name.endswith("_total")


def test_what_they_cost_grows_with_the_stalls_only_and_stays_small(sqlite_store: Store) -> None:
    """10,000 stalled referrals, ten times as many as a hospital has, take a fraction of a second."""
    store, settings = sqlite_store, Settings()
    took = {}
    for number in (10, 1000, 10_000):
        stall = (Stall(Rule.UNACKNOWLEDGED, NOW, NOW, "Organization/o"),)
        written = [
            rows.Row(Standing(f"ServiceRequest/{n}", "Patient/p", Stage.SENT, stalls=stall), rows.NEVER, None)
            for n in range(number)
        ]
        store.write(lambda t, some=written: rows.save(t, rows.changed(some)))
        times = []
        for _ in range(3):
            began = time.perf_counter()
            seen = overview(store, settings, NOW + timedelta(seconds=1))
            times.append(time.perf_counter() - began)
        assert seen.stalls == {Rule.UNACKNOWLEDGED: number}
        took[number] = statistics.median(times)
    assert took[10_000] < 1.0, took
