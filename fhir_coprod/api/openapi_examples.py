"""Examples in the OpenAPI document: one referral in requests and answers. Tests check that all are valid."""

from __future__ import annotations

from typing import Final

from fhir_coprod.jsontext import Json

BASE: Final = "http://127.0.0.1:8000/fhir"

REFERRAL: Final[Json] = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "priority": "routine",
    "code": {
        "coding": [
            {
                "system": "http://snomed.info/sct",
                "code": "241648009",
                "display": "Magnetic resonance imaging of lumbar spine",
            }
        ]
    },
    "subject": {"reference": "Patient/tolvan"},
    "authoredOn": "2026-03-02T09:00:00Z",
    "requester": {"display": "Linden Health Centre"},
}

STORED_REFERRAL: Final[Json] = {
    **REFERRAL,
    "id": "mri-1",
    "meta": {"versionId": "1", "lastUpdated": "2026-03-02T09:00:00.000Z"},
}

TRANSACTION: Final[Json] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9",
            "resource": {**REFERRAL, "subject": {"display": "Tolvan Tolvansson"}},
            "request": {"method": "POST", "url": "ServiceRequest"},
        },
        {
            "fullUrl": "urn:uuid:7d6ec2f5-5a43-4b8b-b1c5-0e4f6f0a9d3c",
            "resource": {
                "resourceType": "Task",
                "status": "requested",
                "intent": "order",
                "focus": {"reference": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"},
                "owner": {"display": "Imaging, County Hospital"},
            },
            "request": {"method": "POST", "url": "Task"},
        },
    ],
}

TRANSACTION_RESPONSE: Final[Json] = {
    "resourceType": "Bundle",
    "type": "transaction-response",
    "entry": [
        {
            "response": {
                "status": "201 Created",
                "location": f"{type}/{id}/_history/1",
                "etag": 'W/"1"',
                "lastModified": "2026-03-02T09:00:00.000Z",
            }
        }
        for type, id in (("ServiceRequest", "mri-1"), ("Task", "imaging-1"))
    ],
}

PATCH: Final = [{"op": "replace", "path": "/priority", "value": "urgent"}]
FHIRPATH_PATCH: Final = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "replace"},
                {"name": "path", "valueString": "ServiceRequest.priority"},
                {"name": "value", "valueCode": "urgent"},
            ],
        }
    ],
}

SEARCHSET: Final[Json] = {
    "resourceType": "Bundle",
    "type": "searchset",
    "total": 1,
    "link": [{"relation": "self", "url": f"{BASE}/ServiceRequest?status=active&_count=20"}],
    "entry": [
        {
            "fullUrl": f"{BASE}/ServiceRequest/mri-1",
            "resource": STORED_REFERRAL,
            "search": {"mode": "match"},
        }
    ],
}

HISTORY: Final[Json] = {
    "resourceType": "Bundle",
    "type": "history",
    "link": [{"relation": "self", "url": f"{BASE}/ServiceRequest/mri-1/_history"}],
    "entry": [
        {
            "fullUrl": f"{BASE}/ServiceRequest/mri-1",
            "resource": STORED_REFERRAL,
            "request": {"method": "POST", "url": "ServiceRequest"},
            "response": {
                "status": "201 Created",
                "etag": 'W/"1"',
                "lastModified": "2026-03-02T09:00:00.000Z",
            },
        }
    ],
}

NO_ISSUES: Final[Json] = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "information", "code": "informational", "diagnostics": "No issues found."}],
}

LINE: Final = '{"resourceType":"Patient","id":"tolvan","birthDate":"1912-12-12"}\n'

MANIFEST: Final[Json] = {
    "transactionTime": "2026-03-02T09:00:00.123Z",
    "request": "https://coprod.example/fhir/$export?_type=Task",
    "requiresAccessToken": True,
    "output": [
        {
            "type": "Task",
            "url": "https://coprod.example/fhir/_export/7d0a…/0123456789abcdef0123456789abcdef.ndjson",
            "count": 4711,
        }
    ],
    "deleted": [],
    "error": [],
}

IMPORTED: Final[Json] = {
    "transactionTime": "2026-03-02T09:00:00.123Z",
    "request": "https://coprod.example/fhir/$import",
    "requiresAccessToken": True,
    "output": [],
    "error": [],
    "extension": {
        "import-counts": {
            "created": 4711,
            "updated": 0,
            "unchanged": 0,
            "skipped": 0,
            "notValid": 0,
            "failed": 0,
        }
    },
}

LATER_RESPONSE: Final[Json] = {
    "resourceType": "Bundle",
    "type": "batch-response",
    "entry": [{"response": {"status": "200 OK"}, "resource": SEARCHSET}],
}

STATEMENT: Final[Json] = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": "2026-11-26",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["application/fhir+json"],
    "implementation": {"description": "The shared part of care, beside the EHRs", "url": BASE},
    "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}]}]}],
}


def problem(code: str, sentence: str) -> Json:
    """An OperationOutcome with one error."""
    issue = {"severity": "error", "code": code, "diagnostics": sentence}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
