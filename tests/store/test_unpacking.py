"""Messages and documents are kept as they came, and unpacked besides."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Store
from fhir_coprod.store.unpacking import unpack
from fhir_coprod.store.versions import Change

Json = dict[str, Any]
PATIENT = "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001"
ORDER = "urn:uuid:0a1b2c3d-0000-4000-8000-000000000002"


def bundle(kind: str, *entries: tuple[str, Json]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


def order(status: str = "active", patient: str = PATIENT, **more: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "status": status,
        "intent": "order",
        "subject": {"reference": patient},
        **more,
    }


def unpacked(store: Store, data: Json, change: Change = "created") -> list[str]:
    bundle = jsontext.from_data(data)
    return store.write(lambda transaction: [done.change for done in unpack(transaction, bundle, change)])


@pytest.mark.parametrize("kind", ["message", "document"])
def test_entries_become_resources_named_by_their_address(store: Store, kind: str) -> None:
    case = bundle(kind, (PATIENT, {"resourceType": "Patient"}), (ORDER, order()))
    assert unpacked(store, case) == ["created", "created"]
    stored = store.read("ServiceRequest", ORDER[9:]).data
    assert stored["subject"]["reference"] == f"Patient/{PATIENT[9:]}"
    assert unpacked(store, case) == ([] if kind == "document" else ["unchanged", "unchanged"])


def test_an_address_that_ends_in_type_and_id_keeps_the_id(store: Store) -> None:
    base = "http://hospital.example/fhir"
    case = bundle(
        "message",
        (f"{base}/Patient/p", {"resourceType": "Patient", "id": "p"}),
        (f"{base}/ServiceRequest/s", order(patient="Patient/p", id="s")),
    )
    assert unpacked(store, case) == ["created", "created"]
    assert store.read("ServiceRequest", "s").data["subject"]["reference"] == "Patient/p"


def test_a_later_message_moves_what_an_earlier_one_of_the_same_place_brought(store: Store) -> None:
    unpacked(store, bundle("message", (ORDER, order())))
    assert unpacked(store, bundle("message", (ORDER, order("revoked")))) == ["updated"]
    assert store.read("ServiceRequest", ORDER[9:]).data["status"] == "revoked"


def test_a_message_that_is_here_already_brings_nothing_back(store: Store) -> None:
    first = bundle("message", (ORDER, order()))
    unpacked(store, first)
    unpacked(store, bundle("message", (ORDER, order("revoked"))))
    assert unpacked(store, first, "unchanged") == []
    assert store.read("ServiceRequest", ORDER[9:]).data["status"] == "revoked"


def test_another_hospitals_message_does_not_touch_a_record_of_the_same_number(store: Store) -> None:
    for name, status in (("a", "active"), ("b", "revoked")):
        url = f"http://{name}.example/fhir/ServiceRequest/s"
        unpacked(store, bundle("message", (url, order(status, id="s"))))
    assert store.read("ServiceRequest", "s").data["status"] == "active"


@pytest.mark.parametrize("kind", ["message", "document"])
def test_a_live_record_is_never_replaced(store: Store, kind: str) -> None:
    live = order("completed", id="s")
    store.write(lambda transaction: transaction.put(jsontext.from_data(live), "s"))
    url = "http://hospital.example/fhir/ServiceRequest/s"
    assert unpacked(store, bundle(kind, (url, order(id="s")))) == []
    assert store.read("ServiceRequest", "s").data["status"] == "completed"


@pytest.mark.parametrize(
    "data",
    [
        bundle("collection", (ORDER, order())),
        {"resourceType": "Patient"},
        bundle("message", (ORDER, {"resourceType": "Bundle", "type": "message"})),
        {"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": ORDER}]},
    ],
    ids=["a collection", "no Bundle", "a Bundle inside", "an entry without a resource"],
)
def test_there_may_be_nothing_to_unpack(store: Store, data: Json) -> None:
    assert unpacked(store, data) == []
