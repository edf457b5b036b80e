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


def test_what_an_older_program_did_not_unpack_comes_when_it_is_stored_again(store: Store) -> None:
    assert unpacked(store, bundle("message", (ORDER, order())), "unchanged") == ["created"]


def patient(family: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "name": [{"family": family}], **more}


def whose(store: Store) -> dict[str, str]:
    """By requester, the family name of the patient of each order."""
    orders = [version.data for version in store.changes(0) if version.type == "ServiceRequest"]
    found = {}
    for data in orders:
        type, _, id = data["subject"]["reference"].rpartition("/")
        found[data["requester"]["display"]] = (
            store.read(type, id).data["name"][0]["family"] if type == "Patient" else type
        )
    return found


@pytest.mark.parametrize("kind", ["message", "document"])
def test_two_places_may_use_the_same_number_for_two_patients(store: Store, kind: str) -> None:
    for name in "ab":
        base = f"http://{name}.example/fhir"
        case = bundle(
            kind,
            (f"{base}/Patient/1", patient(name, id="1")),
            (f"{base}/ServiceRequest/s", order(patient="Patient/1", id="s", requester={"display": name})),
        )
        assert unpacked(store, case) == ["created", "created"]
        assert unpacked(store, case) == ([] if kind == "document" else ["unchanged", "unchanged"])
    assert whose(store) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("url", ["", "Patient/1"], ids=["no address", "an address without a server"])
def test_entries_that_anybody_could_have_go_by_who_sends_them(store: Store, url: str) -> None:
    for name in "ab":
        header = {"resourceType": "MessageHeader", "source": {"endpoint": f"http://{name}.example/in"}}
        sent = order(patient="Patient/1", id="s", requester={"display": name})
        unpacked(store, bundle("message", ("", header), (url, patient(name, id="1")), ("", sent)))
    assert whose(store) == {"a": "a", "b": "b"}


def test_documents_without_addresses_are_kept_apart(store: Store) -> None:
    for name in "ab":
        sent = order(patient="Patient/1", requester={"display": name})
        case = bundle("document", ("Patient/1", patient(name)), ("ServiceRequest/1", sent))
        unpacked(store, case | {"identifier": {"system": f"http://{name}.example", "value": "1"}})
    assert whose(store) == {"a": "a", "b": "b"}


def test_a_reference_out_of_a_message_never_means_the_patient_of_another_place(store: Store) -> None:
    unpacked(store, bundle("message", ("http://a.example/fhir/Patient/1", patient("a", id="1"))))
    for name in "ab":
        url = f"http://{name}.example/fhir/ServiceRequest/{name}"
        sent = order(patient="Patient/1", id=name, requester={"display": name})
        unpacked(store, bundle("message", (url, sent)))
    assert whose(store) == {"a": "a", "b": "http://b.example/fhir/Patient"}


def test_a_later_message_without_the_patient_finds_the_one_of_its_place(store: Store) -> None:
    for name in "ab":
        unpacked(store, bundle("message", (f"http://{name}.example/fhir/Patient/1", patient(name, id="1"))))
    sent = order(patient="Patient/1", id="s", requester={"display": "b"})
    unpacked(store, bundle("message", ("http://b.example/fhir/ServiceRequest/s", sent)))
    assert whose(store) == {"b": "b"}


def test_a_patient_born_on_another_day_is_not_the_live_one_of_the_same_number(store: Store) -> None:
    live = {**patient("live", id="1", birthDate="1950-01-31"), "active": True}
    store.write(lambda transaction: transaction.put(jsontext.from_data(live), "1"))
    base = "http://b.example/fhir"
    sent = order(patient="Patient/1", id="s", requester={"display": "b"})
    case = bundle(
        "message",
        (f"{base}/Patient/1", patient("b", id="1", birthDate="1990-12-01")),
        (f"{base}/ServiceRequest/s", sent),
    )
    assert unpacked(store, case) == ["created", "created"]
    assert unpacked(store, case) == ["unchanged", "unchanged"]
    assert whose(store) == {"b": "b"}
    assert store.read("Patient", "1").version == 1


@pytest.mark.parametrize(
    ("base", "patient_id"),
    [
        ("http://a.example/fhir/", {}),
        ("http://a.example/fhir/", {"id": "1"}),
        ("http://a.example/fhir/", {"id": "2"}),
        ("urn:uuid:", {"id": "1"}),
        ("urn:7b6fdeed-", {"id": "1"}),
    ],
)
def test_a_relative_reference_finds_the_entry_that_it_names(
    store: Store, base: str, patient_id: Json
) -> None:
    sent = order(patient="Patient/1", requester={"display": "a"})
    case = ((f"{base}Patient/1", patient("a", **patient_id)), (f"{base}ServiceRequest/s", sent))
    unpacked(store, bundle("document", *case))
    assert whose(store) == {"a": "a"}


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


def test_places_that_use_the_same_numbers_each_have_their_own_answers(store: Store) -> None:
    for name in "ab":
        base = f"http://{name}.example/fhir"
        header = {"resourceType": "MessageHeader", "focus": [{"reference": "ServiceRequest/1"}]}
        sent = order(patient="Patient/1", id="1", requester={"display": name})
        asks = bundle("message", (f"urn:uuid:asks-{name}", header), (f"{base}/ServiceRequest/1", sent))
        answer = {
            **header,
            "response": {"identifier": f"asks-{name}"},
            "focus": [{"reference": "Encounter/1"}],
        }
        seen = {"resourceType": "Encounter", "id": "1", "status": "finished", "class": {"code": name}}
        unpacked(store, asks)
        unpacked(
            store,
            bundle("message", (f"{base}/MessageHeader/{name}", answer), (f"{base}/Encounter/1", seen)),
        )
    found = {}
    for visit in (version.data for version in store.changes(0) if version.type == "Encounter"):
        (based,) = visit["basedOn"]
        asked = store.read("ServiceRequest", based["reference"].rpartition("/")[2]).data
        found[visit["class"]["code"]] = asked["requester"]["display"]
    assert found == {"a": "a", "b": "b"}


def test_an_answer_that_an_older_program_stored_is_connected_when_it_is_stored_again(store: Store) -> None:
    stored(store, asking())
    case = answering(REQUEST)
    seen = case["entry"][1]["resource"]
    source = "message:cae66941d9efbd40"
    store.write(lambda t: t.put(jsontext.from_data(seen), VISIT[9:], source=source) and None)
    assert unpacked(store, case, "unchanged") == ["created", "updated"]
    assert based_on(store) == [f"ServiceRequest/{ORDER[9:]}"]


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
