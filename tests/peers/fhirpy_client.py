"""Runs fhirpy against a server: python fhirpy_client.py BASE MARK.

It prints what happened as one JSON object, in the words of tests/api/test_foreign_clients.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, ResourceNotFound

URN = "urn:uuid:5b3ba4d6-6a0e-4a26-8d8d-9c4f6e5e0b1a"


def main(base: str, mark: str) -> dict[str, Any]:
    client = SyncFHIRClient(base)
    software = client.execute("metadata", method="get")["software"]["name"]

    def patient(name: str) -> Any:
        return client.resource(
            "Patient",
            identifier=[{"system": "urn:client", "value": f"{mark}-{name}"}],
            name=[{"family": mark, "given": [name]}],
        )

    created = [patient(name).create().id for name in "abcde"]

    search = client.resources("Patient").search(family=mark).sort("given").limit(2)
    pages, found, bundle = 0, [], search.fetch_raw()
    while bundle is not None:
        pages += 1
        found += [entry.resource.id for entry in bundle.entry]
        link = next((link.url for link in bundle.link if link.relation == "next"), None)
        bundle = client.execute(link, method="get") if link else None
    assert [each.id for each in search.fetch_all()] == found

    once = client.resources("Patient").search(identifier=f"urn:client|{mark}-once")
    turns = [once.get_or_create(patient("once")) for _ in range(2)]
    conditional = [{"id": each.id, "status": 201 if new else 200} for each, new in turns]

    answer = client.execute(
        "",
        data={
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": URN,
                    "resource": patient("sent-along").serialize(),
                    "request": {"method": "POST", "url": "Patient"},
                },
                {
                    "resource": {
                        "resourceType": "Observation",
                        "status": "final",
                        "code": {"text": mark},
                        "subject": {"reference": URN},
                    },
                    "request": {"method": "POST", "url": "Observation"},
                },
            ],
        },
    )
    new_patient, new_observation = (entry.response.location.split("/")[1] for entry in answer.entry)
    observation = client.reference("Observation", new_observation).to_resource()

    first = client.reference("Patient", created[0]).to_resource()
    guarded = SyncFHIRClient(base, extra_headers={"If-Match": 'W/"1"'})
    guarded.resource("Patient", **{**first.serialize(), "gender": "female"}).update()
    history = client.execute(f"Patient/{first.id}/_history", method="get")
    conflict = refusal(
        lambda: guarded.resource("Patient", **{**first.serialize(), "gender": "male"}).update(),
    )
    # fhirpy names the version without quotes when it asks whether there is a newer one.
    assert first.refresh().gender == "female"
    assert first.refresh().gender == "female"

    last = client.reference("Patient", created[-1]).to_resource()
    last.delete()
    gone = refusal(lambda: client.reference("Patient", created[-1]).to_resource())

    return {
        "software": software,
        "created": created,
        "pages": pages,
        "found": found,
        "conditional": conditional,
        "transaction": {
            "statuses": [entry.response.status for entry in answer.entry],
            "patient": new_patient,
            "subject": observation.subject.reference,
        },
        "history": [entry.resource.meta.versionId for entry in history.entry],
        "conflict": conflict,
        "gone": gone,
    }


def refusal(attempt: Callable[[], object]) -> dict[str, Any]:
    """fhirpy reports 412, and 404 or 410, by the class of its error only."""
    try:
        attempt()
    except (MultipleResourcesFound, ResourceNotFound) as error:
        issue = json.loads(str(error))["issue"][0]
        status = 412 if isinstance(error, MultipleResourcesFound) else 410
        assert status == 412 or issue["code"] == "deleted"
        return {"status": status, "text": issue["diagnostics"]}
    return {"status": 0, "text": ""}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
