"""Messages and documents are kept as they came, and unpacked besides."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Store
from fhir_coprod.store.unpacking import unpack

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


def unpacked(store: Store, data: Json) -> list[str]:
    return store.write(lambda transaction: list(unpack(transaction, jsontext.from_data(data))))


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


# --- the answer to a message ----------------------------------------------------------------------

REQUEST, VISIT = "86e3371d-1c15-4862-9552-d9560f8292ba", "urn:uuid:0a1b2c3d-0000-4000-8000-000000000003"
ASKS, ANSWERS = (f"urn:uuid:0a1b2c3d-0000-4000-8000-00000000000{n}" for n in (8, 9))
OTHER = "urn:uuid:0a1b2c3d-0000-4000-8000-000000000004"


def asking() -> Json:
    header = {"resourceType": "MessageHeader", "focus": [{"reference": ORDER}]}
    case = bundle("message", (ASKS, header), (PATIENT, {"resourceType": "Patient"}), (ORDER, order()))
    return {**case, "id": REQUEST}


def answering(to: str, *more: tuple[str, Json], **visit: Any) -> Json:
    response = {"identifier": to, "code": "ok"}
    header = {"resourceType": "MessageHeader", "response": response, "focus": [{"reference": VISIT}]}
    seen = {"resourceType": "Encounter", "status": "finished", "subject": {"reference": PATIENT}, **visit}
    return bundle("message", (ANSWERS, header), (VISIT, seen), *more)


def based_on(store: Store) -> list[str] | None:
    data = store.read("Encounter", VISIT[9:]).data
    return [one["reference"] for one in data["basedOn"]] if "basedOn" in data else None


def stored(store: Store, data: Json) -> None:
    """As by the endpoint or `load`: the Bundle is kept under its id."""
    document = jsontext.from_data(data)
    store.write(lambda t: t.put(document, data["id"]) and None)
    unpacked(store, data)


@pytest.mark.parametrize("to", [REQUEST, ASKS[9:]], ids=["id of the Bundle, as in BaRS", "of the message"])
def test_a_visit_in_an_answer_is_based_on_what_the_message_asked_for(store: Store, to: str) -> None:
    stored(store, asking())
    unpacked(store, answering(to))
    assert based_on(store) == [f"ServiceRequest/{ORDER[9:]}"]


@pytest.mark.parametrize("to", [REQUEST, ASKS[9:]], ids=["id of the Bundle, as in BaRS", "of the message"])
def test_an_answer_may_come_before_the_message(store: Store, to: str) -> None:
    unpacked(store, answering(to, (ORDER, order())))
    assert based_on(store) is None
    stored(store, asking())
    assert based_on(store) == [f"ServiceRequest/{ORDER[9:]}"]


def test_an_answer_to_a_message_of_unknown_id_is_about_the_one_order_that_it_repeats(store: Store) -> None:
    unpacked(store, asking())  # the Bundle got another id here
    unpacked(store, answering(REQUEST, (ORDER, order())))
    assert based_on(store) == [f"ServiceRequest/{ORDER[9:]}"]


@pytest.mark.parametrize(
    "more",
    [(), ((OTHER, order()),), ((OTHER, order()), (ORDER, order()))],
    ids=["no order", "an order that nobody knew", "two orders"],
)
def test_an_answer_that_does_not_say_to_what_is_based_on_nothing(
    store: Store, more: tuple[tuple[str, Json], ...]
) -> None:
    unpacked(store, asking())
    unpacked(store, answering("nobody knows", *more))
    assert based_on(store) is None


def test_a_visit_that_says_what_it_is_based_on_is_believed(store: Store) -> None:
    stored(store, asking())
    unpacked(store, answering(REQUEST, basedOn=[{"reference": OTHER}]))
    assert based_on(store) == [OTHER]


@pytest.mark.parametrize(
    "header",
    [
        {"response": 7, "focus": {"reference": VISIT}},
        {"response": {"identifier": ["x"]}, "focus": ["x", {"reference": 7}]},
        {"response": {"identifier": REQUEST}, "focus": 7},
    ],
)
def test_a_header_that_cannot_be_read_joins_nothing(store: Store, header: Json) -> None:
    stored(store, asking())
    case = answering(REQUEST)
    case["entry"][0]["resource"] = {"resourceType": "MessageHeader", **header}
    unpacked(store, case)
    assert based_on(store) is None
