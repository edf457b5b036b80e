"""What goes out or comes in as a whole is remembered for each patient, as any other look or write."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.api.conftest import patient
from tests.audit.conftest import Audited
from tests.audit.test_remembered import observation


def _done(audited: Audited, place: str) -> Any:
    for _ in range(200):
        answer = audited.api.get(place)
        if answer.status_code != 202:
            assert answer.status_code == 200, answer.text
            return answer.json()
        time.sleep(0.05)
    raise AssertionError("it does not end")


def test_a_file_of_an_export_is_remembered_with_each_patient_in_it(audited: Audited) -> None:
    api = audited.api
    for id in ("anna", "bo"):
        api.put(f"Patient/{id}", patient(id=id))
    api.put("Observation/o", observation("anna", id="o"))
    api.put("Patient/cy", patient(id="cy"))
    answer = api.get("$export", prefer="respond-async")
    manifest = _done(audited, answer.headers["content-location"])
    urls = {each["type"]: each["url"] for each in manifest["output"]}
    looks = {id: len(audited.calls(patient=id)) for id in ("anna", "bo")}
    assert api.get(urls["Observation"]).status_code == 200
    assert len(audited.calls(patient="anna")) == looks["anna"] + 1
    assert len(audited.calls(patient="bo")) == looks["bo"]
    assert api.get(urls["Patient"], range="bytes=0-5").status_code == 206
    assert len(audited.calls(patient="bo")) == looks["bo"] + 1
    assert audited.calls(patient="bo")[-1].event.interaction == "export-file"

    api.delete("Patient/cy")
    answer = api.get(f"$export?_since={manifest['transactionTime']}", prefer="respond-async")
    (deleted,) = _done(audited, answer.headers["content-location"])["deleted"]
    looks["cy"] = len(audited.calls(patient="cy"))
    assert api.get(deleted["url"]).status_code == 200
    assert len(audited.calls(patient="cy")) == looks["cy"] + 1


def test_an_import_is_remembered_with_what_it_stores(audited: Audited) -> None:
    lines = [patient(id="anna"), observation("anna", id="o"), {"resourceType": "Patient", "id": "no", "x": 1}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    answer = audited.api.post("$import", body, content_type="application/fhir+ndjson")
    assert answer.status_code == 202, answer.text
    _done(audited, answer.headers["content-location"])
    found = [call.event for call in audited.calls(patient="anna")]
    assert {each.interaction for each in found} == {"$import"}
    about = {(f"{each.type}/{each.id}", each.version, each.patient) for one in found for each in one.about}
    assert {("Patient/anna", 1, "anna"), ("Observation/o", 1, "anna")} <= about
    assert audited.flaws() == []
