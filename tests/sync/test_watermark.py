"""The watermark of a type. If it is too late, changes are lost; if too early, everything is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import respx

from fhir_coprod.instants import sortable
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.sync.departments import QUICK, every, feed, synced
from tests.sync.records import patient
from tests.sync.server import Ehr, serving

INCREMENTAL = [
    pytest.param({"history": True}, id="history"),
    pytest.param({"last_updated": True}, id="last-updated"),
]


def watermark(store: Store, type: str = "Patient") -> str:
    return feed(store, "care", type).watermark


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("habits", INCREMENTAL)
def test_a_record_of_the_future_hides_no_later_change(
    store: Store, habits: dict[str, Any], full: bool
) -> None:
    ehr = Ehr(clock=datetime(2030, 1, 1, tzinfo=UTC), **habits).load(patient("q", "1"))
    with serving(ehr):
        synced(store, full=full, care=ehr)
        began = datetime.now(UTC)
        ehr.clock = began - timedelta(minutes=10)  # it is put ten minutes later
        ehr.put(patient("z", "2", gender="female"))
        report = synced(store, care=ehr)["care"]
    assert report.counts["Patient"].created == 1
    assert len(every(store, "Patient", gender="female")) == 1
    assert watermark(store) < "2030"


@respx.mock
def test_the_watermark_is_not_later_than_the_start_by_the_clock_of_the_server(store: Store) -> None:
    behind = (datetime.now(UTC) - timedelta(hours=3)).replace(microsecond=0)
    offer = {
        "type": "Patient",
        "interaction": [{"code": "search-type"}],
        "searchParam": [{"name": "_lastUpdated"}],
    }
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "resource": [offer]}],
    }
    of_the_future = {**patient("q", "1"), "meta": {"lastUpdated": "2030-01-01T00:00:00Z"}}
    page = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": of_the_future}]}
    respx.get("https://care.example/fhir/metadata").respond(json=statement)
    respx.get("https://care.example/fhir/Patient").respond(
        json=page, headers={"Date": format_datetime(behind, usegmt=True)}
    )
    ehr = EhrSettings(name="care", url="https://care.example/fhir", types=("Patient",))
    (report,) = run(store, Settings(ehr=(ehr,)), politeness=QUICK)
    assert report.ok
    assert watermark(store) == sortable(behind.isoformat())


@pytest.mark.parametrize("habits", INCREMENTAL)
def test_a_run_that_finds_nothing_new_leaves_the_watermark(store: Store, habits: dict[str, Any]) -> None:
    ehr = Ehr(**habits).load(patient("q", "1"))
    with serving(ehr):
        synced(store, care=ehr)
        before = watermark(store)
        ehr.resources.clear()
        ehr.log.clear()
        synced(store, care=ehr)
    assert watermark(store) == before == "2026-03-01T08:10:00.000000Z"


def test_the_next_run_reaches_back_behind_the_watermark(store: Store) -> None:
    ehr = Ehr(last_updated=True).load(patient("q", "1"))
    with serving(ehr):
        synced(store, care=ehr)
        ehr.requests.clear()
        synced(store, care=ehr)
    assert "Patient?_lastUpdated=ge2026-03-01T08%3A08%3A00.000Z&_count=200" in ehr.requests
