"""The rules of https://hl7.org/fhir/R4/http.html on status codes, a row each, in words close to its own.

Where the page leaves a choice, the row says what is chosen here.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from fhir_coprod.jsontext import Json, encode
from tests.api.conftest import Api, identifier_of, outcome, patient

Act = Callable[[Api, Json], httpx.Response]
"""A request about a Patient that was stored just before: version 1, with an identifier of its own."""


@dataclass(frozen=True)
class Rule:
    """section, words: where the page says what; act: a request to which it applies; status: the answer."""

    section: str
    words: str
    act: Act
    status: int
    headers: tuple[str, ...] = ()
    """Which the answer must have."""

    def __str__(self) -> str:
        return f"{self.section}: {self.words[:60]}"


def place(stored: Json) -> str:
    return f"Patient/{stored['id']}"


def gone(api: Api, stored: Json) -> str:
    """The place of a resource that was deleted."""
    assert api.delete(place(stored)).status_code == 204
    return place(stored)


def second(api: Api, stored: Json) -> Json:
    """Another Patient with the same identifier: criteria find two."""
    return api.create(patient(identifier=stored["identifier"], gender="other"))


def criteria(stored: Json) -> str:
    return f"identifier={identifier_of(stored)}"


def female(stored: Json) -> Json:
    return {**stored, "gender": "female"}


def without_id(stored: Json) -> Json:
    return {name: value for name, value in female(stored).items() if name != "id"}


GENDER = [{"op": "add", "path": "/gender", "value": "female"}]
FORM = {"content_type": "application/x-www-form-urlencoded"}

RULES = [
    # ------------------------------------------------------------------------------------------------ read
    Rule(
        "read",
        "Servers SHALL return an ETag header with the versionId of the resource, and a Last-Modified header",
        lambda api, stored: api.get(place(stored)),
        200,
        ("etag", "last-modified"),
    ),
    Rule(
        "read",
        "A GET for a deleted resource returns a 410 status code",
        lambda api, stored: api.get(gone(api, stored)),
        410,
    ),
    Rule(
        "read",
        "a GET for an unknown resource returns 404",
        lambda api, stored: api.get("Patient/never-was"),
        404,
    ),
    Rule(
        "read",
        "HEAD requests: servers SHALL support HEAD wherever GET, with the same headers and no body",
        lambda api, stored: api.request("HEAD", place(stored)),
        200,
        ("etag", "content-length"),
    ),
    Rule(
        "vread",
        "The returned resource SHALL have content of the version specified",
        lambda api, stored: api.get(f"{place(stored)}/_history/1"),
        200,
        ("etag",),
    ),
    Rule(
        "vread",
        "If the version referred to is actually one where the resource was deleted: 410",
        lambda api, stored: api.get(f"{gone(api, stored)}/_history/2"),
        410,
    ),
    Rule(
        "vread",
        "If a request is made for a previous version of a resource that does not exist: 404",
        lambda api, stored: api.get(f"{place(stored)}/_history/9"),
        404,
    ),
    # ------------------------------------------------------------------------------------ conditional read
    Rule(
        "cread",
        "If-None-Match: the server returns 304 where the version is that of the ETag",
        lambda api, stored: api.get(place(stored), If_None_Match='W/"1"'),
        304,
        ("etag",),
    ),
    Rule(
        "cread",
        "If-None-Match: the content where the version is another",
        lambda api, stored: api.get(place(stored), If_None_Match='W/"2"'),
        200,
    ),
    Rule(
        "cread",
        "If-Modified-Since: the server returns 304 when the content has not changed since then",
        lambda api, stored: api.get(
            place(stored), If_Modified_Since=api.get(place(stored)).headers["last-modified"]
        ),
        304,
    ),
    Rule(
        "cread",
        "If-Modified-Since: the content where it has",
        lambda api, stored: api.get(place(stored), If_Modified_Since="Sat, 01 Jan 2000 00:00:00 GMT"),
        200,
    ),
    # ---------------------------------------------------------------------------------------------- update
    Rule(
        "update",
        "If the interaction is successful and the resource was updated, the server SHALL return 200",
        lambda api, stored: api.put(place(stored), female(stored)),
        200,
        ("etag", "last-modified"),
    ),
    Rule(
        "update",
        "If the interaction is successful and the resource was created, the server SHALL return a 201 Created"
        " and a Location header",
        lambda api, stored: api.put("Patient/new-one", patient(id="new-one")),
        201,
        ("location", "etag", "last-modified"),
    ),
    Rule(
        "update",
        "The request body SHALL be a Resource with an id element that has an identical value to the [id] in"
        " the URL. If no id element is provided, or the id disagrees with the id in the URL, the server SHALL"
        " respond with an HTTP 400 error code",
        lambda api, stored: api.put(place(stored), without_id(stored)),
        400,
    ),
    Rule(
        "update",
        "… or the id disagrees with the id in the URL … 400",
        lambda api, stored: api.put(place(stored), {**stored, "id": "another"}),
        400,
    ),
    Rule(
        "update",
        "meta.versionId and meta.lastUpdated of the request SHALL be ignored",
        lambda api, stored: api.put(
            place(stored),
            {**female(stored), "meta": {"versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z"}},
        ),
        200,
    ),
    Rule(
        "update",
        "Servers MAY choose to allow that a deleted resource is brought back by an update (chosen: yes)",
        lambda api, stored: api.put(gone(api, stored), stored),
        201,
        ("location",),
    ),
    Rule(
        "update",
        "400 Bad Request: resource could not be parsed",
        lambda api, stored: api.put(place(stored), b'{"resourceType":'),
        400,
    ),
    Rule(
        "update",
        "404 Not Found: resource type not supported, or not a FHIR end-point",
        lambda api, stored: api.put("Nonsense/a", {"resourceType": "Nonsense", "id": "a"}),
        404,
    ),
    Rule(
        "update",
        "422 Unprocessable Entity: the proposed resource violated applicable FHIR profiles or server rules",
        lambda api, stored: api.put(place(stored), {**stored, "gender": "f"}),
        422,
    ),
    Rule(
        "concurrency",
        "If-Match: if the version id given does not match, the server returns a 412 status code",
        lambda api, stored: api.put(place(stored), female(stored), If_Match='W/"9"'),
        412,
    ),
    Rule(
        "concurrency",
        "If-Match: … and updates where it does",
        lambda api, stored: api.put(place(stored), female(stored), If_Match='W/"1"'),
        200,
    ),
    Rule(
        "concurrency",
        "Servers MAY require If-Match, and return 400 where it is missing (chosen: only where malformed)",
        lambda api, stored: api.put(place(stored), female(stored), If_Match="latest"),
        400,
    ),
    # ---------------------------------------------------------------------------------- conditional update
    Rule(
        "cond-update",
        "No matches, no id provided: the server creates the resource",
        lambda api, stored: api.put("Patient?identifier=urn:none|here", patient()),
        201,
        ("location",),
    ),
    Rule(
        "cond-update",
        "No matches, id provided and doesn't exist already: the server treats it as an Update as Create",
        lambda api, stored: api.put("Patient?identifier=urn:none|here", patient(id=f"x-{stored['id']}"[:60])),
        201,
        ("location",),
    ),
    Rule(
        "cond-update",
        "No matches, id provided and already exists: the server rejects the update with a 409 Conflict error",
        lambda api, stored: api.put("Patient?identifier=urn:none|here", stored),
        409,
    ),
    Rule(
        "cond-update",
        "One Match, no resource id provided: the server performs the update against the matching resource",
        lambda api, stored: api.put(f"Patient?{criteria(stored)}", without_id(stored)),
        200,
    ),
    Rule(
        "cond-update",
        "One Match, resource id provided but does not match resource found: 400 Bad Request",
        lambda api, stored: api.put(f"Patient?{criteria(stored)}", {**stored, "id": "another"}),
        400,
    ),
    Rule(
        "cond-update",
        "Multiple matches: 412 Precondition Failed, the client's criteria were not selective enough",
        lambda api, stored: (
            second(api, stored),
            api.put(f"Patient?{criteria(stored)}", without_id(stored)),
        )[1],
        412,
    ),
    # ----------------------------------------------------------------------------------------------- patch
    Rule(
        "patch",
        "Successful: the server answers as to an update",
        lambda api, stored: api.patch(place(stored), GENDER),
        200,
        ("etag", "last-modified"),
    ),
    Rule(
        "patch",
        "If-Match: the server SHALL … 412 where the version does not match",
        lambda api, stored: api.patch(place(stored), GENDER, If_Match='W/"9"'),
        412,
    ),
    Rule(
        "patch",
        "a client can send a patch of an unsupported type: 415",
        lambda api, stored: api.patch(place(stored), b"<diff/>", content_type="application/xml-patch+xml"),
        415,
    ),
    Rule(
        "patch",
        "If the JSON Patch fails a test operation: 422",
        lambda api, stored: api.patch(place(stored), [{"op": "test", "path": "/id", "value": "x"}]),
        422,
    ),
    Rule(
        "patch",
        "Processing PATCH SHALL NOT leave an invalid resource: 422",
        lambda api, stored: api.patch(place(stored), [{"op": "add", "path": "/gender", "value": "f"}]),
        422,
    ),
    Rule(
        "patch",
        "conditional, No matches: the server returns a 404 Not Found",
        lambda api, stored: api.patch("Patient?identifier=urn:none|here", GENDER),
        404,
    ),
    Rule(
        "patch",
        "conditional, One Match: the server performs the update against the matching resource",
        lambda api, stored: api.patch(f"Patient?{criteria(stored)}", GENDER),
        200,
    ),
    Rule(
        "patch",
        "conditional, Multiple matches: 412 Precondition Failed",
        lambda api, stored: (second(api, stored), api.patch(f"Patient?{criteria(stored)}", GENDER))[1],
        412,
    ),
    # ---------------------------------------------------------------------------------------------- delete
    Rule(
        "delete",
        "Upon successful deletion: 200 with a payload, or 204 with no payload (chosen: 204)",
        lambda api, stored: api.delete(place(stored)),
        204,
    ),
    Rule(
        "delete",
        "Whether or not the resource exists already: deleting it again is no error",
        lambda api, stored: api.delete(gone(api, stored)),
        204,
    ),
    Rule(
        "delete",
        "… nor deleting what never was",
        lambda api, stored: api.delete("Patient/never-was"),
        204,
    ),
    Rule(
        "delete",
        "If-Match: 412 where the version does not match",
        lambda api, stored: api.delete(place(stored), If_Match='W/"9"'),
        412,
    ),
    Rule(
        "delete",
        "If the server refuses to delete: 405, 403 or 409 (chosen: 403 for this program's own definitions)",
        lambda api, stored: api.delete("StructureDefinition/referral-task"),
        403,
    ),
    Rule(
        "cond-delete",
        "No matches or One Match: an ordinary delete",
        lambda api, stored: api.delete(f"Patient?{criteria(stored)}"),
        204,
    ),
    Rule(
        "cond-delete",
        "Multiple matches: a server may choose to delete all, or 412 (chosen: 412)",
        lambda api, stored: (second(api, stored), api.delete(f"Patient?{criteria(stored)}"))[1],
        412,
    ),
    # ---------------------------------------------------------------------------------------------- create
    Rule(
        "create",
        "The server returns a 201 Created with a Location header that has the new Logical Id and Version Id,"
        " ETag and Last-Modified",
        lambda api, stored: api.post("Patient", patient()),
        201,
        ("location", "etag", "last-modified"),
    ),
    Rule(
        "create",
        "If an id is provided, the server SHALL ignore it",
        lambda api, stored: api.post("Patient", patient(id=stored["id"])),
        201,
        ("location",),
    ),
    Rule(
        "create",
        "400 Bad Request: resource could not be parsed",
        lambda api, stored: api.post("Patient", b"resource"),
        400,
    ),
    Rule(
        "create",
        "404 Not Found: resource type not supported",
        lambda api, stored: api.post("Nonsense", patient()),
        404,
    ),
    Rule(
        "create",
        "422 Unprocessable Entity",
        lambda api, stored: api.post("Patient", patient(gender="f")),
        422,
    ),
    Rule(
        "cond-create",
        "No matches: the server processes the create as above",
        lambda api, stored: api.post("Patient", patient(), If_None_Exist="identifier=urn:none|here"),
        201,
        ("location",),
    ),
    Rule(
        "cond-create",
        "One Match: the server ignores the post and returns 200 OK",
        lambda api, stored: api.post("Patient", patient(), If_None_Exist=criteria(stored)),
        200,
        ("location", "etag"),
    ),
    Rule(
        "cond-create",
        "Multiple matches: 412 Precondition Failed",
        lambda api, stored: (
            second(api, stored),
            api.post("Patient", patient(), If_None_Exist=criteria(stored)),
        )[1],
        412,
    ),
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


def bundle(type: str, *entries: tuple[str, str, Any]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": type,
        "entry": [
            {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}
            for method, url, resource in entries
        ],
    }


def basic(subject: str) -> Json:
    return {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": subject}}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_of_http(api: Api, rule: Rule) -> None:
    stored = api.create(patient())
    answer = rule.act(api, stored)
    assert answer.status_code == rule.status, (rule.words, answer.text)
    for header in rule.headers:
        assert answer.headers.get(header), f"{rule.words}: no {header}"
    if rule.status >= 400:
        assert outcome(answer)["severity"] == "error"
    elif answer.content:
        assert answer.headers["content-type"].startswith("application/fhir+json; charset=utf-8")


def test_every_status_that_the_description_promises_has_a_rule(api: Api) -> None:
    """Those of the FHIR routes in OpenAPI; 503 needs a slow server and is tested beside its limit."""
    described = api.get("http://localhost/openapi.json").json()
    promised = {
        int(status)
        for path, methods in described["paths"].items()
        if path.startswith("/fhir")
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert promised - {503} == {rule.status for rule in RULES}


def test_an_if_match_that_names_nothing_is_no_licence_to_overwrite(api: Api) -> None:
    stored = api.create(patient())
    place = f"Patient/{stored['id']}"
    assert api.put(place, {**stored, "gender": "male"}, if_match="").status_code == 400
    entry = {"resource": stored, "request": {"method": "PUT", "url": place, "ifMatch": ""}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert api.post("", bundle).status_code == 400
    assert api.get(place).json() == stored


def test_a_patch_with_a_key_twice_is_refused_as_a_resource_is(api: Api) -> None:
    stored = api.create(patient(gender="male"))
    place = f"Patient/{stored['id']}"
    answer = api.patch(place, b'[{"op":"test","op":"remove","path":"/gender","value":1}]')
    assert answer.status_code == 400
    assert api.get(place).json() == stored


def test_if_none_exist_of_another_type_is_400(api: Api) -> None:
    for header in ("Observation?identifier=a|b", "http://elsewhere/fhir/Patient?identifier=a|b"):
        assert api.post("Patient", patient(), If_None_Exist=header).status_code == 400
    stored = api.create(patient())
    value = stored["identifier"][0]
    criteria = f"identifier={value['system']}|{value['value']}"
    asked = api.post("Patient", patient(), If_None_Exist="identifier=http://x/sid?v=1|7")
    assert asked.status_code == 201
    for header in (
        criteria,
        f"?{criteria}",
        f"Patient?{criteria}",
        f"http://localhost/fhir/Patient?{criteria}",
    ):
        answer = api.post("Patient", patient(), If_None_Exist=header)
        assert (answer.status_code, answer.json()["id"]) == (200, stored["id"])


def test_a_gzip_body_may_have_several_members_and_all_of_them_count(api: Api) -> None:
    raw = encode(patient())
    packed = gzip.compress(raw[:40]) + gzip.compress(raw[40:])
    assert api.post("Patient", packed, content_encoding="gzip").status_code == 201
    more = gzip.compress(raw) + gzip.compress(b"and more")
    assert api.post("Patient", more, content_encoding="gzip").status_code == 400
    assert api.post("Patient", gzip.compress(raw) + b"junk", content_encoding="gzip").status_code == 400
    assert api.post("Patient", gzip.compress(raw)[:-9], content_encoding="gzip").status_code == 400
    pieces = b"".join(gzip.compress(raw[at : at + 1]) for at in range(len(raw)))
    assert api.post("Patient", pieces, content_encoding="gzip").status_code == 201
    began = time.perf_counter()
    assert api.post("Patient", gzip.compress(b"") * 45_000, content_encoding="gzip").status_code == 400
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize(
    "reference", ["Patient?identifier=a|b", "Patient?", "http://localhost/fhir/Patient?x=y"]
)
def test_a_reference_by_criteria_has_its_place_in_a_transaction(api: Api, reference: str) -> None:
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": reference}}
    alone = api.post("Basic", basic)
    assert alone.status_code == 400
    assert "in a transaction only" in alone.text
    entry = {"resource": basic, "request": {"method": "POST", "url": "Basic"}}
    bundle = {"resourceType": "Bundle", "entry": [entry]}
    batch = api.post("", {**bundle, "type": "batch"}).json()
    assert batch["entry"][0]["response"]["status"].startswith("400")
    assert api.post("", {**bundle, "type": "transaction"}).status_code in (400, 412)


def test_the_url_of_an_entry_that_only_begins_like_ours_is_another_servers(api: Api) -> None:
    stored = patient(id="glue")
    entry = {"resource": stored, "request": {"method": "PUT", "url": "http://localhost/fhirPatient/glue"}}
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 400
    assert api.get("Patient/glue").status_code == 404


def test_escapes_in_an_absolute_reference_change_nothing(api: Api) -> None:
    """As some languages write JSON."""
    subject = api.create(patient())["id"]
    escaped = f"http://localhost/fhir/Patient/{subject}".replace("/", "\\/")
    raw = f'{{"resourceType":"Basic","code":{{"text":"x"}},"subject":{{"reference":"{escaped}"}}}}'
    made = api.post("Basic", raw.encode()).json()
    assert made["subject"]["reference"] == f"Patient/{subject}"
    assert api.get(f"Basic?subject=Patient/{subject}").json()["total"] == 1


def test_a_bundle_that_is_stored_keeps_what_its_entries_name(api: Api) -> None:
    """What an entry names is looked for among the entries first; a signature may stand for every byte."""
    subject = {"reference": "http://localhost/fhir/Patient/1"}
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": subject}
    entry = {"fullUrl": "http://other/fhir/Basic/1", "resource": basic}
    kept = {**basic, "subject": {"reference": "Patient?identifier=a|b"}}
    entries = [entry, {"fullUrl": "http://other/fhir/Basic/2", "resource": kept}]
    stored = api.create({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert stored["entry"] == entries
