"""One patient that fails costs that one: the others go on, it is named, and it is tried again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.store import Store
from tests.sync.records import Json, patient, referral
from tests.sync.test_pages import BASE, answers, has, offer, offers, outcome, page, synced
from tests.sync.test_whole import state


def by_patient(tmp_path: Any, *types: str) -> str:
    file = tmp_path / "ward.toml"
    file.write_text("".join(f'[types.{type}]\nfind = "by-patient"\n' for type in types))
    return str(file)


def orders_of(request: httpx.Request) -> Json:
    id = request.url.params["patient"]
    return page({"resource": referral(f"s-{id}", f"Patient/{id}")}, total=1)


def care_by_patient(failing: dict[str, httpx.Response], patients: int = 12) -> respx.Route:
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))
    answers(has(*(f"p{n:02}" for n in range(patients)), total=patients))
    return respx.get(f"{BASE}/ServiceRequest").mock(
        side_effect=lambda request: failing.get(
            request.url.params["patient"], httpx.Response(200, json=orders_of(request))
        )
    )


@respx.mock
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(404), "404"),
        (httpx.Response(403), "403"),
        (httpx.Response(500), "500"),
        (httpx.Response(200, json=outcome("error", "forbidden")), "OperationOutcome instead of a Bundle"),
        (httpx.Response(200, json=page({"resource": outcome("error", "too-costly")})), "too-costly"),
        (httpx.Response(200, html="<html>Sorry</html>"), "HTML"),
        (httpx.Response(200, json=page(total=3)), "counts 3 records, and 0 came"),
    ],
)
def test_one_patient_that_fails_costs_that_one_and_is_named(
    store: Store, tmp_path: Any, answer: httpx.Response, why: str
) -> None:
    failing = {"p01": answer}
    orders = care_by_patient(failing)
    vendor = by_patient(tmp_path, "ServiceRequest")
    report = synced(store, "Patient", "ServiceRequest", vendor=vendor)
    assert report.counts["ServiceRequest"].created == 11
    assert report.faults == {"ServiceRequest": "1 of 12 patients could not be asked for everything"}
    assert list(report.unread["ServiceRequest"]) == ["Patient/p01"]
    assert why in report.unread["ServiceRequest"]["Patient/p01"]
    assert state(store, "ServiceRequest").state == "observable"
    failing.clear()
    again = synced(store, "Patient", "ServiceRequest", vendor=vendor)
    assert (again.ok, again.unread, again.counts["ServiceRequest"].created) == (True, {}, 1)
    assert orders.called


@respx.mock
def test_what_we_have_of_a_patient_that_fails_is_not_looked_at_one_by_one(
    store: Store, tmp_path: Any
) -> None:
    failing: dict[str, httpx.Response] = {}
    care_by_patient(failing, 3)
    vendor = by_patient(tmp_path, "ServiceRequest")
    synced(store, "Patient", "ServiceRequest", vendor=vendor)
    failing["p01"] = httpx.Response(403)
    failing["p02"] = httpx.Response(200, json=page(total=0))
    gone = respx.get(f"{BASE}/ServiceRequest/s-p02").respond(410)
    report = synced(store, "Patient", "ServiceRequest", vendor=vendor)
    assert gone.call_count == 1
    assert report.counts["ServiceRequest"].deleted == 1


@respx.mock
def test_if_every_patient_fails_the_type_does(store: Store, tmp_path: Any) -> None:
    care_by_patient({f"p{n:02}": httpx.Response(403) for n in range(3)}, 3)
    report = synced(store, "Patient", "ServiceRequest", vendor=by_patient(tmp_path, "ServiceRequest"))
    assert "refuses us" in report.faults["ServiceRequest"]
    assert state(store, "ServiceRequest").state == "failed"


@respx.mock
def test_a_named_patient_that_is_not_there_is_told(store: Store) -> None:
    offers(offer("Patient", "read"), software="Epic")
    respx.get(f"{BASE}/Patient/p0").respond(json=patient("p0"))
    respx.get(f"{BASE}/Patient/p00").respond(404)
    report = synced(store, patients=("p0", "p00"))
    assert not report.ok
    assert report.faults["Patient"] == "1 id in `patients` of the settings is not at this server; correct it"
    assert report.unread["Patient"] == {"Patient/p00": "not at this server"}
    assert state(store).state == "observable"
