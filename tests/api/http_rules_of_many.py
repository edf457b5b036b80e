"""The rules of HTTP for many resources and for any request: search, history, content types, transactions."""

from __future__ import annotations

from tests.api.conftest import patient
from tests.api.http_rule import (
    FORM,
    Rule,
    basic,
    bundle,
    criteria,
    female,
    gone,
    place,
)

OF_MANY = [
    # ---------------------------------------------------------------------------------------------- search
    Rule(
        "search",
        "If the search succeeds, the return content is a Bundle with type = searchset; 200 even when empty",
        lambda api, stored: api.get("Patient?identifier=urn:none|here"),
        200,
    ),
    Rule(
        "search",
        "POST [base]/[type]/_search{?[parameters]} is the same as GET",
        lambda api, stored: api.post("Patient/_search", criteria(stored).encode(), **FORM),
        200,
    ),
    Rule(
        "search",
        "POST … application/x-www-form-urlencoded; another content type: 415",
        lambda api, stored: api.post("Patient/_search", criteria(stored).encode(), content_type="text/plain"),
        415,
    ),
    Rule(
        "search",
        "If the search fails (cannot be executed, not: no matches): 4xx with an OperationOutcome",
        lambda api, stored: api.get("Patient?birthdate=yesterday"),
        400,
    ),
    Rule(
        "asynchronous",
        "Prefer: respond-async … 202 Accepted with Content-Location, where the progress can be asked for",
        lambda api, stored: api.get("Patient", Prefer="respond-async"),
        202,
        ("content-location",),
    ),
    Rule(
        "search",
        "handling=strict: the client requests that the server return an error for any unknown parameter",
        lambda api, stored: api.get("Patient?colour=blue", Prefer="handling=strict"),
        400,
    ),
    Rule(
        "search",
        "handling=lenient: … ignore any unknown or unsupported parameter",
        lambda api, stored: api.get("Patient?colour=blue", Prefer="handling=lenient"),
        200,
    ),
    Rule(
        "search",
        "404 Not Found: resource type not supported",
        lambda api, stored: api.get("Nonsense?a=b"),
        404,
    ),
    # --------------------------------------------------------------------------------- history, capabilities
    Rule(
        "history",
        "The return content is a Bundle with type set to history",
        lambda api, stored: api.get(f"{gone(api, stored)}/_history"),
        200,
    ),
    Rule(
        "history",
        "of a resource that never was: 404",
        lambda api, stored: api.get("Patient/never-was/_history"),
        404,
    ),
    Rule(
        "capabilities",
        "The server returns a CapabilityStatement",
        lambda api, stored: api.get("metadata"),
        200,
    ),
    # --------------------------------------------------------------------------------------- content types
    Rule(
        "mime-type",
        "406 Not Acceptable: the server cannot support the format that the client has asked for",
        lambda api, stored: api.get(place(stored), Accept="application/fhir+xml"),
        406,
    ),
    Rule(
        "mime-type",
        "_format overrides what Accept says",
        lambda api, stored: api.get(f"{place(stored)}?_format=json", Accept="application/fhir+xml"),
        200,
    ),
    Rule(
        "mime-type",
        "… _format=xml, and application/fhir%2Bxml: 406",
        lambda api, stored: api.get(f"{place(stored)}?_format=application/fhir%2Bxml"),
        406,
    ),
    Rule(
        "mime-type",
        "the + in _format=application/fhir+json need not be escaped",
        lambda api, stored: api.get(f"{place(stored)}?_format=application/fhir+json"),
        200,
    ),
    Rule(
        "mime-type",
        "415 Unsupported Media Type: the client posts a format that is not supported to the server",
        lambda api, stored: api.post("Patient", b"<Patient/>", content_type="application/fhir+xml"),
        415,
    ),
    Rule(
        "mime-type",
        "If the client asks for a fhirVersion that the server does not support: 406 or 415",
        lambda api, stored: api.get(place(stored), Accept="application/fhir+json; fhirVersion=5.0"),
        406,
    ),
    Rule(
        "mime-type",
        "… and takes the one that it supports",
        lambda api, stored: api.get(place(stored), Accept="application/fhir+json; fhirVersion=4.0"),
        200,
    ),
    # -------------------------------------------------------------------------------------- transport, verbs
    Rule(
        "http",
        "405 Method Not Allowed, with the Allow header of RFC 9110",
        lambda api, stored: api.post(place(stored), stored),
        405,
        ("allow",),
    ),
    Rule(
        "http",
        "413 of RFC 9110: more than a server takes",
        lambda api, stored: api.post("Patient", b" " * 1_000_001),
        413,
    ),
    Rule(
        "http",
        "421 of RFC 9110: a host that this server is not",
        lambda api, stored: api.get(place(stored), Host="evil.example"),
        421,
    ),
    # -------------------------------------------------------------------------------------------- transaction
    Rule(
        "transaction",
        "For a transaction the server SHALL return 200 OK and a Bundle with an entry for each of the request",
        lambda api, stored: api.post("", bundle("transaction", ("GET", place(stored), None))),
        200,
    ),
    Rule(
        "transaction",
        "… or 4xx with a single OperationOutcome when any fails",
        lambda api, stored: api.post("", bundle("transaction", ("POST", "Patient", patient(gender="f")))),
        422,
    ),
    Rule(
        "transaction",
        "If any resource identities overlap in steps 1-3 (two entries that write one resource): fail",
        lambda api, stored: api.post(
            "",
            bundle("transaction", ("PUT", place(stored), female(stored)), ("DELETE", place(stored), None)),
        ),
        400,
    ),
    Rule(
        "transaction",
        "conditional reference with no or several matches: the transaction fails",
        lambda api, stored: api.post(
            "",
            bundle(
                "transaction",
                ("POST", "Basic", basic("Patient?identifier=urn:none|here")),
            ),
        ),
        412,
    ),
    Rule(
        "transaction",
        "For a batch, 200 OK regardless of the success of the entries",
        lambda api, stored: api.post("", bundle("batch", ("GET", "Patient/never-was", None))),
        200,
    ),
]
