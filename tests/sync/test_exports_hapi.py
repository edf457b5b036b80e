"""Bulk exports of HAPI FHIR's JPA server, a server that nobody here wrote.

What it does in its own way: it asks to come back in two minutes however small the export is, answers 404 to
the DELETE of an export that is complete, names no deletions, and has its files as Binary.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fhir_coprod.settings import EhrSettings, Settings, StoreSettings, SyncSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.report import EhrReport
from tests.sync.exporting import alive, left_behind
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Json

pytestmark = pytest.mark.proof  # a HAPI of its own starts in twenty seconds

TYPES = ("Organization", "Patient", "ServiceRequest", "Task")
PATIENTS = 5


async def nap(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.5))


def put(url: str, resource: Json) -> None:
    address = f"{url}/{resource['resourceType']}/{resource['id']}"
    headers = {"Content-Type": "application/fhir+json"}
    httpx.put(address, json=resource, headers=headers, timeout=60).raise_for_status()


def fill(url: str) -> None:
    put(url, organization("care", "GP"))
    for n in range(PATIENTS):
        put(url, patient(f"p{n}", f"{n}"))
        put(url, referral(f"s{n}", f"Patient/p{n}", f"R{n}"))
        put(url, task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}"))


def group(url: str, *patients: str) -> None:
    member = [{"entity": {"reference": f"Patient/{id}"}} for id in patients]
    put(url, {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": member})


def settings(path: str, url: str, **more: Any) -> Settings:
    own = {"types": TYPES, "bulk": "always", "bulk_every_hours": 0, "requests_per_second": 1000, **more}
    return Settings(
        store=StoreSettings(url=path),
        sync=SyncSettings(bulk_wait_minutes=600),
        ehr=(EhrSettings(name="care", url=url, **own),),
    )


def synced(store: Store, path: str, url: str, *, full: bool = False, **more: Any) -> EhrReport:
    [report] = run(store, settings(path, url, **more), full=full, politeness=Politeness(sleep=nap))
    assert report.ok, report.to_json()
    return report


def test_everything_is_exported_then_changes(store: Store, store_path: str, exporting_hapi_url: str) -> None:
    url = exporting_hapi_url
    fill(url)
    plan = check(settings(store_path, url).ehr[0])
    assert plan.exports is not None
    assert plan.exports.scope == ""
    first = synced(store, store_path, url)
    assert {t: c.created for t, c in first.counts.items()} == {
        "Organization": 1,
        "Patient": PATIENTS,
        "ServiceRequest": PATIENTS,
        "Task": PATIENTS,
    }
    assert not left_behind(store, store_path)
    put(url, task("t1", "Patient/p1", "ServiceRequest/s1", "accepted"))
    httpx.delete(f"{url}/Task/t2", timeout=60).raise_for_status()
    assert synced(store, store_path, url, overlap_seconds=0).counts["Task"].updated == 1
    assert "t2" in alive(store, "Task"), "it names no deletions"
    assert synced(store, store_path, url, full=True).counts["Task"].deleted == 1


def test_who_joins_a_group_is_exported_whole(store: Store, store_path: str, exporting_hapi_url: str) -> None:
    url = exporting_hapi_url
    fill(url)
    group(url, "p0", "p1")
    of_group = {"group": "g", "types": ("Patient", "ServiceRequest")}
    synced(store, store_path, url, **of_group)
    assert alive(store, "ServiceRequest") == {"s0", "s1"}
    group(url, "p0", "p2")
    report = synced(store, store_path, url, overlap_seconds=0, **of_group)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert report.unread["ServiceRequest"] == {"Patient/p1": "is not in Group/g any more"}
