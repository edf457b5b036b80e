"""What a vendor file changes when we read an EHR: headers, and codes with a special meaning."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.accounts import BearerAuth
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.ehr.vendor import Vendor
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import feeds
from tests.sync.records import patient, referral, task

BASE = "https://ward.example/fhir"
QUICK = Politeness(attempts=1)
HEADERS = '[headers]\nEpic-Client-ID = "4711"\nAccept = "application/json+fhir"\n'
Json = dict[str, Any]


def ward(vendor: Path, **more: Any) -> EhrSettings:
    types = ("Patient", "Task")
    return EhrSettings(
        name="ward", url=BASE, vendor=str(vendor), types=types, requests_per_second=1000, **more
    )


def synced(store: Store, vendor: Path) -> EhrReport:
    (report,) = run(store, Settings(ehr=(ward(vendor),)), politeness=QUICK)
    return report


def offer(*parameters: str) -> None:
    """The server has Patient and Task, to be searched by these parameters."""
    content = {"interaction": [{"code": "read"}, {"code": "search-type"}]}
    content["searchParam"] = [{"name": name} for name in parameters]
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "resource": [{"type": type, **content} for type in ("Patient", "Task")]}],
    }
    respx.get(f"{BASE}/metadata").respond(json=statement)


def stamped(record: Json) -> Json:
    return {**record, "meta": {"versionId": "1", "lastUpdated": "2026-01-02T03:04:05Z"}}


def bundle(*resources: Json) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": resource} for resource in resources],
    }


def outcome(severity: str, *codes: str) -> Json:
    issues = [
        {"severity": severity, "code": "processing", "details": {"coding": [{"code": code}]}}
        for code in codes
    ]
    return {"resourceType": "OperationOutcome", "issue": issues}


def state(store: Store, type: str) -> str:
    with store.connect() as connection:
        return next(row.state for row in feeds(connection, "ward") if row.type == type)


def since(route: respx.Route) -> list[str]:
    """Searches for what is new only."""
    urls = [str(call.request.url) for call in route.calls]
    return [url for url in urls if "_lastUpdated" in url]


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    file = tmp_path / "ward.toml"
    file.write_text('[codes]\nignore = ["W-17", "W-18"]\n')
    return file


# --- headers --------------------------------------------------------------------------------------


@respx.mock
def test_a_vendors_headers_go_with_every_request(store: Store, vendor: Path) -> None:
    vendor.write_text(HEADERS)
    offer()
    respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle(patient("p", "19700102")))
    respx.get(url__startswith=f"{BASE}/Task").respond(json=bundle())
    assert synced(store, vendor).ok
    asked = [call.request for call in respx.calls]
    assert {request.url.path.rpartition("/")[2] for request in asked} == {"metadata", "Patient", "Task"}
    assert {request.headers["Epic-Client-ID"] for request in asked} == {"4711"}
    assert {request.headers["Accept"] for request in asked} == {"application/json+fhir"}


@respx.mock
def test_the_check_of_an_ehr_sends_them_too_beside_its_secret(vendor: Path, tmp_path: Path) -> None:
    vendor.write_text(HEADERS)
    (tmp_path / "token").write_text("open-sesame")
    offer()
    check(ward(vendor, auth=BearerAuth(type="bearer", token_file=tmp_path / "token")))
    (call,) = respx.calls
    assert call.request.headers["Epic-Client-ID"] == "4711"
    assert call.request.headers["Authorization"] == "Bearer open-sesame"


@respx.mock
def test_the_headers_of_a_vendor_that_is_recognised_go_with_what_comes_after() -> None:
    respx.get(url__startswith=BASE).respond(json={})

    async def ask() -> None:
        async with EhrClient(EhrSettings(name="ward", url=BASE), politeness=QUICK) as client:
            await client.get("metadata")
            client.heed(Vendor(headers={"Prefer": "handling=strict"}))
            await client.get("Patient")

    asyncio.run(ask())
    assert [call.request.headers.get("Prefer") for call in respx.calls] == [None, "handling=strict"]


@respx.mock
def test_nothing_is_asked_while_a_vendor_file_holds_a_secret(store: Store, vendor: Path) -> None:
    vendor.write_text('[headers]\nCookie = "open-sesame"\n')
    report = synced(store, vendor)
    assert "ward.toml:2: headers.Cookie: secrets never belong in a mapping file" in report.error
    assert "sesame" not in report.error
    assert not respx.calls


# --- codes that are a warning only ----------------------------------------------------------------


@respx.mock
def test_an_error_answer_that_only_warns_is_an_empty_page(store: Store, vendor: Path) -> None:
    offer()
    respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle(patient("p", "19700102")))
    respx.get(url__startswith=f"{BASE}/Task").respond(404, json=outcome("error", "W-17", "W-18"))
    report = synced(store, vendor)
    assert report.ok
    assert report.counts["Task"].read == 0
    assert state(store, "Task") == "observable"


@respx.mock
@pytest.mark.parametrize(
    "answer",
    [outcome("error", "W-17", "E-1"), outcome("error", "E-1"), outcome("error"), {"resourceType": "Basic"}],
)
def test_an_error_answer_that_says_anything_else_is_a_failure(
    store: Store, vendor: Path, answer: Json
) -> None:
    offer()
    respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle())
    respx.get(url__startswith=f"{BASE}/Task").respond(400, json=answer)
    report = synced(store, vendor)
    assert "answered 400" in report.faults["Task"]
    assert state(store, "Task") == "failed"


@respx.mock
def test_a_record_that_such_an_answer_leaves_out_is_not_taken_for_deleted(store: Store, vendor: Path) -> None:
    offer()
    order = referral("s", "Patient/p")
    record = task("t", "Patient/p", f"ServiceRequest/{order['id']}")
    respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle(patient("p", "19700102")))
    respx.get(f"{BASE}/Task/t").respond(json=record)
    listed = respx.get(url__startswith=f"{BASE}/Task?")
    listed.side_effect = [
        httpx.Response(200, json=bundle(record)),
        httpx.Response(400, json=outcome("error", "W-17")),
    ]
    assert synced(store, vendor).counts["Task"].created == 1
    again = synced(store, vendor)
    assert again.ok
    assert (again.counts["Task"].unchanged, again.counts["Task"].deleted) == (1, 0)


@respx.mock
def test_an_error_among_the_matches_says_that_something_is_missing(store: Store, vendor: Path) -> None:
    """The watch must not take what it does not see for a stall, and the next run must ask for all again."""
    offer("_lastUpdated")
    found = [stamped(patient("p", "19700102")), outcome("error", "E-4127")]
    route = respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle(*found))
    respx.get(url__startswith=f"{BASE}/Task").respond(json=bundle())
    report = synced(store, vendor)
    assert report.counts["Patient"].created == 1
    assert "something is missing (E-4127, processing)" in report.faults["Patient"]
    assert state(store, "Patient") == "behind"
    synced(store, vendor)
    assert not since(route)


@respx.mock
@pytest.mark.parametrize("remark", [outcome("error", "W-17"), outcome("warning", "E-4127")])
def test_a_warning_among_the_matches_changes_nothing(store: Store, vendor: Path, remark: Json) -> None:
    offer("_lastUpdated")
    found = [stamped(patient("p", "19700102")), remark]
    route = respx.get(url__startswith=f"{BASE}/Patient").respond(json=bundle(*found))
    respx.get(url__startswith=f"{BASE}/Task").respond(json=bundle())
    report = synced(store, vendor)
    assert report.ok
    assert report.counts["Patient"].created == 1
    assert state(store, "Patient") == "observable"
    synced(store, vendor)
    assert since(route)
