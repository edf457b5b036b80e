"""Every caller sees and finds exactly what a second, slow and obvious implementation says, on both databases.

A fixed part runs with the ordinary tests, all combinations as a proof.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from fhir_coprod.access.rights import EVERYTHING, Rights
from fhir_coprod.access.sight import sight
from fhir_coprod.errors import BadRequest, NotFound
from fhir_coprod.store import Query, Store, Version
from tests.access.callers import CALLERS
from tests.access.hospital import HISTORY, fill
from tests.access.oracle import Ambiguous, Oracle
from tests.peers.fixtures import NewStore

ORACLE = Oracle.of(HISTORY)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hospital(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        fill(store)
        yield store


class Asked(NamedTuple):
    """A search: types, criteria, and how the answer is asked for."""

    types: tuple[str, ...]
    criteria: tuple[tuple[str, str], ...]
    form: tuple[tuple[str, str], ...] = ()


_PEOPLE = ("p1", "p2", "p3", "p4", "p5", "p6", "same", "alone", "nobody")
_OF_PATIENTS = (
    *("subject:Patient.gender", "subject.gender", "subject:Patient.link.gender", "patient.family"),
    *(
        "subject:Patient.organization.name",
        "subject:Patient._has:ServiceRequest:subject:status",
    ),
)


def _values(name: str) -> tuple[str, ...]:
    if name.endswith("gender"):
        return ("male", "female")
    if name.endswith("family"):
        return ("One", "T", "Three")
    if name.endswith("name"):
        return ("Alpha", "Beta", "Gamma")
    return ("active", "completed")


def _criteria() -> dict[str, list[tuple[str, str]]]:
    """Single criteria by type."""
    found: dict[str, list[tuple[str, str]]] = {}

    def add(type: str, name: str, *values: str) -> None:
        found.setdefault(type, []).extend((name, value) for value in values)

    for type in ("Observation", "ServiceRequest", "Condition", "Encounter"):
        for name in _OF_PATIENTS:
            add(type, name, *_values(name))
        add(type, "patient", *(f"Patient/{id}" for id in _PEOPLE), "Patient/p1,Patient/p3")
        add(type, "subject:Patient", "p1", "p3", "p1,p2")
        add(type, "subject:missing", "true", "false")
        add(type, "subject", "Patient/p1", "Group/all", "http://elsewhere.test/Patient/p1")
    add("Observation", "subject", "p1", "same", "all", "p1,p2,p3")
    add("ServiceRequest", "subject", "p1", "same", "all")
    add("Observation", "code", "a", "b")
    add("Observation", "code:not", "a")
    add("Observation", "status:not", "final")
    add("Observation", "_id", "o1,o2,o3", "oMOVED", "oGONE", "oR,oV,oNOPAT,oBAD1,oBAD2,oBAD3", "nothing")
    add("Observation", "performer:Patient.gender", "male", "female")
    add("Observation", "performer:Organization.name", "Alpha")
    add("Observation", "subject:Device.status", "active", "inactive")
    add("Observation", "subject:Group.member", "Patient/p1")
    add("Observation", "subject:Group.member:Patient.gender", "male", "female")
    add("Observation", "subject:Patient.gender:not", "male")
    add("Observation", "subject:Patient.organization:missing", "true", "false")
    add("Observation", "subject:Patient._has:Task:patient:status", "requested", "accepted", "rejected")
    for status in ("active", "completed"):
        add("Patient", "_has:ServiceRequest:subject:status", status)
        add("Task", "focus:ServiceRequest.status", status)
        add("DetectedIssue", "implicated:ServiceRequest.status", status)
        add("Encounter", "based-on:ServiceRequest.status", status)
    for code in ("a", "b"):
        add("Patient", "_has:Observation:subject:code", code)
        add("Patient", "_has:Observation:patient:code", code)
        add("Patient", "_has:Observation:performer:code", code)
        add("Organization", "_has:Observation:performer:code", code)
        add("Device", "_has:Observation:subject:code", code)
        add("Group", "_has:Observation:subject:code", code)
        add("Organization", "_has:Patient:organization:_has:Observation:subject:code", code)
    add("Patient", "_has:Observation:subject:code:not", "a", "b")
    add("Patient", "_has:Observation:subject:status", "final", "amended")
    add("Patient", "_has:Group:member:type", "person")
    add("Patient", "_has:Condition:asserter:code", "x")
    add("Patient", "_has:Condition:patient:code", "x", "y")
    add("Patient", "_has:List:subject:status", "current")
    add("Patient", "_has:Patient:link:gender", "male", "female")
    add("Patient", "_has:Task:patient:status", "requested", "accepted", "rejected")
    add("Patient", "_has:ServiceRequest:subject:requester:Organization.name", "Alpha", "Gamma")
    add("Patient", "_has:ServiceRequest:subject:_has:Task:focus:status", "requested", "accepted", "rejected")
    add("Patient", "_has:Appointment:actor:status", "booked")
    add("Patient", "gender", "male", "female", "other")
    add("Patient", "gender:not", "male")
    add("Patient", "family", "O", "T", "Five")
    add("Patient", "_id", ",".join(_PEOPLE), *_PEOPLE)
    add("Patient", "_id:not", "p1")
    add("Patient", "link:Patient.gender", "male", "female")
    add("Patient", "link:missing", "true", "false")
    add("Patient", "organization.name", "Alpha", "Gamma")
    add("Patient", "general-practitioner:Organization.name", "Alpha")
    add("Organization", "name", "Alpha", "Beta", "Gamma")
    add("Organization", "partof.name", "Alpha")
    add("Organization", "_has:ServiceRequest:requester:status", "active", "completed")
    add("Organization", "_has:Task:owner:status", "requested", "accepted", "rejected")
    add("Organization", "_has:PractitionerRole:organization:_has:ServiceRequest:requester:status", "active")
    add("Organization", "_has:Patient:organization:gender", "male", "female")
    add("PractitionerRole", "organization", "Organization/A", "B", "Organization/B")
    add("PractitionerRole", "_has:ServiceRequest:requester:status", "active", "completed")
    add("ServiceRequest", "requester", "Organization/A", "Organization/C", "PractitionerRole/rb")
    add("ServiceRequest", "requester:Organization.name", "Alpha", "Gamma")
    add("ServiceRequest", "requester:PractitionerRole.organization.name", "Alpha", "Beta", "Gamma")
    add("ServiceRequest", "status", "active", "completed")
    add("ServiceRequest", "status:not", "active")
    add("ServiceRequest", "_has:Task:focus:status", "requested", "accepted", "rejected")
    add("ServiceRequest", "_has:Task:focus:owner", "Organization/A", "Organization/C")
    add("ServiceRequest", "_has:Encounter:based-on:status", "finished", "planned")
    add("ServiceRequest", "_has:DetectedIssue:implicated:patient", "Patient/p1", "Patient/p2")
    add("ServiceRequest", "_id", "s2,s3,s7,s8,s10", "s9", "early")
    add("Task", "status", "requested", "accepted", "rejected")
    add("Task", "status:not", "requested")
    add("Task", "focus:missing", "true", "false")
    add("Task", "focus:ServiceRequest.subject:Patient.gender", "male", "female")
    add("Task", "focus:ServiceRequest.requester:Organization.name", "Alpha", "Gamma")
    add("Task", "patient.gender", "male", "female")
    add("Task", "owner:PractitionerRole.organization.name", "Beta")
    add("Task", "patient", "Patient/p1", "Patient/p2", "Patient/p3", "Patient/p4")
    add("Task", "focus", "ServiceRequest/s2", "ServiceRequest/s3", "ServiceRequest/s9")
    add("DetectedIssue", "patient", "Patient/p1", "Patient/p2", "Patient/p3")
    add("DetectedIssue", "patient.gender", "male", "female")
    add("DetectedIssue", "implicated", "ServiceRequest/early", "ServiceRequest/s3", "Observation/o1")
    add("DetectedIssue", "implicated:Task.focus:ServiceRequest.subject:Patient.gender", "male")
    add("DetectedIssue", "implicated:missing", "true", "false")
    add("Group", "member:Patient.gender", "male", "female")
    add("Group", "type", "person")
    add("Person", "patient.gender", "male", "female")
    add("RelatedPerson", "patient.gender", "male", "female")
    add("RelatedPerson", "gender", "female")
    add("Device", "patient.gender", "female", "male")
    add("Device", "status", "active", "inactive")
    add("Condition", "asserter:Patient.gender", "male", "female")
    add("Condition", "code", "x", "y")
    add("Encounter", "status", "finished", "planned")
    add("Appointment", "actor:Patient.gender", "male", "female")
    add("Appointment", "actor", "Patient/p1", "Patient/p3")
    add("List", "subject:Patient.gender", "male", "female")
    add("List", "item:Patient.gender", "male", "female")
    add("List", "item:Observation.code", "a", "b")
    add("Questionnaire", "title", "Open", "Hidden")
    add("Questionnaire", "_has:QuestionnaireResponse:questionnaire:status", "completed")
    add("Questionnaire", "_has:QuestionnaireResponse:questionnaire:subject:Patient.gender", "male", "female")
    add("QuestionnaireResponse", "questionnaire.title", "Open", "Hidden")
    add("QuestionnaireResponse", "questionnaire.status", "active", "draft")
    add("QuestionnaireResponse", "author:Patient.gender", "male", "female")
    return found


CRITERIA = _criteria()
_INCLUDES: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "Observation": (
        (("_include", "Observation:subject"),),
        (("_include", "Observation:performer"), ("_include:iterate", "Patient:link")),
        (("_include", "Observation:subject"), ("_revinclude:iterate", "ServiceRequest:subject")),
    ),
    "Patient": (
        (("_revinclude", "Observation:subject"),),
        (("_revinclude", "ServiceRequest:subject"), ("_revinclude:iterate", "Task:focus")),
        (("_include", "Patient:link"), ("_revinclude", "Group:member"), ("_revinclude", "Person:patient")),
        (("_include", "Patient:organization"), ("_revinclude", "Appointment:actor")),
    ),
    "ServiceRequest": (
        (("_include", "ServiceRequest:subject"), ("_include", "ServiceRequest:requester")),
        (("_revinclude", "Task:focus"), ("_include:iterate", "Task:patient")),
        (("_revinclude", "DetectedIssue:implicated"), ("_revinclude", "Encounter:based-on")),
    ),
    "Task": (
        (("_include", "Task:focus"), ("_include:iterate", "ServiceRequest:subject")),
        (("_include", "Task:owner"), ("_include", "Task:patient")),
    ),
    "DetectedIssue": ((("_include", "DetectedIssue:implicated"), ("_include:iterate", "Task:focus")),),
    "Questionnaire": ((("_revinclude", "QuestionnaireResponse:questionnaire"),),),
    "QuestionnaireResponse": (
        (("_include", "QuestionnaireResponse:questionnaire"), ("_include", "QuestionnaireResponse:author")),
    ),
    "Organization": (
        (("_revinclude", "Patient:organization"), ("_revinclude", "ServiceRequest:requester")),
        (
            ("_revinclude", "PractitionerRole:organization"),
            ("_revinclude:iterate", "ServiceRequest:requester"),
        ),
    ),
    "List": ((("_include", "List:item"), ("_include", "List:subject")),),
    "Group": ((("_include", "Group:member"),),),
}
_FORMS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("_summary", "count"),),
    (("_count", "1"), ("_total", "accurate")),
    (("_count", "2"),),
    (("_sort", "_id"),),
    (("_sort", "-_id"), ("_count", "3")),
)
_SORTED = {
    "Observation": ("status", "subject", "-code"),
    "ServiceRequest": ("requester", "-status"),
    "Patient": ("family", "-gender", "organization"),
    "Task": ("focus", "-owner", "status"),
}


def searches() -> Iterator[Asked]:
    """All searches, each criterion alone, in pairs, in every form."""
    for type, single in CRITERIA.items():
        forms = [
            *_FORMS,
            *_INCLUDES.get(type, ()),
            *((("_sort", code),) for code in _SORTED.get(type, ())),
        ]
        pairs = [(one, other) for number, one in enumerate(single) for other in single[number + 1 :]]
        random.Random(type).shuffle(pairs)
        for criteria in ((), *((one,) for one in single)):
            for form in forms:
                yield Asked((type,), criteria, form)
        for pair in pairs[:150]:
            for form in forms[:4]:
                yield Asked((type,), pair, form)
    types = tuple(CRITERIA)
    for form in _FORMS:
        for some in (
            types,
            ("Observation", "Patient"),
            ("Group", "Person", "Bundle", "Binary"),
            ("Task", "List"),
        ):
            yield Asked(some, (), form)
            yield Asked(some, (("_id", "p1,o1,t1,s2,b1,x1,all,both"),), form)


def _page_by_page(store: Store, rights: Rights, asked: Asked) -> tuple[list[str], set[str], int | None]:
    type = asked.types[0] if len(asked.types) == 1 else ""
    pairs = [*asked.criteria, *asked.form]
    if not type:
        pairs.append(("_type", ",".join(asked.types)))
    found: list[str] = []
    included: set[str] = set()
    total: int | None = None
    cursor = ""
    while True:
        more = [("_cursor", cursor)] if cursor else []
        query = Query.parse(type, [*pairs, *more], strict=True, sight=sight(rights, "s"))
        page = store.search(query)
        found += (version.reference for version in page.matches)
        included |= {version.reference for version in page.included}
        total = page.total if not cursor else total
        if not page.next:
            return found, included, total
        cursor = page.next


def _expected_order(matches: Sequence[str], asked: Asked) -> list[str] | None:
    """None where the order hangs on more than the id and creation."""
    sort = dict(asked.form).get("_sort", "")
    if sort in ("_id", "-_id"):
        ids = {name: name.partition("/")[2] for name in matches}
        return sorted(matches, key=lambda name: ids[name], reverse=sort.startswith("-"))
    return None if sort else list(matches)


def difference(
    store: Store,
    who: str,
    asked: Asked,
    oracle: Oracle = ORACLE,
    callers: Mapping[str, Rights] = CALLERS,
) -> str:
    """What the store says otherwise than the oracle; "" if nothing."""
    rights = callers[who]
    try:
        matches = oracle.search(rights, asked.types, asked.criteria)
    except Ambiguous:
        matches = None
    try:
        found, included, total = _page_by_page(store, rights, asked)
    except BadRequest:
        return "" if matches is None else f"{who} {asked}: refused"
    if matches is None:
        return f"{who} {asked}: not refused"
    names = [one.name for one in matches]
    forms = dict(asked.form)
    if "_summary" in forms:
        return (
            "" if (found, total) == ([], len(names)) else f"{who} {asked}: counted {total}, not {len(names)}"
        )
    order = _expected_order(names, asked)
    if (sorted(found) != sorted(names)) or (order is not None and len(asked.types) == 1 and found != order):
        return f"{who} {asked}: found {found}, not {names}"
    if "_total" in forms and total != len(names):
        return f"{who} {asked}: total {total}, not {len(names)}"
    lists: dict[str, list[tuple[str, str, bool]]] = {"_include": [], "_revinclude": []}
    for name, value in asked.form:
        base, _, iterate = name.partition(":")
        if base in lists:
            type, _, code = value.partition(":")
            lists[base].append((type, code, bool(iterate)))
    if lists["_include"] or lists["_revinclude"]:
        along = oracle.included(rights, matches, lists["_include"], lists["_revinclude"])
        if included - set(names) != along:
            return f"{who} {asked}: included {sorted(included)}, not {sorted(along)}"
    return ""


def test_a_part_of_all_searches_finds_what_the_oracle_finds(hospital: Store) -> None:
    everything = [(who, asked) for asked in searches() for who in CALLERS]
    chosen = random.Random(7).sample(everything, 1000)
    wrong = [told for who, asked in chosen if (told := difference(hospital, who, asked))]
    assert not wrong, f"{len(wrong)} differences\n" + "\n".join(wrong[:10])


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_all_searches_find_what_the_oracle_finds(hospital: Store) -> None:
    everything = [(who, asked) for asked in searches() for who in CALLERS]
    if os.environ.get("PROOF_SIZE") == "ci":
        everything = random.Random(8).sample(everything, 20_000)
    wrong = [told for who, asked in everything if (told := difference(hospital, who, asked))]
    print(f"{len(everything):,} combinations of caller and search")
    assert not wrong, f"{len(wrong)} differences\n" + "\n".join(wrong[:10])


def _said(look: Callable[..., object], *about: object) -> str:
    """Why it is not there; "" if it is."""
    try:
        look(*about)
    except NotFound as error:
        return error.message
    return ""


@pytest.mark.parametrize("who", CALLERS)
def test_every_resource_and_version_is_read_by_whom_the_oracle_says(hospital: Store, who: str) -> None:
    rights = CALLERS[who]
    limit = sight(rights, "r")
    if limit is None:
        return
    seen = ORACLE.seen(rights, "r")
    assert hospital.seen(limit, [*ORACLE.versions, "Patient/never", "nonsense"]) == seen
    for name, versions in ORACLE.versions.items():
        type, _, id = name.partition("/")
        assert _said(hospital.read_seen, type, id, limit) == ("" if name in seen else f"There is no {name}.")
        shown = [number for number in range(1, len(versions) + 1) if ORACLE.shown(rights, name, number)]
        for number in range(1, len(versions) + 2):
            nothing = f"There is no version {number} of {name}."
            said = _said(hospital.vread, type, id, number, limit)
            assert said == ("" if number in shown else nothing), (name, number)
        past = hospital.history_page(type, id, sight=limit)
        assert [version.version for version in past.versions] == shown[::-1], name
    everywhere = hospital.history_page(count=1000, sight=limit)
    whole = {
        (name, number)
        for name, versions in ORACLE.versions.items()
        for number in range(1, len(versions) + 1)
        if ORACLE.shown(rights, name, number)
    }
    assert {(version.reference, version.version) for version in everywhere.versions} == whole


def test_compartments_hold_what_the_oracle_sees(hospital: Store) -> None:
    for who, rights in CALLERS.items():
        seen = ORACLE.seen(rights)
        for id in ("p1", "p2", "p3", "nobody"):
            for type in ("Observation", "ServiceRequest", "DetectedIssue", "Condition", "Group"):
                query = Query.parse(type, (), compartment=("Patient", id), sight=sight(rights, "s"))
                found = {version.reference for version in hospital.search(query).matches}
                own = {version.reference for version in _members(hospital, type, id)}
                assert found == own & seen, (who, type, id)


def _members(store: Store, type: str, id: str) -> list[Version]:
    return store.search(Query.parse(type, (), compartment=("Patient", id))).matches


def test_the_machine_itself_is_not_limited() -> None:
    assert sight(EVERYTHING, "r") is None
    assert sight(CALLERS["program"], "s") is None
