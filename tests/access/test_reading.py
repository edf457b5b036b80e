"""What is not in sight does not exist, whatever one asks for."""

from __future__ import annotations

import itertools
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_coprod.access.admission import STANDING
from tests.access.callers import CALLERS, caller
from tests.access.conftest import Hospital, Said, local
from tests.access.hospital import HISTORY, label, observation, task
from tests.access.oracle import Oracle

ORACLE = Oracle.of(HISTORY)
A, B, P1 = CALLERS["person of A"], CALLERS["person of B"], CALLERS["patient p1"]
ABSENT = {
    "Patient": ("p4", "p6", "alone", "never-was"),
    "Observation": ("o4", "oGONE", "oV", "never-was"),
    "ServiceRequest": ("s3", "s9", "s8", "never-was"),
}
"""Hidden from department A, deleted, and never there."""
READS = (
    ("GET", "{}"),
    ("GET", "{}/_history"),
    ("GET", "{}/_history?_since=2020-01-01T00:00:00Z"),
    ("GET", "{}/_history/1"),
    ("GET", "{}/_history/2"),
    ("GET", "{}/$validate"),
    ("POST", "{}/$validate?mode=delete"),
    ("PUT", "{}"),
    ("PATCH", "{}"),
    ("DELETE", "{}"),
)


def alike(said: Said, id: str) -> tuple[int, str, dict[str, str]]:
    """The answer without the id."""
    return said.status, said.text.replace(id, "ID"), dict(said.headers)


@pytest.mark.parametrize(("method", "place"), READS)
@pytest.mark.parametrize("type", ABSENT)
def test_hidden_deleted_and_never_there_are_the_same(
    changing: Hospital, method: str, place: str, type: str
) -> None:
    answers = set()
    for id in ABSENT[type]:
        body = None
        if method == "PUT":
            body = {"resourceType": type, "id": id, **_VALID[type]}
        if method == "PATCH":
            body = {
                "resourceType": "Parameters",
                "parameter": [
                    {
                        "name": "operation",
                        "part": [
                            {"name": "type", "valueCode": "delete"},
                            {"name": "path", "valueString": f"{type}.language"},
                        ],
                    }
                ],
            }
        said = changing.ask(A, method, place.format(f"{type}/{id}"), body)
        answers.add(repr(alike(said, id)))
    assert len(answers) == 1, answers


_VALID = {
    "Patient": {"gender": "male"},
    "Observation": observation("Patient/p1"),
    "ServiceRequest": {"status": "active", "intent": "order", "subject": {"reference": "Patient/p1"}},
}


@pytest.mark.parametrize("who", ["person of A", "patient p1", "person of none"])
def test_operations_on_what_is_hidden_find_nothing(filled: Hospital, who: str) -> None:
    rights = CALLERS[who]
    for place in ("Patient/p4/$everything", "Patient/alone/$everything", "Patient/p6/$everything"):
        said, never = filled.ask(rights, "GET", place), filled.ask(rights, "GET", "Patient/n/$everything")
        assert said.status == never.status == 404
        assert said.text.replace(place.split("/")[1], "n") == never.text
    for id in ("s3", "s9", "never"):
        said = filled.ask(rights, "GET", f"ServiceRequest/{id}/$standing")
        assert said.status == (403 if rights.kind == "patient" else 404)


def test_everything_holds_nothing_that_is_hidden(filled: Hospital) -> None:
    for who, rights in CALLERS.items():
        for id in ("p1", "p2", "p3", "p5"):
            said = filled.ask(rights, "GET", f"Patient/{id}/$everything?_count=1000")
            if said.status == 200:
                assert set(said.names) <= ORACLE.seen(rights), who
            else:
                assert said.status in (403, 404)
    assert "Observation/o1" in filled.ask(P1, "GET", "Patient/p1/$everything").names
    assert "Observation/oR" not in filled.ask(CALLERS["proxy of p1"], "GET", "Patient/p1/$everything").names


def test_standing_is_told_to_the_department(filled: Hospital) -> None:
    assert filled.ask(A, "GET", "ServiceRequest/early/$standing").status == 200


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ("system/*.r", 200),
        ("system/ServiceRequest.rs system/Patient.r", 403),
        ("system/ServiceRequest.rs system/Task.rs?status=requested", 403),
        (f"system/Task.r?status=requested {' '.join(f'system/{type}.r' for type in STANDING)}", 200),
        *((" ".join(f"system/{type}.r" for type in STANDING if type != left), 403) for left in STANDING),
    ],
)
def test_standing_tells_nothing_of_types_that_a_program_may_not_read(
    filled: Hospital, scopes: str, status: int
) -> None:
    assert filled.ask(caller("program", scopes), "GET", "ServiceRequest/early/$standing").status == status


def test_standing_tells_nothing_of_what_a_label_keeps_away(changing: Hospital) -> None:
    place = "ServiceRequest/s12/$standing"
    seers = [CALLERS[who] for who in ("program", "person of all")]
    seers.append(caller("person", "user/*.rs", "B", cleared=("V",)))
    before = [changing.ask(who, "GET", place).text for who in (B, *seers)]
    hidden = task("ServiceRequest/s12", "Patient/same", "Organization/B", status="accepted", **label("V"))
    put = {"resourceType": "Task", "id": "hidden", **hidden}
    assert local(changing, "PUT", "Task/hidden", put).status == 201
    after = [changing.ask(who, "GET", place).text for who in (B, *seers)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("method", "url"), [("GET", "Observation?_count=1"), ("POST", "Observation/_search")]
)
def test_a_page_of_somebody_elses_search_is_refused(filled: Hospital, method: str, url: str) -> None:
    body = "_count=1" if method == "POST" else None
    first = filled.ask(A, method, url, body)
    following = next(link["url"] for link in first.json["link"] if link["relation"] == "next")
    place = following.removeprefix("http://localhost/fhir/")
    assert filled.ask(A, "GET", place).status == 200
    for other in (B, P1, CALLERS["person of A and B"], CALLERS["program"], CALLERS["person of A, cleared"]):
        assert filled.ask(other, "GET", place).status == 400
    cursor = parse_qs(urlsplit(following).query)["_cursor"][0]
    assert filled.ask(A, "GET", f"Observation?_count=7&_cursor={cursor}").status == 200


def test_only_a_scope_that_is_missing_is_told(filled: Hospital) -> None:
    few = caller("person", "user/Observation.r user/Patient.s", "A")
    for method, url, needed in (
        ("GET", "Patient/p1", "user/Patient.r"),
        ("GET", "Observation", "user/Observation.s"),
        ("GET", "Condition/c1/_history", "user/Condition.r"),
        ("GET", "Observation/_history", "user/Observation.s"),
        ("POST", "Observation", "user/Observation.c"),
        ("DELETE", "Patient/p1", "user/Patient.d"),
        ("PUT", "Patient/p1", "user/Patient.u"),
        ("PATCH", "Observation/o1", "user/Observation.u"),
        ("GET", "Patient/p1/Observation", "user/Observation.s"),
        ("GET", "Patient/p1/$everything", "user/Patient.r"),
    ):
        said = filled.ask(few, method, url, {"resourceType": "Patient", "id": "p1"})
        assert said.status == 403, url
        assert needed in said.text
    assert filled.ask(few, "GET", "").status == 200
    assert filled.ask(caller("person", "user/Observation.r", "A"), "GET", "").status == 403


def test_a_search_of_all_types_finds_only_those_of_the_scopes(filled: Hospital) -> None:
    few = caller("person", "user/Observation.rs user/Patient.s", "A")
    found = filled.ask(few, "GET", "?_count=500")
    assert {name.partition("/")[0] for name in found.names} == {"Observation", "Patient"}
    bundle = filled.ask(few, "GET", "Observation?_include=Observation:performer&_count=500")
    assert {name.partition("/")[0] for name in bundle.names} == {"Observation", "Patient"}


def test_answers_that_come_later_are_their_callers_alone(changing: Hospital) -> None:
    said = changing.ask(A, "GET", "Observation", prefer="respond-async")
    assert said.status == 202
    place = said.headers["content-location"].removeprefix("http://localhost/fhir/")
    never = changing.ask(B, "GET", "_async/never")
    for other in (B, P1, CALLERS["program"], CALLERS["local"], CALLERS["person of A, cleared"]):
        assert changing.ask(other, "GET", place).text == never.text
        assert changing.ask(other, "DELETE", place).status == 404
    until = time.monotonic() + 20
    while (answer := changing.ask(A, "GET", place)).status != 200 and time.monotonic() < until:
        time.sleep(0.02)
    assert answer.status == 200
    inner = answer.json["entry"][0]["resource"]
    names = {f"{each['resource']['resourceType']}/{each['resource']['id']}" for each in inner["entry"]}
    assert names <= ORACLE.seen(A)
    assert changing.ask(A, "DELETE", place).status == 202
    assert changing.ask(A, "GET", place).status == 404


def test_each_entry_of_a_bundle_goes_by_its_own_right(filled: Hospital) -> None:
    urls = ("Patient/p4", "Patient/p1", "Patient/never", "Observation?subject=Patient/p4", "Bundle/b1")
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    said = filled.ask(A, "POST", "", bundle)
    entries = said.json["entry"]
    assert [each["response"]["status"][:3] for each in entries] == ["404", "200", "404", "200", "404"]
    assert entries[3]["resource"]["total"] == 0
    few = caller("person", "user/Patient.r", "A")
    said = filled.ask(few, "POST", "", bundle)
    assert [each["response"]["status"][:3] for each in said.json["entry"]] == [
        *("404", "200", "404", "403", "403"),
    ]


def test_who_is_limited_learns_of_no_deletion(filled: Hospital) -> None:
    for place in ("_history?_count=1000", "Observation/_history?_count=1000"):
        for who in ("person of A", "patient p1", "person of all"):
            said = filled.ask(CALLERS[who], "GET", place)
            if said.status == 200:
                methods = {each["request"]["method"] for each in said.json.get("entry", ())}
                assert "DELETE" not in methods, who
    assert local(filled, "GET", "Observation/oGONE").status == 410


def test_nobody_counts_what_is_hidden(filled: Hospital) -> None:
    """Sizes add up to what the oracle sees, by every way to count."""
    for who, rights in CALLERS.items():
        seen = ORACLE.seen(rights)
        for type, extra in itertools.product(
            ("Patient", "Observation", "ServiceRequest"),
            ("_summary=count", "_count=0", "_total=accurate&_count=1"),
        ):
            said = filled.ask(rights, "GET", f"{type}?{extra}")
            if said.status == 200:
                assert said.json["total"] == sum(name.startswith(f"{type}/") for name in seen), who
