"""The rules of HTTP for one resource: read, update, patch, delete and create, each on conditions too."""

from __future__ import annotations

from tests.api.conftest import patient
from tests.api.http_rule import (
    GENDER,
    Rule,
    criteria,
    female,
    gone,
    place,
    second,
    without_id,
)

OF_ONE = [
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
]
