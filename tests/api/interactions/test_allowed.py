"""The status of a referral's Task: where it may go from each, by every way of writing here."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir_coprod import jsontext
from tests.api.conftest import Api, outcome

OPEN = {
    "draft": {"requested", "cancelled"},
    "requested": {"received", "accepted", "rejected", "cancelled"},
    "received": {"accepted", "rejected", "on-hold", "cancelled"},
    "accepted": {"in-progress", "rejected", "on-hold", "cancelled"},
    "ready": {"in-progress", "rejected", "on-hold", "cancelled"},
    "in-progress": {"completed", "failed", "on-hold"},
    "on-hold": {"received", "accepted", "in-progress"},  # where nothing earlier is known
}
STATUSES = (*OPEN, "rejected", "cancelled", "completed", "failed", "entered-in-error")


@pytest.fixture(scope="module")
def referral(api: Api) -> str:
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"display": "somebody"},
    }
    return f"ServiceRequest/{api.create(request)['id']}"


def task(status: str, referral: str, **members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "order",
        "focus": {"reference": referral},
        **members,
    }


def _put(api: Api, stored: dict[str, Any], status: str) -> httpx.Response:
    return api.put(f"Task/{stored['id']}", {**stored, "status": status})


def _patch(api: Api, stored: dict[str, Any], status: str) -> httpx.Response:
    return api.patch(f"Task/{stored['id']}", [{"op": "replace", "path": "/status", "value": status}])


def _conditional(api: Api, stored: dict[str, Any], status: str) -> httpx.Response:
    return api.put(f"Task?_id={stored['id']}", {**stored, "status": status})


def _transaction(api: Api, stored: dict[str, Any], status: str) -> httpx.Response:
    request = {"method": "PUT", "url": f"Task/{stored['id']}"}
    entry = {"resource": {**stored, "status": status}, "request": request}
    return api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})


def _patch_in_transaction(api: Api, stored: dict[str, Any], status: str) -> httpx.Response:
    operations = json.dumps([{"op": "replace", "path": "/status", "value": status}]).encode()
    binary = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(operations).decode(),
    }
    request = {"method": "PATCH", "url": f"Task/{stored['id']}"}
    entry = {"resource": binary, "request": request}
    return api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})


@pytest.mark.parametrize("old", STATUSES)
def test_status_goes_only_where_it_may(api: Api, referral: str, old: str) -> None:
    stored = api.create(task(old, referral))
    allowed = {*OPEN.get(old, ()), old, "entered-in-error"}
    for new in sorted(set(STATUSES) - allowed):
        answer = _put(api, stored, new)
        assert answer.status_code == 422
        told = outcome(answer)
        assert told["expression"] == ["Task.status"]
        for named in OPEN.get(old, {"send a new Task"}):
            assert named in told["diagnostics"]
    assert api.get(f"Task/{stored['id']}").json() == stored
    for new in sorted(allowed):
        assert _put(api, api.create(task(old, referral)), new).status_code == 200


@pytest.mark.parametrize("way", [_put, _patch, _conditional, _transaction, _patch_in_transaction])
def test_every_way_of_writing_is_held_to_it(
    api: Api, referral: str, way: Callable[[Api, dict[str, Any], str], httpx.Response]
) -> None:
    stored = api.create(task("requested", referral))
    refused = way(api, stored, "completed")
    assert refused.status_code == 422
    assert "received, accepted, rejected, cancelled" in outcome(refused)["diagnostics"]
    assert way(api, stored, "accepted").status_code == 200
    assert api.get(f"Task/{stored['id']}").json()["status"] == "accepted"


def test_an_entry_of_a_batch_is_refused_alone(api: Api, referral: str) -> None:
    stored = [api.create(task("requested", referral)) for _ in range(2)]
    entries = [
        {"resource": {**each, "status": status}, "request": {"method": "PUT", "url": f"Task/{each['id']}"}}
        for each, status in zip(stored, ("completed", "received"), strict=True)
    ]
    answer = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["422", "200"]


@pytest.mark.parametrize("began", ["received", "accepted", "in-progress"])
def test_a_hold_ends_where_it_began(api: Api, referral: str, began: str) -> None:
    stored = api.create(task(began, referral))
    held = _put(api, stored, "on-hold").json()
    noted = api.put(f"Task/{held['id']}", {**held, "note": [{"text": "still waiting"}]}).json()
    for other in {"received", "accepted", "in-progress"} - {began}:
        refused = _put(api, noted, other)
        assert refused.status_code == 422
        assert f"it may become {began} or entered-in-error" in outcome(refused)["diagnostics"]
    assert _put(api, noted, began).status_code == 200


def test_other_tasks_are_free(api: Api, referral: str) -> None:
    patient = api.create({"resourceType": "Patient"})
    free = [
        {"resourceType": "Task", "status": "requested", "intent": "order"},
        task("requested", referral, owner={"reference": f"Patient/{patient['id']}"}),
        task("requested", referral, code={"coding": [{"code": "approve"}]}),
        task("requested", "DiagnosticReport/a"),
    ]
    for each in free:
        assert _put(api, api.create(each), "completed").status_code == 200


def test_what_comes_by_sync_is_free(api: Api, referral: str) -> None:
    stored = api.create(task("requested", referral))
    document = jsontext.from_data({**stored, "status": "completed"})
    written = api.store.write(lambda transaction: transaction.put(document, stored["id"], source="sync"))
    assert written.change == "updated"


def test_a_deleted_task_begins_anew(api: Api, referral: str) -> None:
    stored = api.create(task("requested", referral))
    api.delete(f"Task/{stored['id']}")
    assert _put(api, stored, "completed").status_code == 201


def test_a_task_that_asks_in_its_guides_own_way_makes_only_the_same_moves(api: Api) -> None:
    """The watch takes it for the ask; so the table holds for it, too."""
    clinic = f"Organization/{api.create({'resourceType': 'Organization', 'name': 'Clinic'})['id']}"
    order = api.create(
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "subject": {"display": "somebody"},
            "performer": [{"reference": clinic}],
        }
    )
    named = {"reference": f"ServiceRequest/{order['id']}"}
    local = {"coding": [{"system": "urn:site", "code": "please"}]}
    base = {"resourceType": "Task", "status": "accepted", "intent": "order", "code": local}
    ours = api.create({**base, "basedOn": [named], "owner": {"reference": clinic}})
    assert _put(api, ours, "requested").status_code == 422
    other = api.create({**base, "basedOn": [named], "owner": {"display": "somebody else"}})
    assert _put(api, other, "requested").status_code == 200


@pytest.mark.parametrize("kind", ["message", "document"])
def test_a_case_in_one_bundle_is_unpacked_as_it_is_stored(api: Api, kind: str) -> None:
    from uuid import uuid4

    patient, order = str(uuid4()), str(uuid4())
    first = {
        "message": {"resourceType": "MessageHeader", "eventUri": "urn:new", "source": {"endpoint": "urn:gp"}},
        "document": {
            "resourceType": "Composition",
            "status": "final",
            "type": {"text": "Referral"},
            "date": "2026-03-02",
            "author": [{"display": "GP"}],
            "title": "Referral",
            "section": [{"title": "Order", "entry": [{"reference": f"urn:uuid:{order}"}]}],
        },
    }
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"urn:uuid:{patient}"},
    }
    entries = [
        {"fullUrl": f"urn:uuid:{uuid4()}", "resource": first[kind]},
        {"fullUrl": f"urn:uuid:{order}", "resource": request},
        {"fullUrl": f"urn:uuid:{patient}", "resource": {"resourceType": "Patient"}},
    ]
    whole = {
        "resourceType": "Bundle",
        "type": kind,
        "identifier": {"system": "urn:cases", "value": order},
        "timestamp": "2026-03-02T09:00:00Z",
        "entry": entries,
    }
    stored = api.post("Bundle", whole)
    assert stored.status_code == 201
    assert stored.json()["entry"] == entries, "the Bundle itself is kept as it came"
    assert api.get(f"ServiceRequest/{order}").json()["subject"] == {"reference": f"Patient/{patient}"}
