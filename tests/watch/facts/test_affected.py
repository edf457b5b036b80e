"""A change concerns what it names, and what the version before it named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import watched
from fhir_coprod.store import Store
from fhir_coprod.watch.facts import affected
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.record.results import BASED_ON
from tests.watch.hospital import DAY, MONDAY, Hospital

Resource = dict[str, Any]

NAMING: dict[tuple[str, str], Callable[[Resource], Resource]] = {
    ("Task", "focus"): lambda it: {"focus": it},
    ("Task", "based-on"): lambda it: {"basedOn": [it]},
    ("Task", "part-of"): lambda it: {"partOf": [it]},
    ("Appointment", "based-on"): lambda it: {"basedOn": [it]},
    ("Appointment", "supporting-info"): lambda it: {"supportingInformation": [it]},
    ("Encounter", "based-on"): lambda it: {"basedOn": [it]},
    ("Encounter", "appointment"): lambda it: {"appointment": [it]},
    ("DiagnosticReport", "based-on"): lambda it: {"basedOn": [it]},
    ("DocumentReference", "related"): lambda it: {"context": {"related": [it]}},
    ("DocumentReference", "encounter"): lambda it: {"context": {"encounter": [it]}},
    ("Communication", "about"): lambda it: {"about": [it]},
    ("DocumentReference", "based-on"): lambda it: {"extension": [{"url": BASED_ON, "valueReference": it}]},
    ("Communication", "based-on"): lambda it: {"basedOn": [it]},
    ("Communication", "part-of"): lambda it: {"partOf": [it]},
    ("CommunicationRequest", "based-on"): lambda it: {"basedOn": [it]},
    ("CommunicationRequest", "about"): lambda it: {"about": [it]},
    ("CommunicationRequest", "subject"): lambda it: {"subject": it},
    ("CommunicationRequest", "recipient"): lambda it: {"recipient": [it]},
    ("CommunicationRequest", "requester"): lambda it: {"requester": it},
    ("CommunicationRequest", "sender"): lambda it: {"sender": it},
    ("ServiceRequest", "replaces"): lambda it: {"replaces": [it]},
    ("ServiceRequest", "based-on"): lambda it: {"basedOn": [it]},
    ("ServiceRequest", "supports"): lambda it: {"supportingInfo": [it]},
    ("RelatedPerson", "patient"): lambda it: {"patient": it},
    ("DetectedIssue", "implicated"): lambda it: {"implicated": [it]},
}
"""What a resource says where it names another by a search parameter."""
WAYS = [
    *((named, type, parameter) for named, links in watched.LINKS.items() for type, parameter in links),
    *(("Patient", type, parameter) for type, parameter in watched.OF_PATIENT),
    *(("ServiceRequest", "ServiceRequest", way) for way in ("replaces", "supports")),
    ("ServiceRequest", "DetectedIssue", "implicated"),
]
"""What may be named, and by what: whatever belongs to a referral does so in one of these ways."""


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


def resource(type: str, id: str, **says: Any) -> Resource:
    return {"resourceType": type, "id": id, **says}


def referral(id: str) -> Resource:
    return resource("ServiceRequest", id, status="active", subject={"reference": f"Patient/of-{id}"})


def belonging_to(id: str, named: str) -> tuple[list[Resource], Resource]:
    """One of a type that belongs to a referral, where it is not the referral or its patient, and a reference
    to it."""
    if named == "ServiceRequest":
        return [], {"reference": f"ServiceRequest/{id}"}
    if named == "Patient":
        return [], {"reference": f"Patient/of-{id}"}
    parameter = next(parameter for type, parameter in watched.LINKS["ServiceRequest"] if type == named)
    says = NAMING[named, parameter]({"reference": f"ServiceRequest/{id}"})
    return [resource(named, f"of-{id}", **says)], {"reference": f"{named}/of-{id}"}


def concerned(hospital: Hospital, since: int) -> set[str]:
    with hospital.store.connect() as connection:
        return affected.concerned(connection, hospital.store.changes(since, 100))


@pytest.mark.parametrize(("named", "type", "parameter"), WAYS, ids=(" ".join(way) for way in WAYS))
def test_a_change_also_concerns_what_the_version_before_it_named(
    hospital: Hospital, named: str, type: str, parameter: str
) -> None:
    names = NAMING[type, parameter]
    references = []
    for id in ("a", "b", "c"):
        between, reference = belonging_to(id, named)
        hospital.put(referral(id), *between)
        references.append(reference)
    at_a, at_b, at_c = references
    hospital.put(resource(type, "x", **names(at_a)))
    head = hospital.head()
    hospital.put(resource(type, "x", **names(at_b)))
    assert concerned(hospital, head) >= {"ServiceRequest/a", "ServiceRequest/b"}
    hospital.put(resource(type, "x", **names(at_c)))
    assert concerned(hospital, head) >= {"ServiceRequest/a", "ServiceRequest/b", "ServiceRequest/c"}
    head = hospital.head()
    hospital.put(resource(type, "x"))
    assert concerned(hospital, head) >= {"ServiceRequest/c"}
    hospital.put(resource(type, "x", **names(at_c)))
    head = hospital.head()
    hospital.store.write(lambda t: t.delete(type, "x"))
    assert concerned(hospital, head) >= {"ServiceRequest/c"}
    assert "ServiceRequest/a" not in concerned(hospital, head), "that was long ago"


LABORATORY = [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}]


@pytest.mark.parametrize("known_before", [True, False])
def test_a_death_concerns_all_orders_of_the_patient_and_an_address_only_the_referrals(
    hospital: Hospital, known_before: bool
) -> None:
    if known_before:
        hospital.put(resource("Patient", "of-a"))
    laboratory = {**referral("blood"), "subject": {"reference": "Patient/of-a"}, "category": LABORATORY}
    hospital.put(referral("a"), laboratory)
    Watch(hospital.store, hospital.policy, hospital.settings).catch_up(MONDAY + DAY)
    head = hospital.head()
    hospital.put(resource("Patient", "of-a", address=[{"city": "Lund"}]))
    assert concerned(hospital, head) == {"ServiceRequest/a"}
    head = hospital.head()
    for says in (
        {"deceasedDateTime": "2026-03-02"},
        {},
        {"deceasedBoolean": True},
        {"deceasedBoolean": False},
    ):
        hospital.put(resource("Patient", "of-a", **says))
        assert concerned(hospital, head) == {"ServiceRequest/a", "ServiceRequest/blood"}
        head = hospital.head()


def test_what_could_not_be_read_in_a_version_that_is_past_concerns_the_referrals_of_its_patient(
    hospital: Hospital,
) -> None:
    """It may have left them in doubt, before the change or only in between; also an order that waits for its
    result."""
    ended = {**referral("ended"), "subject": {"reference": "Patient/of-a"}, "category": LABORATORY}
    blood = {**ended, "id": "blood"}
    hospital.put(referral("a"), blood, {**ended, "status": "completed"})
    asks = {"coding": [{"system": "urn:codes", "code": "referral-request"}]}
    patient = {"reference": "Patient/of-a"}
    says = {"status": "completed", "sender": patient, "subject": patient, "category": [asks]}
    hospital.put(resource("Communication", "asks", **says, sent=MONDAY.isoformat()))
    Watch(hospital.store, hospital.policy, hospital.settings).catch_up(MONDAY + DAY)
    start = hospital.head()
    hospital.put(resource("Task", "x", **{"for": {"reference": "Patient/of-a"}, "focus": ["no reference"]}))
    between = hospital.head()
    hospital.put(resource("Task", "x"))
    for since in (start, between):
        assert concerned(hospital, since) == {
            "ServiceRequest/a",
            "ServiceRequest/blood",
            "Communication/asks",
        }


def test_a_task_that_moves_to_another_referral_leaves_the_first_as_it_is_without(hospital: Hospital) -> None:
    for id in ("a", "b"):
        hospital.put({**referral(id), "intent": "order", "authoredOn": MONDAY.isoformat()})
    watch = Watch(hospital.store, hospital.policy, hospital.settings)

    def stages() -> dict[str, str | None]:
        watch.catch_up(MONDAY + DAY)
        return {standing.referral[-1:]: standing.stage for standing in hospital.sweep(MONDAY + DAY)}

    hospital.task("a", "accepted", MONDAY)
    assert stages() == {"a": "accepted", "b": "written"}
    hospital.task("a", "accepted", MONDAY, focus={"reference": "ServiceRequest/b"})
    assert stages() == {"a": "written", "b": "accepted"}
    hospital.store.write(lambda t: t.delete("Task", "task-a"))
    assert stages() == {"a": "written", "b": "written"}


def test_what_the_watch_writes_concerns_nothing(hospital: Hospital) -> None:
    """Else each alert would have its referral looked at once more."""
    hospital.refer()
    hospital.sweep(MONDAY)
    head = hospital.head()
    hospital.sweep(MONDAY + 9 * DAY)
    assert hospital.issues()
    assert concerned(hospital, head) == set()
